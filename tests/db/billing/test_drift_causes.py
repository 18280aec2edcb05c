"""Which cause a difference between bill and record is given, and with which amount."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from ingest.billing.provider_lines import quiet_day
from tests.support.bills import DAY, billed, causes, counted, reconcile, record
from tests.support.events import store, usage_event

if TYPE_CHECKING:
    from ingest.database import Database
    from tests.support.doors import Door


def test_requests_that_nobody_recorded_explain_their_share(service_db: Database) -> None:
    store(
        service_db,
        *[usage_event(estimated_cost="0.25") for _ in range(3)],
        usage_event(status="error", estimated_cost="0", prompt_tokens=0, completion_tokens=0),
    )
    record(service_db, billed("1"), counted("gpt-4o-2024-08-06", 4))
    document = reconcile(service_db)
    assert document["totals"]["drift"] == "0.25"
    # 1 of 4 requests of 1.00 $.
    assert causes(document) == {"calls_not_recorded": (1, "0.25")}


def test_a_failed_call_that_used_tokens_explains_its_bill(service_db: Database) -> None:
    store(
        service_db,
        *[usage_event(estimated_cost="0.25") for _ in range(3)],
        usage_event(status="error", estimated_cost="0"),
    )
    record(
        service_db,
        billed("0.6", quantity=Decimal(600), quantity_unit="tokens"),
        billed("0.4", "gpt-4o, output", quantity=Decimal(200), quantity_unit="tokens"),
        counted("gpt-4o", 4),
    )
    # The fourth call: 150 input tokens at 0.001 $ and 50 output tokens at 0.002 $.
    assert causes(reconcile(service_db)) == {"failed_calls": (1, "0.25")}


def test_a_failed_call_that_was_charged_here_but_not_billed_is_named(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(estimated_cost="0.25"), usage_event(status="error", estimated_cost="0.2"))
    record(service, billed("0.25", quantity=Decimal(150), quantity_unit="tokens"), counted("gpt-4o", 1))
    assert causes(reconcile(service)) == {"failed_calls": (None, "-0.2")}


def test_a_day_that_agrees_names_no_cause_whatever_its_requests(service_db: Database) -> None:
    store(service_db, *[usage_event(estimated_cost="0.4") for _ in range(10)])
    record(service_db, billed("4.00"), counted("gpt-4o", 250))
    document = reconcile(service_db)
    assert (document["totals"]["drift"], document["explanations"], document["hints"]) == ("0.0", [], [])
    assert document["days"][0]["causes"] == []


def test_models_that_only_swap_names_leave_no_cause(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(estimated_cost="4"))
    record(service, billed("3", "chatgpt-4o, input"), billed("1", ""))
    assert causes(reconcile(service)) == {}


def test_another_price_is_told_apart_from_another_volume(service_db: Database) -> None:
    store(service_db, *[usage_event(prompt_tokens=1_000_000, completion_tokens=0, estimated_cost="2.5")] * 1)
    record(
        service_db,
        billed("2.70", quantity=Decimal(1_200_000), quantity_unit="tokens", list_price=Decimal(3)),
        counted("gpt-4o", 1),
    )
    # 200,000 tokens more at 2.25 $ per million; the recorded million at 0.25 $ less.
    assert causes(reconcile(service_db)) == {"calls_not_recorded": (None, "0.45"), "price": (None, "-0.25")}


def test_a_price_difference_goes_to_the_kind_of_tokens_whose_price_differs(direct: Door) -> None:
    service = direct.service()
    # Listed at 1 $ for 100 input tokens and 2 $ for 50 output tokens; the bill halves the output.
    store(service, usage_event(prompt_tokens=100, completion_tokens=50, estimated_cost="3"))
    record(
        service,
        billed("1", quantity=Decimal(100), quantity_unit="tokens", list_price=Decimal(10_000)),
        billed("1", "gpt-4o, output", quantity=Decimal(50), quantity_unit="tokens", list_price=Decimal(40_000)),
    )
    rows = [(row["item"], row["cause"], row["amount"]) for row in reconcile(service)["items"]]
    assert rows == [("output", "price", "-1")]


def test_recorded_fees_and_credits_are_compared_with_those_of_the_bill(service_db: Database) -> None:
    store(service_db, usage_event(estimated_cost="1.30", request_fees="0.30"))
    record(
        service_db,
        billed("1.00", quantity=Decimal(150), quantity_unit="tokens"),
        billed("0.30", "web search tool calls"),
        billed("-0.50", "Refund"),
    )
    assert causes(reconcile(service_db)) == {"credits": (None, "-0.5")}


def test_a_revision_is_told_once_and_replaces_the_figure(service_db: Database) -> None:
    record(service_db, billed("10"))
    for amount in ("8.5", "8.50"):
        record(service_db, billed(amount))
    document = reconcile(service_db)
    assert document["totals"]["billed_cost"] == "8.5"
    assert [(r["day"], r["old_cost"], r["new_cost"], r["amount"]) for r in document["revisions"]] == [
        ("2026-05-04", "10", "8.5", "-1.5"),
    ]


def test_an_open_day_that_gets_its_bill_is_no_revision(direct: Door) -> None:
    service = direct.service()
    record(service, quiet_day(DAY, "cost", source="api"))
    record(service, billed("8.5"))
    assert reconcile(service)["revisions"] == []


def test_a_project_is_not_blamed_where_two_explain_the_same_gap(direct: Door) -> None:
    service = direct.service()
    store(service, *[usage_event(estimated_cost="1") for _ in range(5)])
    lines = [
        line
        for project in ("proj_a", "proj_b")
        for line in (billed("5", project_id=project), counted("gpt-4o", 5, project_id=project))
    ]
    record(service, *lines)
    assert causes(reconcile(service)) == {"calls_not_recorded": (5, "5")}


def test_recorded_requests_that_were_not_billed_explain_theirs(direct: Door) -> None:
    service = direct.service()
    store(service, *[usage_event(estimated_cost="0.5") for _ in range(4)])
    record(service, billed("1.5"), counted("gpt-4o", 3))
    assert causes(reconcile(service)) == {"calls_not_billed": (1, "-0.5")}


def test_unpriced_and_fallback_calls_explain_theirs(direct: Door) -> None:
    service = direct.service()
    store(
        service,
        usage_event(model="new-1", estimated_cost=None, cost_source="unpriced"),
        usage_event(model="new-1", estimated_cost="2", cost_source="priced"),
        usage_event(model="odd-2", estimated_cost="0.1", cost_source="fallback", usage_source="tokenizer"),
    )
    record(
        service, billed("4", "new-1, input"), billed("0.4", "odd-2, input"), counted("new-1", 2), counted("odd-2", 1)
    )
    assert causes(reconcile(service)) == {"unpriced_models": (1, "2"), "fallback_prices": (1, "0.3")}


def test_services_are_fees_and_tiers_are_hinted_at(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(estimated_cost="1", usage_source="tokenizer"))
    record(
        service,
        billed("0.50", quantity=Decimal(150), quantity_unit="tokens"),
        billed("0.25", "web search tool calls"),
        billed("0.75", "vector storage"),
        counted("gpt-4o", 1, service_tier="flex"),
    )
    document = reconcile(service)
    assert causes(document) == {"fees": (None, "1"), "price": (None, "-0.5")}
    assert document["hints"] == [{"hint": "service_tiers", "requests": 1}]
    assert document["explanations"][0]["details"] == [
        {"name": "vector storage", "amount": "0.75"},
        {"name": "web search tool calls", "amount": "0.25"},
    ]


def test_an_invoice_without_counts_blames_no_request(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(estimated_cost="1"))
    record(service, billed("3", "", source="import"))
    assert causes(reconcile(service)) == {"unexplained": (None, "2")}
