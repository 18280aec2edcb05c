"""Calls that came without a cost are priced by the worker, each once, before the rollups count them."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from ingest.notices import Notices
from ingest.prices.arrivals import price_arrivals
from ingest.prices.costing import Costing
from pricing import PriceBook
from pricing.names import leaves_cache_out
from tests.support.events import NOON, roll_up_all, usage_event
from tests.support.rollups import differences

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door

LIST_COST = Decimal("0.000875")  # 150 x 2.50 + 50 x 10.00, each a million


def arrival(**fields: Any) -> dict[str, JsonValue]:
    """A call as SQL or another language sends it: nothing is said of its cost."""
    event = usage_event(**fields)
    for name in ("estimated_cost", "cost_source"):
        if name not in fields:
            del event[name]
    return event


def price(database: Database, **options: Any) -> int:
    costing = Costing("gpt-4o", Notices(), PriceBook.default)
    priced, has_more = price_arrivals(database, lambda: costing, **options)
    assert not has_more
    return priced


def stored(door: Door, columns: str = "estimated_cost, cost_source") -> list[tuple[Any, ...]]:
    with psycopg.connect(door.database.superuser_url) as connection:
        query = f"select {columns} from observability_internal.ai_usage_metrics order by created_at, event_id"
        return connection.execute(query.encode()).fetchall()


def rolled_up(database: Database) -> dict[str, Any]:
    answer = database.call("roll_up")
    assert isinstance(answer, dict)
    return answer


def spend(database: Database) -> tuple[Any, Any, Any]:
    document: Any = database.call(
        "get_costs", from_time="2026-05-04T00:00:00Z", to_time="2026-05-05T00:00:00Z", filters={}
    )
    totals = document["totals"]
    cost = totals["cost"]
    return totals["requests"], totals["unpriced_requests"], None if cost is None else Decimal(cost)


def test_a_call_without_a_cost_gets_that_of_the_price_book(door: Door) -> None:
    service = door.service()
    service.call("record_usage", events=[arrival()])
    assert price(service) == 1
    assert stored(door) == [(LIST_COST, "priced")]


def test_a_call_waits_for_its_price_before_it_is_counted(door: Door) -> None:
    service = door.service()
    service.call("record_usage", events=[arrival()])
    assert rolled_up(service)["usage_rows"] == 0
    assert rolled_up(service)["pending_batches"] == 0
    price(service)
    assert rolled_up(service)["usage_rows"] == 1
    assert spend(service) == (1, 0, LIST_COST)
    assert differences(door.database) == []


def test_calls_with_a_cost_do_not_wait_for_those_of_other_batches(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[arrival()])
    service.call("record_usage", events=[usage_event()])
    assert rolled_up(service)["usage_rows"] == 1


def test_a_call_that_its_recorder_could_not_price_waits_for_nothing(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[arrival(cost_source="unpriced", estimated_cost=None)])
    assert rolled_up(service)["usage_rows"] == 1


def test_a_model_without_a_price_is_counted_as_unpriced(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[arrival(provider="vllm", model="my-model")])
    assert price(service) == 0
    roll_up_all(service)
    assert spend(service) == (1, 1, None)


def test_pricing_twice_changes_nothing_more(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[arrival(), arrival()])
    assert (price(service), price(service)) == (2, 0)


def test_an_answer_that_came_too_late_changes_nothing(direct: Door) -> None:
    service = direct.service()
    event = arrival()
    service.call("record_usage", events=[event])
    read: Any = service.call("get_arrivals")
    assert price(service) == 1
    late = [{"event_id": event["event_id"], "estimated_cost": "7", "cost_source": "priced"}]
    assert service.call("price_arrivals", batch_ids=read["batch_ids"], prices=late) == {"priced": 0, "batches": 0}
    assert stored(direct) == [(LIST_COST, "priced")]


def test_what_the_provider_charged_counts(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[arrival(provider_cost="-0.5")])
    price(service)
    assert stored(direct, "estimated_cost, cost_source, metadata") == [
        (Decimal("-0.5"), "provider", {"treering_flags": ["cost:adjustment"]})
    ]


def test_a_fee_on_a_model_without_a_price_counts_and_the_rest_is_named(direct: Door) -> None:
    service = direct.service()
    fields = {"provider": "vllm", "model": "my-model", "request_fees": "0.01", "metadata": {"team": "a"}}
    service.call("record_usage", events=[arrival(**fields)])
    price(service)
    assert stored(direct, "estimated_cost, metadata") == [
        (Decimal("0.01"), {"team": "a", "treering_flags": ["cost:tokens_unpriced"]})
    ]


def test_a_finding_that_would_make_metadata_too_long_is_left_out(direct: Door) -> None:
    service = direct.service()
    metadata = {"text": "x" * 8150}
    event = arrival(provider="vllm", model="my-model", request_fees="0.01", metadata=metadata)
    service.call("record_usage", events=[event])
    price(service)
    assert stored(direct, "estimated_cost, metadata") == [(Decimal("0.01"), metadata)]


@pytest.mark.parametrize(
    ("usage", "provider", "model", "expected"),
    [
        (  # 4 x 3/M, 1000 x 3.75/M, 4000 x 6/M, 10 x 15/M
            {
                "input_tokens": 4,
                "cache_creation_input_tokens": 5000,
                "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 4000},
                "output_tokens": 10,
            },
            "anthropic",
            "claude-sonnet-4-5",
            (5004, 10, 5000, {"cache_write_1h_tokens": 4000}, Decimal("0.027912")),
        ),
        (  # 40 x 2.50/M, 8960 x 1.25/M, 120 x 10/M
            {"prompt_tokens": 9000, "completion_tokens": 120, "prompt_tokens_details": {"cached_tokens": 8960}},
            "openai",
            "gpt-4o",
            (9000, 120, 0, None, Decimal("0.0125")),
        ),
        ({"total": "many"}, "openai", "gpt-4o", (0, 0, 0, None, None)),
    ],
)
def test_a_providers_own_usage_object_is_read(
    direct: Door, usage: dict[str, JsonValue], provider: str, model: str, expected: tuple[Any, ...]
) -> None:
    service = direct.service()
    event = arrival(provider=provider, model=model, usage=usage)
    del event["prompt_tokens"], event["completion_tokens"]
    service.call("record_usage", events=[event])
    price(service)
    columns = "prompt_tokens, completion_tokens, cache_write_tokens, usage_details, estimated_cost"
    assert stored(direct, columns) == [expected]


def test_what_a_trusted_host_charged_is_read_from_its_usage_object(direct: Door) -> None:
    service = direct.service()
    usage = {"prompt_tokens": 150, "completion_tokens": 50, "cost": 0.25}
    service.call("record_usage", events=[arrival(provider="gw.example.com", usage=usage)])
    price(service, trusted_costs=("gw.example.com",))
    assert stored(direct) == [(Decimal("0.25"), "provider")]


def test_what_the_cache_read_is_added_where_the_maker_leaves_it_out(door: Door) -> None:
    service = door.service()
    fields = {"prompt_tokens": 11, "cached_tokens": 60000, "cache_write_tokens": 900, "completion_tokens": 25}
    service.call("record_usage", events=[arrival(provider="anthropic", model="claude-sonnet-4-5", **fields)])
    price(service)
    # 11 x 3/M, 60000 x 0.30/M, 900 x 3.75/M, 25 x 15/M
    assert stored(door, "prompt_tokens, estimated_cost, metadata") == [
        (60911, Decimal("0.021783"), {"treering_flags": ["prompt_tokens:cache_added"]})
    ]


@pytest.mark.parametrize(
    "provider", ["anthropic", " AWS ", "bedrock", "aws.bedrock", "openai", "vertex", "", "awesome-llm"]
)
@pytest.mark.parametrize("model", ["claude-3", "us.anthropic.Claude-3", "gpt-4o"])
def test_sql_and_python_agree_on_whose_input_leaves_the_cache_out(
    shared_direct: Door, provider: str, model: str
) -> None:
    with psycopg.connect(shared_direct.database.superuser_url) as connection:
        found = connection.execute(
            "select observability_internal.whole_input(%s, %s, 7, 10000)", (provider, model)
        ).fetchone()
    assert found == (10007 if leaves_cache_out(provider, model) else 7,)


def test_after_a_minute_without_pricing_calls_are_counted_as_unpriced(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[arrival()])
    _age(direct, "70 seconds")
    assert rolled_up(service)["usage_rows"] == 1
    assert spend(service) == (1, 1, None)
    assert price(service) == 0
    with psycopg.connect(direct.database.superuser_url) as connection:
        assert connection.execute("select late_batches from observability_internal.price_state").fetchall() == [(1,)]


def test_while_the_worker_prices_a_backlog_nothing_is_counted_without_its_price(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[arrival()])
    price(service)
    service.call("record_usage", events=[arrival(created_at=NOON.replace(hour=13))])
    _age(direct, "1 hour")
    assert rolled_up(service)["usage_rows"] == 1


def test_an_unread_usage_object_is_never_counted_as_no_tokens(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[arrival(usage={"prompt_tokens": 3})])
    _age(direct, "1 day")
    assert rolled_up(service)["usage_rows"] == 0
    assert price(service) == 1
    assert rolled_up(service)["usage_rows"] == 1


def test_a_call_that_says_nothing_of_its_usage_has_no_cost_instead_of_none_to_pay(door: Door) -> None:
    service = door.service()
    silent: dict[str, JsonValue] = {
        name: value
        for name, value in arrival().items()
        if name in ("created_at", "user_id", "provider", "model", "operation", "status")
    }
    texts: tuple[dict[str, JsonValue], ...] = (
        {},
        {"usage": "3 tokens"},
        {"usage": None, "prompt_tokens": None},
        {"status": "error"},
    )
    calls = [{**silent, **said, "event_id": str(uuid.UUID(int=number))} for number, said in enumerate(texts)]
    told = {**silent, "event_id": str(uuid.UUID(int=9)), "prompt_tokens": 0, "completion_tokens": 0}
    assert service.call("record_usage", events=[*calls, told]) == 5
    assert price(service) == 2
    unknown = (None, "unpriced", {"treering_flags": ["usage:not_reported"]})
    assert stored(door, "estimated_cost, cost_source, metadata") == [unknown] * 3 + [(Decimal(0), "priced", None)] * 2


def test_an_estimate_of_no_tokens_is_no_price_of_nothing(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[arrival(prompt_tokens=0, completion_tokens=0, usage_source="heuristic")])
    assert price(service) == 0
    assert stored(direct) == [(None, "unpriced")]


def test_more_than_a_turn_takes_is_left_for_the_next(direct: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.prices.arrivals.PAGE_ROWS", 1)
    service = direct.service()
    for _ in range(3):
        service.call("record_usage", events=[arrival()])
    costing = Costing("gpt-4o", Notices(), PriceBook.default)
    ticks = iter((0.0, 1.0, 3.0))
    assert price_arrivals(service, lambda: costing, clock=lambda: next(ticks)) == (2, True)
    assert price(service) == 1


@pytest.mark.parametrize("arguments", [{"max_rows": 0}, {"max_rows": 10_001}, {"after_batch_id": None}])
def test_a_page_has_one_to_ten_thousand_calls(direct: Door, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="max_rows"):
        direct.service().call("get_arrivals", **arguments)


@pytest.mark.parametrize(
    "arguments", [{"batch_ids": {}, "prices": []}, {"batch_ids": [], "prices": None}, {"batch_ids": [], "prices": 1}]
)
def test_prices_come_as_lists(direct: Door, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="must be JSON arrays"):
        direct.service().call("price_arrivals", **arguments)


def test_only_the_service_prices(viewer: Callable[[str], Database], anonymous: Database) -> None:
    for caller in (viewer("user_a"), anonymous):
        with pytest.raises(PermissionDeniedError):
            caller.call("get_arrivals")
        with pytest.raises(PermissionDeniedError):
            caller.call("price_arrivals", batch_ids=[], prices=[])


def test_a_repeated_event_waits_for_nothing(direct: Door) -> None:
    service = direct.service()
    event = arrival(event_id=str(uuid.uuid4()))
    service.call("record_usage", events=[event])
    price(service)
    assert service.call("record_usage", events=[event]) == 0
    assert price(service) == 0


def _age(door: Door, by: str) -> None:
    door.database.execute(
        f"update observability_internal.pending_batches set enqueued_at = enqueued_at - interval '{by}'"
    )
