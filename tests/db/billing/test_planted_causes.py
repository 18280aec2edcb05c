"""A bill with planted causes: each is found with its amount, and nothing else."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.billing.organization_api import OrganizationApi
from ingest.billing.reconcile import fetch_costs, read_reconciliation
from tests.support.events import store, usage_event
from tests.support.organization_server import ADMIN_KEY, OrganizationServer, cost, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.database import Database
    from ingest.documents.billing import Reconciliation

FIRST = date(2026, 5, 4)
DAYS = 9
MISSING_DAY, REVISED_DAY, REFUND_DAY, SEARCH_DAY, OPEN_DAY = (FIRST + timedelta(days=n) for n in (2, 3, 4, 5, 6))

# A call of each model: uncached input, cached input and output tokens; US dollars per million of each.
CALLS = {"gpt-4o-2024-08-06": (3000, 1000, 800), "o4-mini-2025-04-16": (20_000, 0, 5000)}
PRICES = {"gpt-4o-2024-08-06": ("2.50", "1.25", "10"), "o4-mini-2025-04-16": ("1.10", "0.275", "4.40")}
ITEMS = ("input", "cached input", "output")


def price(model: str, calls: int, factor: str = "1") -> list[Decimal]:
    """What these calls cost, by kind of tokens."""
    return [
        Decimal(tokens) * calls * Decimal(dollars) * Decimal(factor) / 1_000_000
        for tokens, dollars in zip(CALLS[model], PRICES[model], strict=True)
    ]


def record(database: Database, day: date, model: str, calls: int) -> None:
    uncached, cached, output = CALLS[model]
    at = datetime(day.year, day.month, day.day, 9, tzinfo=UTC)
    store(
        database,
        *(
            usage_event(
                created_at=at + timedelta(seconds=n),
                model=model,
                prompt_tokens=uncached + cached,
                cached_tokens=cached,
                completion_tokens=output,
                estimated_cost=str(sum(price(model, 1))),
            )
            for n in range(calls)
        ),
    )


def bill(
    server: OrganizationServer, day: date, model: str, calls: int, *, project: str = "proj_a", factor: str = "1"
) -> Decimal:
    uncached, cached, output = CALLS[model]
    amounts = price(model, calls, factor)
    server.add(
        "costs",
        day,
        *(
            cost(f"{amount:f}", f"{model}, {item}", project_id=project)
            for item, amount in zip(ITEMS, amounts, strict=True)
            if amount
        ),
    )
    server.add(
        "usage/completions",
        day,
        usage(
            model,
            calls,
            input_tokens=(uncached + cached) * calls,
            input_cached_tokens=cached * calls,
            input_cache_write_tokens=0,
            output_tokens=output * calls,
            project_id=project,
        ),
    )
    return sum(amounts, Decimal(0))


@pytest.fixture
def server() -> Iterator[OrganizationServer]:
    with OrganizationServer() as server:
        yield server


def reconcile(database: Database, server: OrganizationServer) -> tuple[Reconciliation, dict[str, Any]]:
    end = FIRST + timedelta(days=DAYS)
    with contextlib.closing(OrganizationApi(ADMIN_KEY, url=server.url)) as api:
        fetch_costs(database, api, FIRST, end)
    return read_reconciliation(database, FIRST, end)


def plant(database: Database, server: OrganizationServer) -> dict[str, Decimal]:
    """Record and bill; returns what each planted cause comes to."""
    planted = dict.fromkeys(("price", "calls_not_recorded", "unrecorded_projects"), Decimal(0))
    for day in (FIRST + timedelta(days=n) for n in range(DAYS)):
        record(database, day, "o4-mini-2025-04-16", 20)
        record(database, day, "gpt-4o-2024-08-06", 483 if day == MISSING_DAY else 25)
        if day == OPEN_DAY:
            continue
        # A price that is 10 % lower on the bill.
        billed = bill(server, day, "o4-mini-2025-04-16", 20, factor="0.9")
        planted["price"] += billed - billed / Decimal("0.9")
        bill(server, day, "gpt-4o-2024-08-06", 500 if day == MISSING_DAY else 25)
        planted["unrecorded_projects"] += bill(server, day, "gpt-4o-2024-08-06", 7, project="proj_b")
    planted["calls_not_recorded"] = sum(price("gpt-4o-2024-08-06", 17), Decimal(0))
    server.add("costs", REFUND_DAY, cost("-6", "Refund", project_id="proj_a"))
    server.add("costs", SEARCH_DAY, cost("3.20", "web search tool calls", project_id="proj_a"))
    return planted | {"credits": Decimal(-6), "fees": Decimal("3.2")}


def test_each_planted_cause_is_named_with_its_amount_and_nothing_else(
    service_db: Database, server: OrganizationServer
) -> None:
    planted = plant(service_db, server)
    first_figure = dict(server.results["costs"])
    server.results["costs"][REVISED_DAY] = [*first_figure[REVISED_DAY], cost("1.5", "gpt-4o-2024-08-06, output")]
    reconcile(service_db, server)
    server.results["costs"][REVISED_DAY] = first_figure[REVISED_DAY]

    result, _ = reconcile(service_db, server)

    named = {cause.cause: cause.amount for cause in result.explanations}
    assert set(named) == set(planted)
    for cause, amount in planted.items():
        found = named[cause]
        assert found is not None
        assert abs(found - amount) <= abs(amount) / 100, cause
    assert sum((amount for amount in named.values() if amount), Decimal(0)) == result.totals.drift
    (revision,) = result.revisions
    assert (revision.day, revision.amount) == (REVISED_DAY, Decimal("-1.5"))
    assert [(day.day, day.state) for day in result.days if day.state != "compared"] == [(OPEN_DAY, "open")]
    assert result.totals.open_days == 1


def test_the_causes_say_when_where_and_what(service_db: Database, server: OrganizationServer) -> None:
    plant(service_db, server)

    result, _ = reconcile(service_db, server)

    by_day = {day.day: {cause.cause for cause in day.causes} for day in result.days}
    daily = {"price", "unrecorded_projects"}
    assert by_day[FIRST] == daily
    assert by_day[MISSING_DAY] == daily | {"calls_not_recorded"}
    assert by_day[REFUND_DAY] == daily | {"credits"}
    assert by_day[SEARCH_DAY] == daily | {"fees"}
    assert by_day[OPEN_DAY] == set()
    (missing,) = [cause for cause in result.explanations if cause.cause == "calls_not_recorded"]
    assert missing.requests == 17
    (projects,) = [cause for cause in result.explanations if cause.cause == "unrecorded_projects"]
    assert [detail.name for detail in projects.details] == ["proj_b"]
    items = {(row.item, row.cause): row for row in result.items if row.day == MISSING_DAY}
    assert {item for item, cause in items if cause == "calls_not_recorded"} == {"input", "cached_input", "output"}
    cached = items["cached_input", "calls_not_recorded"]
    assert (cached.billed_tokens, cached.recorded_tokens) == (Decimal(500_000), Decimal(483_000))
    assert cached.amount == Decimal(17_000) * Decimal("1.25") / 1_000_000
    assert {item for item, cause in items if cause == "price"} == {"input", "output"}


def test_the_parts_of_the_items_add_up_to_the_drift_too(service_db: Database, server: OrganizationServer) -> None:
    plant(service_db, server)
    result, _ = reconcile(service_db, server)
    assert sum((row.amount for row in result.items), Decimal(0)) == result.totals.drift
    by_day = [sum((cause.amount or Decimal(0) for cause in day.causes), Decimal(0)) for day in result.days]
    assert by_day == [day.drift or Decimal(0) for day in result.days]
