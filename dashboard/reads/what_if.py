"""What the app reads and writes of what-ifs: calls priced anew, and the scenarios that were kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.reads.connection import change, connected
from dashboard.reads.prices import get_book
from dashboard.reads.viewer import Viewer, viewer_key
from ingest.errors import PermissionDeniedError
from ingest.savings.reading import read_basis
from ingest.savings.scenarios import Followed, Question, change_of, follow, keep_scenario, read_scenarios, scope_of
from ingest.savings.what_if import price_anew
from pricing import PriceBook

if TYPE_CHECKING:
    from ingest.database import JsonValue
    from ingest.documents.what_if import KeptScenario, WhatIfBasis
    from ingest.savings.plan import Suggestion
    from ingest.savings.what_if import WhatIf

BASIS_TTL: Final = timedelta(minutes=10)

Filters = tuple[tuple[str, tuple[str, ...]], ...]


def ask(viewer: Viewer, question: Question, days: int) -> WhatIf:
    """Price the last whole UTC days anew.

    Args:
        viewer: Who is looking; members ask about their own calls.
        question: What is different, and for which calls.
        days: How many days up to yesterday.
    """
    basis = _read_basis(viewer, tuple(question.filters.items()), days)
    return price_anew(basis, question.change, prices_of(viewer), about=question.about)


def question_of(viewer: Viewer, suggestion: Suggestion, days: int) -> Question:
    """Return a suggestion as a what-if, with shares of what its calls use."""
    filters, about = scope_of(suggestion)
    basis = _read_basis(viewer, tuple(filters.items()), days)
    return Question(change_of(suggestion, basis), filters, about)


def prices_of(viewer: Viewer) -> PriceBook:
    """Return the prices in force; for members those of this release."""
    try:
        return get_book(viewer)
    except PermissionDeniedError:
        return PriceBook.default()


def keep(viewer: Viewer, name: str, question: Question, found: WhatIf) -> None:
    """Keep a what-if under a name. Analysts and ops."""
    with connected(viewer) as database:
        keep_scenario(database, name, question, found)


def delete(viewer: Viewer, scenario_id: int) -> None:
    """Delete a kept what-if; analysts their own."""
    change(viewer, "delete_scenario", scenario_id=scenario_id)


def get_scenarios(viewer: Viewer) -> tuple[KeptScenario, ...]:
    """Return the kept what-ifs, the newest first; never from memory. Analysts and ops."""
    with connected(viewer) as database:
        return read_scenarios(database)


@st.cache_data(ttl=BASIS_TTL, max_entries=100, show_spinner=False, hash_funcs={Viewer: viewer_key})
def get_followed(viewer: Viewer, scenario: KeptScenario) -> Followed | None:
    """Return a scenario beside the days since; None while there are none."""
    with connected(viewer) as database:
        return follow(database, scenario, prices_of(viewer), now=datetime.now(UTC))


@st.cache_data(ttl=BASIS_TTL, max_entries=100, show_spinner=False, hash_funcs={Viewer: viewer_key})
def _read_basis(viewer: Viewer, filters: Filters, days: int) -> WhatIfBasis:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    chosen: dict[str, JsonValue] = {name: list(values) for name, values in filters}
    with connected(viewer) as database:
        return read_basis(database, from_time=midnight - timedelta(days=days), to_time=midnight, filters=chosen)
