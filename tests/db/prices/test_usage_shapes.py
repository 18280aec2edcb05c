"""What providers report, through SQL: the recorder's cost is kept, and the worker finds the same to the last digit."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.notices import Notices
from ingest.prices.arrivals import price_arrivals
from ingest.prices.costing import Costing
from ingest.prices.in_force import Prices
from ingest.record.event import normalise_usage
from ingest.tracking.usage import read_usage
from pricing.calls import DETAIL_COUNTS
from tests.conformance.cases import CASES, ROWS, Case
from tests.support.events import roll_up_all
from tests.support.rollups import differences

if TYPE_CHECKING:
    from decimal import Decimal

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door

Event = dict[str, "JsonValue"]
NOW = "2026-11-24T12:00:00+00:00"


@pytest.fixture
def costing(service_db: Database) -> Costing:
    """Charges with the prices of the database, in which the figures of `ROWS` are the customer's."""
    for row in ROWS:
        for model in row["models"]:
            price = {"provider": row["provider"], "model": model, "rates": row["rates"], "source": "test"}
            service_db.call("add_price", price={**price, "valid_from": "2020-01-01T00:00:00Z"})
    prices = Prices(Notices())
    prices.refresh(service_db)
    return Costing("gpt-4o", Notices(), lambda: prices.book)


def event_of(case: Case) -> Event:
    """The event that the recorder makes of a case, without its cost."""
    line = case.line
    said = line["usage"]
    if not case.is_recorded_by_hand:
        said = read_usage(
            said, provider=line["provider"], model=line["model"], operation=case.operation, answer=case.answer
        )
    details = {name: said[name] for name in (*DETAIL_COUNTS, "units", "reported_cost") if name in said}
    return normalise_usage(
        {
            "prompt_tokens": 0,
            "completion_tokens": 0,
            **said,
            **({"usage_details": details} if details else {}),
            "event_id": str(uuid.uuid4()),
            "created_at": NOW,
            "user_id": "user_a",
            "provider": line["provider"],
            "model": line["model"],
        }
    )


def reported_as(case: Case) -> Event:
    """The same answer as another language sends it: with the provider's own object."""
    line = case.line
    return {
        "event_id": str(uuid.uuid4()),
        "created_at": NOW,
        "user_id": "user_a",
        "provider": line["provider"],
        "model": line["model"],
        "operation": case.operation,
        "usage": line["usage"],
    }


def stored_costs(door: Door, events: dict[str, Event]) -> dict[str, Decimal | None]:
    with psycopg.connect(door.database.superuser_url) as connection:
        costs: dict[str, Decimal | None] = dict(
            connection.execute(
                "select event_id::text, estimated_cost from observability_internal.ai_usage_metrics"
            ).fetchall()
        )
    return {name: costs[str(event["event_id"])] for name, event in events.items()}


def expected(events: dict[str, Event]) -> dict[str, Decimal | None]:
    return {case.id: case.cost for case in CASES if case.id in events}


def price(service: Database, costing: Costing) -> None:
    _, has_more = price_arrivals(service, lambda: costing)
    assert not has_more


def test_the_recorders_cost_of_each_case_is_stored(door: Door, service_db: Database, costing: Costing) -> None:
    events = {case.id: event_of(case) for case in CASES}
    for event in events.values():
        costing.apply(event)
    assert service_db.call("record_usage", events=list(events.values())) == len(CASES)
    assert stored_costs(door, events) == expected(events)


def test_the_worker_finds_the_same_cost_for_each_case(door: Door, service_db: Database, costing: Costing) -> None:
    events = {case.id: event_of(case) for case in CASES}
    assert service_db.call("record_usage", events=list(events.values())) == len(CASES)
    price(service_db, costing)
    assert stored_costs(door, events) == expected(events)
    roll_up_all(service_db)
    assert differences(door.database) == []


def test_the_worker_reads_each_providers_own_object(door: Door, service_db: Database, costing: Costing) -> None:
    # Tools that an answer called are counted in the answer, which SQL does not get.
    events = {case.id: reported_as(case) for case in CASES if not case.is_recorded_by_hand and case.answer is None}
    assert len(events) > len(CASES) / 2
    assert service_db.call("record_usage", events=list(events.values())) == len(events)
    price(service_db, costing)
    assert stored_costs(door, events) == expected(events)


def test_pricing_again_what_the_worker_priced_changes_nothing(service_db: Database, costing: Costing) -> None:
    events = {case.id: event_of(case) for case in CASES}
    service_db.call("record_usage", events=list(events.values()))
    price(service_db, costing)
    page: Any = service_db.call(
        "get_rows_to_reprice", from_time="2026-11-24T00:00:00Z", to_time="2026-11-25T00:00:00Z", filters={}
    )
    for row in page["rows"]:
        before = row.get("estimated_cost")
        again = {key: value for key, value in row.items() if key not in ("estimated_cost", "cost_source", "price_id")}
        costing.apply(again)
        assert again.get("estimated_cost") == before, row["model"]
