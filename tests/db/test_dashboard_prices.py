"""What the app reads and writes about prices, against the real functions of both doors."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import streamlit as st

from dashboard import queries
from dashboard.filters import Window
from dashboard.identity import Viewer
from dashboard.prices import price_document
from ingest.errors import PermissionDeniedError
from tests.support.events import NOON, store, usage_event
from tests.support.pricing import cost_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database

TYPED = {
    **dict.fromkeys(("cached_input", "cache_write", "reasoning", "audio_input", "audio_output"), ""),
    "provider": "openai",
    "model": "gpt-4o",
    "input": "2.00",
    "output": "8.00",
    "request_fee": "",
    "per_hour": "",
    "source": "contract",
}


def test_the_app_adds_reads_and_previews_prices_with_the_viewers_rights(
    service_db: Database, viewer: Callable[[str], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("ops", "analyst"):
        service_db.call("add_member", user_id=f"user_{role}", role=role)
    store(service_db, usage_event(model="gpt-4o", created_at=NOON))
    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.setattr(queries, "open_viewer_database", lambda _, *, user_id, **__: viewer(user_id))
    ops, analyst = Viewer("user_ops", "Ops"), Viewer("user_analyst", "Analyst")
    price = price_document(TYPED, "default", date(2026, 1, 1), None)

    queries.add_price(ops, price)
    with pytest.raises(PermissionDeniedError):
        queries.add_price(analyst, price)

    book, own, has_newer_catalogue = queries.get_prices(analyst)
    assert [entry["created_by"] for entry in own] == ["user_ops"]
    assert not has_newer_catalogue
    at = datetime(2026, 5, 4, tzinfo=UTC)
    assert cost_of(book, "gpt-4o", 1_000_000, 0, at=at).total == Decimal("2.00")
    end = datetime(2027, 1, 1, tzinfo=UTC)
    found = queries.preview_reprice(ops, book, datetime(2026, 1, 1, tzinfo=UTC), end, "gpt-4o", "openai")
    assert found.rows == 1
    with pytest.raises(PermissionDeniedError):
        queries.preview_reprice(analyst, book, at, end, "", "")
    bill = queries.get_reconciliation(
        analyst, Window(at, datetime(2026, 5, 6, tzinfo=UTC), (("provider", ("openai",)),))
    )
    assert bill.totals.days == 0
    assert list(queries.get_savings(analyst, (("model", ("gpt-4o",)),))) == []
