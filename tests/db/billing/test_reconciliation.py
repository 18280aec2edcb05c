"""The provider's bill beside the record: figures, causes, rights, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.billing.provider_lines import quiet_day
from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.db.billing.bills import DAY, START, billed, causes, counted, reconcile, record
from tests.support.events import store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door


def test_bill_and_record_are_compared_by_utc_day(service_db: Database) -> None:
    store(
        service_db,
        usage_event(created_at=START, estimated_cost="0.4"),
        usage_event(created_at=START + timedelta(hours=23, minutes=59), estimated_cost="0.55"),
        usage_event(created_at=START + timedelta(days=1), estimated_cost="3"),
        usage_event(created_at=START, estimated_cost="50", environment="demo"),
        usage_event(created_at=START, estimated_cost="60", provider="azure"),
    )
    record(
        service_db,
        billed("1.00"),
        counted("gpt-4o-2024-08-06", 2),
        quiet_day(DAY + timedelta(days=2), "cost", source="api"),
    )
    document = reconcile(service_db, 3)
    rows = [(d["day"], d["billed_cost"], d["recorded_cost"], d["drift"], d["drift_fraction"]) for d in document["days"]]
    assert rows == [
        ("2026-05-04", "1", "0.95", "0.05", "0.050000"),
        ("2026-05-05", None, "3", None, None),
        ("2026-05-06", "0", "0", "0", "0.000000"),
    ]
    totals = document["totals"]
    assert (totals["days"], totals["days_without_bill"]) == (2, 1)
    assert (totals["billed_cost"], totals["recorded_cost"], totals["drift"]) == ("1", "0.95", "0.05")
    assert (totals["billed_requests"], totals["recorded_requests"]) == (2, 2)


def test_a_day_that_the_provider_has_not_billed_yet_is_open(service_db: Database) -> None:
    store(service_db, usage_event())
    record(service_db, quiet_day(DAY, "cost", source="api"), quiet_day(DAY, "usage", source="api"))
    document = reconcile(service_db)
    (day,) = document["days"]
    assert (day["state"], day["billed_cost"], day["recorded_cost"], day["drift"]) == ("open", None, "0.000875", None)
    assert (document["totals"]["open_days"], document["totals"]["days"]) == (1, 0)
    assert document["explanations"] == []


def test_a_day_whose_bill_is_behind_the_providers_own_count_is_open_for_some_days(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(prompt_tokens=1000, completion_tokens=0, estimated_cost="0.0025"))
    part = billed("0.0015", quantity=Decimal(600), quantity_unit="tokens")
    record(service, part, counted("gpt-4o", 1, input_tokens=1000, output_tokens=0))
    fetched = "update observability_internal.provider_costs set fetched_at = "
    direct.database.execute(fetched + "'2026-05-07 23:00:00+00'")
    assert reconcile(service)["days"][0]["state"] == "open"
    direct.database.execute(fetched + "'2026-05-08 00:00:00+00'")
    assert reconcile(service)["days"][0]["drift"] == "-0.0010"


def test_where_nothing_was_billed_but_something_recorded_the_drift_is_whole(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event())
    record(service, billed("0"))
    assert reconcile(service)["totals"]["drift_fraction"] == "-1.000000"


def test_an_empty_range_has_nothing_to_compare(service_db: Database) -> None:
    document = reconcile(service_db)
    assert document["days"] == document["by_model"] == document["explanations"] == []
    assert document["totals"]["billed_cost"] is None
    assert document["totals"]["drift_fraction"] is None


def test_an_imported_invoice_counts_instead_of_the_apis_amounts(direct: Door) -> None:
    service = direct.service()
    record(service, billed("1"), counted("gpt-4o", 3))
    record(service, billed("9", source="import"))
    (day,) = reconcile(service)["days"]
    assert (day["source"], day["billed_cost"], day["billed_requests"]) == ("import", "9", 3)


def test_what_was_read_before_the_day_was_over_is_not_compared(direct: Door) -> None:
    service = direct.service()
    record(service, billed("1"))
    direct.database.execute("update observability_internal.provider_costs set fetched_at = '2026-05-04 23:59:59+00'")
    assert reconcile(service)["totals"]["days"] == 0


def test_other_currencies_are_named_and_not_compared(direct: Door) -> None:
    service = direct.service()
    record(service, billed("5", currency="EUR"))
    totals = reconcile(service)["totals"]
    assert (totals["days"], totals["other_currency_lines"], totals["billed_cost"]) == (0, 1, None)


def test_models_are_compared_whatever_snapshot_or_prefix_names_them(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(model="gpt-4o"), usage_event(model="openai/gpt-4o-2024-11-20"))
    record(service, billed("1"), counted("gpt-4o-2024-08-06", 2, input_tokens=300, output_tokens=100))
    (row,) = reconcile(service)["by_model"]
    assert (row["key"], row["billed_requests"], row["recorded_requests"]) == ("gpt-4o", 2, 2)
    assert (row["billed_input_tokens"], row["recorded_input_tokens"]) == (300, 300)


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


def test_environments_choose_what_is_compared(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(estimated_cost="1"), usage_event(estimated_cost="2", environment="staging"))
    record(service, billed("2"))
    assert reconcile(service)["totals"]["recorded_cost"] == "3"
    assert reconcile(service, environment="staging")["totals"]["recorded_cost"] == "2"


@pytest.mark.parametrize(
    "filters", [{"model": "gpt-4o"}, {"user_id": "u"}, {"provider": ["a", "b"]}, {"colour": "red"}]
)
def test_a_bill_is_not_filtered_by_what_it_does_not_know(direct: Door, filters: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        reconcile(direct.service(), **filters)


def test_analysts_see_the_bill_and_members_do_not(service_db: Database, viewer: Callable[[str], Database]) -> None:
    record(service_db, billed("1"))
    service_db.call("add_member", user_id="user_ana", role="analyst")
    assert reconcile(viewer("user_ana"))["totals"]["billed_cost"] == "1"
    with pytest.raises(PermissionDeniedError):
        viewer("user_a").call("get_reconciliation", from_time=START, to_time=START + timedelta(days=1))
    for user in ("user_a", "user_ana"):
        with pytest.raises(PermissionDeniedError):
            record(viewer(user), billed("2"))


def test_both_doors_give_the_same_reconciliation(direct: Door) -> None:
    from tests.support.doors import Door as AnyDoor

    store(direct.service(), usage_event(), usage_event(model="mystery", estimated_cost=None, cost_source="unpriced"))
    record(direct.service(), billed("0.001"), counted("gpt-4o", 4))
    other = AnyDoor("postgrest", direct.database)
    try:
        left, right = reconcile(direct.service()), reconcile(other.service())
        assert left.pop("generated_at")
        assert right.pop("generated_at")
        assert json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    finally:
        other.close()


def test_the_drift_is_what_bill_and_record_say_by_independent_sums(direct: Door) -> None:
    service = direct.service()
    costs = [Decimal(n * n).scaleb(-7) for n in range(1, 60)]
    bills = [Decimal(n).scaleb(-3) for n in range(1, 6)]
    store(
        service,
        *[usage_event(created_at=START + timedelta(hours=n), estimated_cost=str(c)) for n, c in enumerate(costs)],
    )
    record(service, *[billed(str(b), day=DAY + timedelta(days=n)) for n, b in enumerate(bills)])
    totals = reconcile(service, 5)["totals"]
    assert Decimal(totals["billed_cost"]) == sum(bills)
    assert Decimal(totals["recorded_cost"]) == sum(costs)
    assert Decimal(totals["drift"]) == sum(bills) - sum(costs)
    assert dt.date.fromisoformat(reconcile(service, 5)["to_day"]) == DAY + timedelta(days=5)
