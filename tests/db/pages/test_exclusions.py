"""What is left out and what is in a range: each page's figures against SQL over the raw calls, written by hand."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.errors import InvalidArgumentError
from tests.support.events import condense_all, performance_event, roll_up_all, usage_event

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tests.support.doors import Door
    from tests.support.lending import Lender
    from tests.support.servers import TestDatabase

START = datetime(2026, 5, 4, tzinfo=UTC)  # a Monday
DAYS = 9
# From within an hour to within one: read from minutes, quarters of an hour, hours, days and weeks.
WINDOW = (START + timedelta(hours=3, minutes=15), START + timedelta(days=8, hours=22, minutes=30))
WEEK = (START + timedelta(days=1, minutes=45), START + timedelta(days=7, hours=12))
Filters = dict[str, Any]

VALUES: dict[str, list[str]] = {
    "model": ["gpt-4o", "o4-mini", "it's"],
    "feature": ["chat", "search", ""],
    "provider": ["openai", "azure"],
    "environment": ["production", "staging", "demo"],
    "operation": ["chat", "embeddings"],
    "status": ["ok", "error", "cancelled"],
    "user_id": ["ann", "bob", "cyn", "nobody"],
    "tenant_id": ["acme", "bolt", ""],
    "tags.plan": ["pro", "free", ""],
    "tags.team": ["a b", ""],
}
RARE = {"error_type": ["timeout", ""], "session_id": ["s1", "s2", ""]}
METADATA: list[JsonValue] = [None, {}, {"plan": "pro", "seats": 5}, {"plan": "free", "beta": True}, {"plan": ["pro"]}]
PAIRS: list[tuple[str, JsonValue]] = [("plan", "pro"), ("plan", "free"), ("seats", 5), ("beta", True)]


def some_events(count: int = 500) -> list[dict[str, Any]]:
    rng = random.Random(16)

    def one_of(name: str) -> str | None:
        return rng.choice(VALUES.get(name) or RARE[name]) or None

    events = []
    for _ in range(count):
        is_priced = rng.random() < 0.85
        tags: dict[str, JsonValue] = {name: value for name in ("plan", "team") if (value := one_of(f"tags.{name}"))}
        event = usage_event(
            created_at=START + timedelta(seconds=rng.randrange(DAYS * 86400)),
            user_id=rng.choice(VALUES["user_id"][:3]),
            tenant_id=one_of("tenant_id"),
            tags=tags or None,
            model=one_of("model"),
            feature=one_of("feature"),
            provider=one_of("provider"),
            environment=one_of("environment"),
            operation=one_of("operation"),
            status=one_of("status"),
            session_id=one_of("session_id"),
            metadata=rng.choice(METADATA),
            prompt_tokens=rng.randrange(2000),
            latency_ms=rng.choice([None, 80.25, 500.5, 7000.0]),
            estimated_cost=str(Decimal(rng.randrange(10**9)) / 10**10) if is_priced else None,
            cost_source="priced" if is_priced else "unpriced",
        )
        events.append(event | {"error_type": one_of("error_type") if event["status"] == "error" else None})
    return events


@pytest.fixture(scope="module")
def shared_database(shared_database: TestDatabase, lender: Lender) -> TestDatabase:
    from tests.support.doors import Door

    events = some_events()
    service = Door("postgres", shared_database, lender.api).service()
    service.call("record_usage", events=events[:400])
    service.call(
        "record_performance",
        events=[
            performance_event(created_at=START + timedelta(days=1, hours=5 * n), environment=name)
            for n, name in enumerate(["production", "staging", "canary"] * 9)
        ],
    )
    roll_up_all(service)
    condense_all(service)
    # What came later is in the minutes and waits to be condensed.
    service.call("record_usage", events=events[400:])
    roll_up_all(service)
    service.call("add_member", user_id="olga", role="analyst")
    service.call("add_member", user_id="ann", role="member")
    service.close()
    return shared_database


def column_of(name: str) -> str:
    return f"m.tags ->> '{name.removeprefix('tags.')}'" if name.startswith("tags.") else f"m.{name}"


def quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def where(only: Filters, out: Filters, pairs: Filters) -> str:
    """The condition as somebody would write it who knows that null is neither equal nor unequal."""
    parts = ["true"]
    for name, values in only.items():
        column = column_of(name)
        parts.append("(" + " or ".join(f"{column} = {quoted(v)}" if v else f"{column} is null" for v in values) + ")")
    for name, values in out.items():
        column = column_of(name)
        parts += [f"{column} is distinct from {quoted(v)}" if v else f"{column} is not null" for v in values]
    for key, value in pairs.get("only", []):
        parts.append(f"m.metadata -> '{key}' = {quoted(json.dumps(value))}::jsonb")
    for key, value in pairs.get("out", []):
        parts.append(f"m.metadata -> '{key}' is distinct from {quoted(json.dumps(value))}::jsonb")
    return " and ".join(parts)


def document_of(only: Filters, out: Filters, pairs: Filters) -> Filters:
    def nested(chosen: Filters) -> Filters:
        flat = {name: values for name, values in chosen.items() if not name.startswith("tags.")}
        tags = {name.removeprefix("tags."): values for name, values in chosen.items() if name.startswith("tags.")}
        return flat | ({"tags": tags} if tags else {})

    wanted, unwanted = nested(only), nested(out)
    if pairs.get("only"):
        wanted["metadata"] = dict(pairs["only"])
    if pairs.get("out"):
        unwanted["metadata"] = {
            key: [value for name, value in pairs["out"] if name == key] for key in {name for name, _ in pairs["out"]}
        }
    return wanted | ({"not": unwanted} if unwanted else {})


def mixture(rng: random.Random, names: list[str], *, has_metadata: bool) -> tuple[Filters, Filters, Filters]:
    chosen = rng.sample(names, rng.randint(1, 3))
    only, out = {}, {}
    for name in chosen:
        values = VALUES.get(name) or RARE[name]
        kind = rng.choice(["only", "out", "out", "both"])
        if kind in ("only", "both"):
            only[name] = rng.sample(values, rng.randint(1, len(values)))
        if kind in ("out", "both"):
            out[name] = rng.sample(values, rng.randint(1, max(1, len(values) - 1)))
    pairs: Filters = {}
    if has_metadata:
        pairs["out"] = rng.sample(PAIRS, rng.randint(1, 3))
        pairs["only"] = rng.sample(PAIRS[2:], rng.randint(0, 1))
    return only, out, pairs


def raw(database: TestDatabase, window: tuple[datetime, datetime], condition: str, what: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(
            f"select {what} from observability_internal.ai_usage_metrics as m "
            f"where m.created_at >= %s and m.created_at < %s and {condition}",
            list(window),
        ).fetchall()


SUMS = (
    "count(*), coalesce(sum(m.estimated_cost), 0), coalesce(sum(m.prompt_tokens), 0), "
    "count(*) filter (where m.estimated_cost is null), count(m.latency_ms), count(distinct m.user_id)"
)
NAMES = list(VALUES)
KINDS = [(seed, has_metadata) for seed in range(6) for has_metadata in ((False, True) if seed % 2 else (False,))]


@pytest.mark.parametrize(("seed", "has_metadata"), KINDS)
def test_every_page_leaves_what_sql_over_raw_calls_leaves(shared_door: Door, seed: int, has_metadata: bool) -> None:
    rng = random.Random(seed)
    window = WEEK if has_metadata else WINDOW
    # The first few are of one dimension each, for which merged histograms are kept.
    names = [["model"], ["feature"], ["environment"], ["user_id"], ["tags.plan"]][seed : seed + 1] or [NAMES]
    only, out, pairs = mixture(rng, names[0] if len(names[0]) > 2 else names[0] * 3, has_metadata=has_metadata)
    analyst, database = shared_door.viewer("olga"), shared_door.database
    filters, condition = document_of(only, out, pairs), where(only, out, pairs)
    ((count, cost, tokens, unpriced, timed, users),) = raw(database, window, condition, SUMS)
    asked: Any = {"from_time": window[0], "to_time": window[1], "filters": filters}
    for function in ("get_overview", "get_usage", "get_costs", "get_performance"):
        page: Any = analyst.call(function, **asked)
        totals = page["totals"]
        assert (totals["requests"], totals["prompt_tokens"], totals["unpriced_requests"]) == (count, tokens, unpriced)
        assert Decimal(totals["cost"] or 0) == cost
        assert totals["latency_ms"]["count"] == timed
        assert totals.get("users", users) == users
    drivers: Any = analyst.call("get_cost_drivers", **asked)
    assert sum(Decimal(cell["now"]["cost"]) for cell in drivers["cells"] if cell["now"]) == cost
    hours: Any = analyst.call("get_hours", **asked)
    assert sum(hour["requests"] for hour in hours["hours"]) == count
    for key in ("model", "user_id"):
        found: Any = analyst.call("get_cost_breakdown", **asked, group_by=key)
        expected = raw(database, window, condition + f" group by m.{key}", f"m.{key}, sum(m.estimated_cost), count(*)")
        rows = {(row["key"], Decimal(row["cost"] or 0), row["requests"]) for row in found["rows"]}
        assert rows == {(name, spent or Decimal(0), calls) for name, spent, calls in expected}
    if not has_metadata:
        statement: Any = analyst.call("get_statement", **asked)
        assert (statement["totals"]["requests"], Decimal(statement["totals"]["cost"] or 0)) == (count, cost)


@pytest.mark.parametrize("seed", range(5))
def test_the_calls_that_are_left_are_those_of_sql(shared_door: Door, seed: int) -> None:
    rng = random.Random(100 + seed)
    only, out, pairs = mixture(rng, [*NAMES, *RARE], has_metadata=seed % 3 == 0)
    filters, condition = document_of(only, out, pairs), where(only, out, pairs)
    limits = {
        "min_cost": "0.02",
        "max_cost": "0.06",
        "min_tokens": 300,
        "max_tokens": "1500",
        "max_latency_ms": "500.5",
    }
    for name in rng.sample(list(limits), 2):
        filters[name] = limits[name]
        column = {"cost": "m.estimated_cost", "tokens": "(m.prompt_tokens + m.completion_tokens)"}.get(
            name[4:], "m.latency_ms"
        )
        condition += f" and {column} {'>=' if name.startswith('min') else '<='} {limits[name]}"
    expected = raw(shared_door.database, WEEK, condition, "m.event_id::text")
    analyst = shared_door.viewer("olga")
    for order in ("newest", "cost"):
        found: set[tuple[str]] = set()
        cursor: dict[str, str] = {}
        while True:
            page: Any = analyst.call(
                "get_events",
                from_time=WEEK[0],
                to_time=WEEK[1],
                filters={**filters, **cursor, "order": order, "limit": 40},
            )
            found |= {(event["event_id"],) for event in page["events"]}
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        if order == "newest":
            assert found == set(expected)
        else:
            assert found <= set(expected)


def test_a_range_of_costs_tells_how_many_calls_of_unknown_cost_it_leaves_out(shared_door: Door) -> None:
    analyst, database = shared_door.viewer("olga"), shared_door.database
    asked: Any = {"from_time": WEEK[0], "to_time": WEEK[1]}

    def page(**filters: JsonValue) -> Any:
        return analyst.call("get_events", **asked, filters={"limit": 1000, **filters})

    left_out: Filters = {"not": {"user_id": "ann"}}
    ranged = page(min_cost="0", max_cost="0.05", **left_out)
    ((unknown, inside),) = raw(
        database,
        WEEK,
        "m.user_id <> 'ann'",
        "count(*) filter (where m.estimated_cost is null), count(*) filter (where m.estimated_cost <= 0.05)",
    )
    assert (ranged["without_cost"], len(ranged["events"])) == (unknown, inside)
    assert unknown > 0
    assert page(user_id="ann", min_cost="0.01")["without_cost"] > 0
    assert page(user_id="nobody", min_cost="0.01")["without_cost"] == 0
    assert page(max_tokens=500)["without_cost"] is None


def test_limits_are_exact_and_inclusive_to_the_last_digit(shared_door: Door) -> None:
    analyst = shared_door.viewer("olga")
    ((event_id, cost),) = raw(
        shared_door.database, WEEK, "m.estimated_cost > 0.03 limit 1", "m.event_id::text, m.estimated_cost"
    )

    def ids(**limits: str) -> set[str]:
        page: Any = analyst.call("get_events", from_time=WEEK[0], to_time=WEEK[1], filters={"limit": 1000, **limits})
        return {event["event_id"] for event in page["events"]}

    tiny = Decimal(1).scaleb(-12)
    assert event_id in ids(min_cost=f"{cost:f}", max_cost=f"{cost:f}")
    assert event_id not in ids(min_cost=f"{cost + tiny:.12f}")
    assert event_id not in ids(max_cost=f"{cost - tiny:.12f}")


def test_savings_and_what_ifs_leave_out_what_is_named(shared_door: Door) -> None:
    analyst = shared_door.viewer("olga")
    asked: Any = {"from_time": START + timedelta(days=1), "to_time": START + timedelta(days=8)}
    window = (asked["from_time"], asked["to_time"])
    filters: Any = {"provider": ["openai", "azure"], "not": {"model": ["it's"], "feature": [""]}}
    condition = "m.model <> 'it''s' and m.feature is not null"
    ((spent,),) = raw(shared_door.database, window, condition, "sum(m.estimated_cost)")
    evidence: Any = analyst.call("get_savings_evidence", **asked, filters=filters)
    assert Decimal(evidence["spend"]) == spent
    assert {(fact["model"], fact["feature"]) for fact in evidence["facts"]} == {
        (model, feature) for model in ("gpt-4o", "o4-mini") for feature in ("chat", "search")
    }
    basis: Any = analyst.call("get_calls_to_price", **asked, filters=filters)
    assert Decimal(basis["cost"]) == spent
    assert {row["model"] for row in basis["calls"]} == {"gpt-4o", "o4-mini"}
    with pytest.raises(InvalidArgumentError, match="told apart by provider"):
        analyst.call("get_savings_evidence", **asked, filters={"not": {"user_id": "ann"}})
    with pytest.raises(InvalidArgumentError, match="a what-if is about"):
        analyst.call("get_calls_to_price", **asked, filters={"not": {"user_id": "ann"}})


def test_requests_of_the_backend_are_left_out_by_environment(shared_door: Door) -> None:
    analyst = shared_door.viewer("olga")
    asked: Any = {"from_time": START, "to_time": START + timedelta(days=DAYS)}

    def routes(filters: Filters) -> Any:
        page: Any = analyst.call("get_performance", **asked, filters=filters)
        return page["routes"]["requests"], page["routes"]["latency_ms"]["count"]

    # No call was made in the canary: its requests stay in all the same.
    assert routes({"not": {"environment": ["staging"]}}) == (18, 18)
    assert routes({"environment": ["staging", "canary"], "not": {"environment": ["staging"]}}) == (9, 9)
    assert routes({"not": {"model": ["gpt-4o"]}}) == (27, 27)


def test_a_member_leaves_out_nobody_but_themselves(shared_door: Door) -> None:
    member, analyst = shared_door.viewer("ann"), shared_door.viewer("olga")
    asked: Any = {"from_time": START, "to_time": START + timedelta(days=DAYS)}

    def requests(filters: Filters) -> tuple[int, int]:
        page: Any = member.call("get_usage", **asked, filters=filters)
        calls: Any = member.call("get_events", **asked, filters={**filters, "limit": 1000})
        return page["totals"]["requests"], len(calls["events"])

    own: Any = analyst.call("get_usage", **asked, filters={"user_id": "ann"})["totals"]  # type: ignore[index, call-overload]
    assert requests({"not": {"user_id": "bob"}}) == (own["requests"], own["requests"])
    assert requests({"not": {"user_id": ["ann"]}}) == (0, 0)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"not": "gpt-4o"}, "takes an object of filters"),
        ({"not": {"colour": "red"}}, "nothing can be excluded by colour"),
        ({"not": {"not": {"model": "x"}}}, "nothing can be excluded by not"),
        ({"not": {"model": 7}}, "takes a text or a list of texts"),
        ({"not": {"tags": ["pro"]}}, "the filter tags takes an object"),
        ({"not": {"metadata": {"plan": {"a": 1}}}}, "texts, numbers and booleans"),
    ],
)
def test_an_exclusion_that_makes_no_sense_is_refused(
    shared_direct: Door, filters: dict[str, JsonValue], message: str
) -> None:
    for function in ("get_costs", "get_events"):
        with pytest.raises(InvalidArgumentError, match=message):
            shared_direct.service().call(function, from_time=WEEK[0], to_time=WEEK[1], filters=filters)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"min_cost": "2", "max_cost": "1.999999"}, "min_cost is above max_cost"),
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens is above max_tokens"),
        ({"max_latency_ms": "NaN"}, "are numbers of zero or more"),
        ({"max_tokens": "1.5"}, "whole ones"),
    ],
)
def test_a_range_without_an_inside_is_refused(shared_direct: Door, filters: dict[str, JsonValue], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        shared_direct.service().call("get_events", from_time=WEEK[0], to_time=WEEK[1], filters=filters)


def test_a_bill_is_filtered_by_environment_alone(shared_direct: Door) -> None:
    service = shared_direct.service()
    asked: Any = {"from_time": WEEK[0], "to_time": WEEK[1]}
    for name in ("user_id", "tenant_id", "tags", "metadata", "model"):
        value: JsonValue = {"plan": "pro"} if name in ("tags", "metadata") else ["ann"]
        for filters in ({name: value}, {"not": {name: value}}):
            with pytest.raises(InvalidArgumentError, match=f"a bill cannot be filtered by {name}"):
                service.call("get_reconciliation", **asked, filters=filters)
    with pytest.raises(InvalidArgumentError, match="of one provider"):
        service.call("get_reconciliation", **asked, filters={"not": {"provider": "openai"}})
