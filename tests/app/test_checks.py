"""The panels of the Costs page on certainty, the provider's bill and savings."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.panels.cards import priced_card
from dashboard.panels.checks import MAX_CAUSES, certainty_bars, top_causes
from ingest.documents.billing import DriftCause
from ingest.documents.pages import Totals
from ingest.errors import DatabaseUnavailableError, FunctionNotFoundError, TreeringError
from tests.app.test_pages import last_call, metrics, texts

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]


def captions(app: AppTest) -> str:
    return "\n".join(caption.value for caption in app.caption)


@pytest.mark.parametrize(
    ("requests", "unpriced", "value", "note"),
    [
        (1000, 0, "100.0%", "none unpriced"),
        (1000, 4, "99.6%", "4 unpriced"),
        (1_000_000, 1, ">99.9%", "1 unpriced"),
        (10, 10, "0%", "10 unpriced"),
    ],
)
def test_the_card_says_all_only_when_all_have_a_price(requests: int, unpriced: int, value: str, note: str) -> None:
    card = priced_card(Totals(requests=requests, unpriced_requests=unpriced))
    assert (card.value, card.note) == (value, note)


def test_the_costs_page_shows_the_bill_the_uncertain_part_and_savings(open_app: OpenApp) -> None:
    app = open_app("costs")

    shown = texts(app)
    assert not app.exception
    assert "Requests with a price" in metrics(app)
    assert all(name in shown for name in ("Without a price", "At the fallback model", "With estimated tokens"))
    assert "+$15.63" in shown
    assert "+3.8% of the bill" in shown
    assert "6 days (UTC) compared" in shown
    assert "Billed, but not recorded" in shown
    assert "+$9.81 · 3,104 calls · gpt-4o" in shown
    assert "\N{MINUS SIGN}$6.00 · Refund" in shown
    assert "+$2.54 · 96 calls · proj_b" in shown
    said = captions(app)
    assert "1 day is open: the provider has not settled the bill." in said
    assert r"The bill of 02 March 2026 was revised from \$71.50 to \$70.00." in said
    assert "2,870 recorded calls have estimated tokens." in said
    assert "Use gpt-4o instead of gpt-4o-2024-05-13" in shown


def test_ops_are_led_to_the_prices_and_analysts_told_whom_to_ask(open_app: OpenApp, fake: FakeDatabase) -> None:
    assert "Add the missing prices" in open_app("costs").get("page_link")[0].proto.label
    fake.access = "analyst"

    app = open_app("costs", period="day")

    assert not [link for link in app.get("page_link") if "missing prices" in link.proto.label]
    assert "Someone with the role ops" in captions(app)


@pytest.mark.parametrize(
    ("old", "new", "calls", "said"),
    [
        ("0", "4.12", 312, r"Repriced 312 calls on 24 Nov after a price update: +\$4.12"),
        ("5", "4", 1, "Repriced 1 call on 24 Nov after a price update: \N{MINUS SIGN}\\$1.00"),
    ],
)
def test_what_the_worker_corrected_by_itself_is_told_in_one_line(
    open_app: OpenApp, fake: FakeDatabase, old: str, new: str, calls: int, said: str
) -> None:
    fake.repriced = {
        "run_id": 7, "is_automatic": True, "finished_at": "2026-11-24T12:00:00+00:00", "rows_corrected": calls,
        "old_cost": old, "new_cost": new,
    }  # fmt: skip
    assert said in captions(open_app("costs"))


def test_nothing_corrected_is_nothing_told(open_app: OpenApp) -> None:
    assert "Repriced" not in captions(open_app("costs"))


def test_a_member_sees_no_bill(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "member"

    app = open_app("costs")

    assert "get_reconciliation" not in {name for name, _ in fake.calls}
    assert "Without a price" in texts(app)


def test_without_a_bill_one_line_says_how_to_get_one(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.has_bill = False

    app = open_app("costs")

    assert "`treering reconcile` reads OpenAI's and Anthropic's" in captions(app)
    assert "of the bill" not in texts(app)


def test_a_short_period_is_compared_over_a_week_with_the_filters_that_a_bill_knows(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    open_app("costs", period="hour", provider="anthropic", environment="production")

    call = last_call(fake, "get_reconciliation")
    assert call["filters"] == {"provider": ["anthropic"], "environment": ["production"]}
    assert call["from_time"] < last_call(fake, "get_costs")["from_time"]
    assert last_call(fake, "get_savings_evidence")["filters"] == {
        "provider": ["anthropic"],
        "environment": ["production"],
    }


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"model": "gpt-4o"}, "not broken down by model"),
        ({"provider": ["openai", "google"]}, "not combined across providers"),
    ],
)
def test_a_filter_that_splits_the_bill_is_named(
    open_app: OpenApp, fake: FakeDatabase, query: dict[str, Any], said: str
) -> None:
    assert f"Provider bills are {said}" in captions(open_app("costs", **query))
    assert "get_reconciliation" not in {name for name, _ in fake.calls}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FunctionNotFoundError("no function"), "older than this app"),
        (DatabaseUnavailableError("gone"), "This could not be read: gone"),
    ],
    ids=["older", "away"],
)
def test_what_cannot_be_read_leaves_the_rest_of_the_page(
    open_app: OpenApp, fake: FakeDatabase, error: TreeringError, said: str
) -> None:
    def refuse(**_: object) -> None:
        raise error

    fake._get_reconciliation = refuse  # type: ignore[assignment]
    fake._get_savings_evidence = refuse  # type: ignore[assignment]

    app = open_app("costs")

    assert not app.exception
    assert captions(app).count(said) == 2
    assert app.dataframe


def test_evidence_in_an_unknown_form_is_said(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake._get_savings_evidence = lambda **_: {"facts": []}  # type: ignore[method-assign]
    shown = captions(open_app("costs"))
    assert "unexpected response from the database (get_savings_evidence" in shown
    assert "app and migrations may be of different versions" in shown


def test_nothing_uncertain_is_said_in_one_line(open_app: OpenApp, fake: FakeDatabase) -> None:
    whole = fake._totals
    sure = {"unpriced_requests": 0, "estimated_requests": 0, "fallback_requests": 0, "fallback_cost": "0"}
    fake._totals = lambda *cells, **options: whole(*cells, **options) | sure  # type: ignore[method-assign]

    app = open_app("costs")

    assert "Every request has its own price" in captions(app)
    assert certainty_bars(Totals(requests=5)) == []


def test_estimates_alone_lead_to_no_price(open_app: OpenApp, fake: FakeDatabase) -> None:
    whole = fake._totals
    sure = {"unpriced_requests": 0, "fallback_requests": 0, "fallback_cost": "0"}
    fake._totals = lambda *cells, **options: whole(*cells, **options) | sure  # type: ignore[method-assign]

    app = open_app("costs")

    assert not [link for link in app.get("page_link") if "missing prices" in link.proto.label]
    assert "include_usage" in captions(app)


def test_the_weightiest_causes_come_first_and_empty_ones_not_at_all() -> None:
    causes = [
        DriftCause(cause="rounding", amount=Decimal("0.1")),
        DriftCause(cause="calls_not_billed", amount=Decimal(-7), requests=2),
        DriftCause(cause="unexplained", amount=Decimal(0)),
    ]
    assert [cause.cause for cause in top_causes(causes)] == ["calls_not_billed", "rounding"]


def test_causes_that_are_not_shown_are_one_so_that_the_sum_stays_right() -> None:
    causes = [DriftCause(cause=f"cause {n}", amount=Decimal(n)) for n in range(1, 12)]
    shown = top_causes(causes)
    assert (len(shown), shown[-1].cause) == (MAX_CAUSES, "Other causes")
    assert sum(cause.amount or 0 for cause in shown) == sum(range(1, 12))


def test_a_bill_that_agrees_shows_no_drift(open_app: OpenApp, fake: FakeDatabase) -> None:
    whole = fake._get_reconciliation
    same = {"days": 1, "billed_cost": "5", "recorded_cost": "5", "drift": "0", "drift_fraction": "0"}
    fake._get_reconciliation = lambda **window: whole(**window) | {"totals": same, "explanations": [], "hints": []}  # type: ignore[method-assign]

    shown = texts(open_app("costs"))

    assert "1 day (UTC) compared" in shown
    assert "$0.00<span>0% of the bill" in shown
