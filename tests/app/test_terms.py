"""Contracts in the app: the month on Costs, the terms in Settings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.editors.terms import fault_of, term_document
from ingest.documents.words import MINUS
from tests.app.test_settings import changes

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]
CARDS = 4  # at the head of the Costs page
TYPED = {"figure": "", "provider": "", "model": "", "currency": "", "name": "", "source": "contract"}


def term(term_id: int, kind: str, **fields: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("valid_to", "provider", "model", "percent", "amount", "currency", "rate", "ended_by"))
    stored = {"term_id": term_id, "kind": kind, "valid_from": "2020-01-01", "name": "", "source": "contract 7"}
    made = {"created_at": "2026-11-02T09:00:00+00:00", "created_by": "local-ops", "end_reason": None}
    return {**empty, **stored, **made, **fields}


def today_costs(amount: str) -> list[dict[str, Any]]:
    return [
        {"day": datetime.now(UTC).date().isoformat(), "provider": "openai", "model": "gpt-4o", "cost": amount,
         "fallback_cost": "0", "tokens": 10, "requests": 1, "unpriced_requests": 0}
    ]  # fmt: skip


def test_the_month_shows_list_price_discount_and_what_is_due(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.terms = [term(1, "discount", percent="10"), term(2, "credit", amount="50", name="<Q4> *")]
    fake.cost_sums = today_costs("200")
    app = open_app("costs")
    assert not app.exception
    # 200 less 10 % is 180, of which the credit pays 50.
    assert [(one.label, one.value) for one in app.metric[CARDS:]] == [
        ("List price", "$200.00"), ("Discounts", f"{MINUS}$20.00"), ("Net", "$180.00"),
        ("From balances", f"{MINUS}$50.00"), ("Due", "$130.00"),
    ]  # fmt: skip
    bodies = "".join(element.proto.body for element in app.main.get("html"))
    assert "Credit &lt;Q4&gt; *: $0.00 of $50.00 left" in bodies


def test_without_terms_there_is_no_contract(open_app: OpenApp) -> None:
    assert len(open_app("costs").metric) == CARDS


def test_a_member_is_not_asked_for_terms(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "member"
    open_app("costs")
    assert "get_terms" not in {name for name, _ in fake.calls}


def test_a_discount_is_added_and_a_term_ended(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.terms = [term(7, "discount", percent="10")]
    app = open_app("settings", tab="prices")
    app.text_input(key="settings_term_figure").set_value("12.5")
    app.text_input(key="settings_term_provider").set_value("OpenAI")
    app.text_input(key="settings_term_source").set_value("contract 8")
    app.button(key="settings_term_save").click().run()
    assert not app.exception
    day = datetime.now(UTC).date().isoformat()
    added = {"kind": "discount", "valid_from": day, "valid_to": None, "percent": "12.5", "name": "",
             "source": "contract 8", "provider": "openai", "model": None}  # fmt: skip
    assert changes(fake) == [("add_term", {"term": added})]
    app.button(key="settings_term_end_save").click().run()
    assert changes(fake)[1] == ("end_term", {"term_id": 7, "valid_to": day})


@pytest.mark.parametrize(
    ("kind", "typed", "fault"),
    [
        ("discount", {"source": ""}, "Enter the source"),
        ("credit", {}, "Enter the figure"),
        ("currency", {"figure": "0.9"}, "ISO code"),
        ("credit", {"figure": "1,000"}, ""),
    ],
)
def test_what_is_missing_is_said_before_it_is_sent(kind: str, typed: dict[str, str], fault: str) -> None:
    found = fault_of(term_document(kind, {**TYPED, **typed}, date(2026, 11, 1), None))
    assert fault in found
    assert bool(found) == bool(fault)
