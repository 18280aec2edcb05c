"""For any bill and any record, the parts of the drift add up to it exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.billing.provider_lines import Line, cost_line, usage_line
from tests.support.events import NOON, store, usage_event

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tests.support.doors import Door

DAY = NOON.date()
START = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
MODELS = ("gpt-4o", "gpt-4o-2024-08-06", "o3", "")
TEXTS = ("input", "cached input", "output", "web search", "")

money = st.decimals(Decimal(-20), Decimal(1000), places=7)
tokens = st.integers(0, 100_000)
days = st.integers(0, 2).map(lambda n: DAY + timedelta(days=n))
projects = st.sampled_from(["", "proj_a", "proj_b"])
providers = count()


@st.composite
def costs(draw: st.DrawFn) -> Line:
    model, text = draw(st.sampled_from(MODELS)), draw(st.sampled_from(TEXTS))
    return cost_line(
        draw(days),
        draw(money),
        source="api",
        line_item=", ".join(filter(None, (model, text))),
        project_id=draw(projects),
        quantity=draw(st.none() | st.decimals(0, 10**6, places=3)),
        quantity_unit=draw(st.sampled_from(["tokens", "1000_tokens", "images"])),
        list_price=draw(st.none() | st.decimals(0, 100, places=4)),
    )


@st.composite
def counts(draw: st.DrawFn) -> Line:
    return usage_line(
        draw(days),
        source="api",
        requests=draw(st.none() | st.integers(0, 9)),
        model=draw(st.sampled_from(MODELS[:3])),
        project_id=draw(projects),
        input_tokens=draw(tokens),
        cached_tokens=draw(st.none() | tokens),
        output_tokens=draw(tokens),
    )


@st.composite
def calls(draw: st.DrawFn) -> dict[str, JsonValue]:
    cost = draw(st.none() | st.decimals(0, 100, places=9))
    prompt = draw(tokens)
    return usage_event(
        created_at=START + timedelta(hours=draw(st.integers(0, 71))),
        model=draw(st.sampled_from(MODELS[:3])),
        status=draw(st.sampled_from(["ok", "ok", "error", "cancelled"])),
        prompt_tokens=prompt,
        cached_tokens=draw(st.integers(0, prompt)),
        completion_tokens=draw(tokens),
        estimated_cost=None if cost is None else str(cost),
        cost_source="unpriced" if cost is None else draw(st.sampled_from(["priced", "fallback"])),
        request_fees=draw(st.none() | st.just("0.01")),
    )


def total(parts: list[dict[str, Any]]) -> Decimal:
    return sum((Decimal(part["amount"]) for part in parts), Decimal(0))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(costs() | counts(), max_size=12), events=st.lists(calls(), max_size=10))
def test_the_parts_of_the_drift_add_up_to_it(direct: Door, lines: list[Line], events: list[dict[str, Any]]) -> None:
    service = direct.service()
    provider = f"provider-{next(providers)}"
    store(service, *(event | {"provider": provider} for event in events))
    service.call("record_provider_costs", rows=[line | {"provider": provider} for line in lines])
    document: Any = service.call(
        "get_reconciliation", from_time=START, to_time=START + timedelta(days=3), filters={"provider": provider}
    )
    drift = Decimal(document["totals"]["drift"] or 0)
    compared = {day["day"] for day in document["days"] if day["state"] == "compared"}
    billed = sum(Decimal(str(line["amount"])) for line in lines if line["kind"] == "cost" and line["day"] in compared)
    recorded = sum(Decimal(event["estimated_cost"] or 0) for event in events if event["created_at"][:10] in compared)
    assert drift == billed - recorded
    assert total(document["explanations"]) == drift
    assert total(document["items"]) == drift
    assert [total(day["causes"]) for day in document["days"]] == [
        Decimal(day["drift"] or 0) for day in document["days"]
    ]
