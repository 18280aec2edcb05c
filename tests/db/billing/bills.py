"""Lines of a bill, and the comparison of bill and record."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ingest.billing.provider_lines import Line, cost_line, usage_line
from tests.support.events import NOON

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database

DAY = NOON.date()
START = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)


def billed(amount: str, line_item: str = "gpt-4o-2024-08-06, input", *, day: date = DAY, **fields: Any) -> Line:
    return cost_line(day, Decimal(amount), source=fields.pop("source", "api"), line_item=line_item, **fields)


def counted(model: str, requests: int, *, day: date = DAY, **fields: Any) -> Line:
    return usage_line(day, source="api", requests=requests, model=model, **fields)


def record(database: Database, *lines: Line) -> JsonValue:
    return database.call("record_provider_costs", rows=list(lines))


def reconcile(database: Database, days: int = 1, **filters: JsonValue) -> dict[str, Any]:
    document = database.call(
        "get_reconciliation", from_time=START, to_time=START + timedelta(days=days), filters=filters
    )
    assert isinstance(document, dict)
    return document


def causes(document: dict[str, Any]) -> dict[str, tuple[int | None, str | None]]:
    return {each["cause"]: (each["requests"], each["amount"]) for each in document["explanations"]}
