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
from tests.support.bills import DAY, START, billed, counted, reconcile, record
from tests.support.events import store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door


def test_the_same_answer_again_changes_nothing(service_db: Database) -> None:
    lines = [billed("1.5"), billed("2.5", "gpt-4o-2024-08-06, output"), counted("gpt-4o", 3)]
    assert record(service_db, *lines) == 3
    assert record(service_db, *lines) == 3
    assert reconcile(service_db)["totals"]["billed_cost"] == "4.0"


def test_a_line_that_the_provider_took_back_is_gone(service_db: Database) -> None:
    record(service_db, billed("1.5"), billed("2.5", "gpt-4o, output"), billed("7", day=DAY + timedelta(days=1)))
    record(service_db, billed("1.25"))
    document = reconcile(service_db, 2)
    assert [day["billed_cost"] for day in document["days"]] == ["1.25", "7"]


def test_equal_lines_of_one_answer_add_up(direct: Door) -> None:
    service = direct.service()
    assert record(service, billed("0.1"), billed("0.2"), billed("0.4", project_id="proj_a")) == 2
    assert reconcile(service)["totals"]["billed_cost"] == "0.7"


def test_amounts_are_stored_with_every_digit(service_db: Database) -> None:
    digits = "0.123456789012345678901234567890123456789"
    record(service_db, billed(digits))
    assert reconcile(service_db)["totals"]["billed_cost"] == digits


@pytest.mark.parametrize(
    "line",
    [
        billed("1") | {"source": "hearsay"},
        billed("1") | {"kind": "guess"},
        billed("1") | {"day": None},
        billed("1") | {"currency": "dollars"},
        billed("1") | {"amount": None},
        billed("1") | {"amount": "1e9"},
        counted("gpt-4o", -1),
        "text",
    ],
)
def test_a_line_that_cannot_be_is_refused_and_nothing_of_its_call_is_stored(direct: Door, line: Any) -> None:
    service = direct.service()
    record(service, billed("1"))
    with pytest.raises(InvalidArgumentError):
        record(service, billed("2"), line)
    with pytest.raises(InvalidArgumentError):
        service.call("record_provider_costs", rows={"day": "2026-05-04"})
    assert reconcile(service)["totals"]["billed_cost"] == "1"


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
    for function in ("get_reconciliation", "get_savings_evidence"):
        with pytest.raises(PermissionDeniedError):
            viewer("user_a").call(function, from_time=START, to_time=START + timedelta(days=1))
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
