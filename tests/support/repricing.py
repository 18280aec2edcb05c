"""Calls of one day, a new price for them, and pricing them again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg

from ingest.notices import Notices
from ingest.prices.reprice import Repricer, RepriceScope, RepriceTotals
from ingest.settings import load_settings
from tests.support.events import NOON, usage_event

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door

DAY = RepriceScope(datetime(2026, 5, 4, tzinfo=UTC), datetime(2026, 5, 5, tzinfo=UTC))
PRICE: dict[str, JsonValue] = {
    "model": "gpt-4o",
    "valid_from": "2026-05-01T00:00:00Z",
    "rates": {"input": "2.00", "output": "8.00"},
    "source": "contract",
}
LIST_COST, NEW_COST = Decimal("0.000875"), Decimal("0.0007")  # 150 x 2.50 + 50 x 10.00; 150 x 2.00 + 50 x 8.00


def repricer(database: Database, **overrides: str) -> Repricer:
    return Repricer(database, load_settings(**overrides), Notices(), sleep=lambda _: None)


def apply(database: Database, scope: RepriceScope = DAY, **overrides: str) -> RepriceTotals:
    return repricer(database, **overrides).apply(scope, requested_by="ada", reason="new contract")


def rows(door: Door) -> list[tuple[str, Decimal | None, str, str | None]]:
    with psycopg.connect(door.database.superuser_url) as connection:
        return connection.execute(
            "select model, estimated_cost, cost_source, price_id from observability_internal.ai_usage_metrics"
            " order by created_at, event_id"
        ).fetchall()


def costs(door: Door) -> list[Decimal | None]:
    return [cost for _, cost, _, _ in rows(door)]


def call(minute: int, **fields: JsonValue) -> dict[str, JsonValue]:
    return usage_event(created_at=NOON + timedelta(minutes=minute), **fields)
