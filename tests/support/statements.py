"""Statements made by hand, so that files can be tested without a database."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ingest.costs.statement import BillCheck, CostStatement, Line, MonthFigures, add_figures, month_bounds
from ingest.documents.statement import StatementFigures

if TYPE_CHECKING:
    from collections.abc import Sequence

OCTOBER = date(2026, 10, 1)
# More digits than a number of Excel holds.
LONG = Decimal("1234567.000000000000123")


def figures(**changes: object) -> StatementFigures:
    """Ten certain calls for 0.25 $ and nothing else."""
    plain: dict[str, object] = {
        "requests": 10, "prompt_tokens": 1500, "cached_tokens": 0, "completion_tokens": 500, "certain_requests": 10,
        "cost": Decimal("0.25"), "provider_reported_cost": Decimal(0), "fees": Decimal(0), "fallback_requests": 0,
        "fallback_cost": Decimal(0), "unpriced_requests": 0, "estimated_requests": 0, "demo_requests": 0,
    }  # fmt: skip
    return StatementFigures.model_validate(plain | changes)


UNPRICED = figures(certain_requests=0, cost=None, unpriced_requests=10)
FALLBACK = figures(certain_requests=0, cost=None, fallback_requests=10, fallback_cost=Decimal("0.5"))
MIXED = figures(certain_requests=7, cost=LONG, fees=Decimal("0.01"), fallback_requests=2, fallback_cost=Decimal("3e-7"),
                unpriced_requests=1)  # fmt: skip
NAMES = {
    "provider": ("openai", "azure", "anthropic", "mistral"),
    "feature": ("chat", "=HYPERLINK(\"http://evil\")", "聊天", ""),
    "model": ("gpt-4o", "+1+1", "claude-sonnet-4-5", "@SUM(A1)"),
    "environment": ("production", "staging", "production", "-2+3"),
    "user_id": ("user_a", "\tuser_b", "\ruser_c", "user_d"),
}  # fmt: skip


def a_statement(
    *,
    dimensions: Sequence[str] = ("feature", "model"),
    months: Sequence[date] = (OCTOBER,),
    timezone: str = "Europe/Berlin",
    is_ended: bool = True,
    sums: Sequence[StatementFigures] | None = None,
) -> CostStatement:
    """A statement with certain, mixed, fallback and unpriced lines, and names that want to be formulas."""
    each = [MIXED, figures(), FALLBACK, UNPRICED] if sums is None else list(sums)
    lines = tuple(
        Line(month, tuple(NAMES[name][place % 4] for name in dimensions), one)
        for month in months
        for place, one in enumerate(each)
    )
    found = []
    for month in months:
        start, end = (moment.astimezone(UTC) for moment in month_bounds(month, timezone))
        checks = (
            BillCheck("openai", "reconciled", 31, 0, Decimal("10.00"), Decimal("9.99"), Decimal("0.01")),
            BillCheck("azure", "not reconciled", 0, 31),
        )
        found.append(MonthFigures(month, start, end, is_ended, add_figures(each), checks))
    totals = add_figures(month.totals for month in found)
    generated = datetime(2026, 11, 26, 4, 0, tzinfo=UTC)
    return CostStatement(tuple(dimensions), timezone, {}, generated, tuple(found), lines, totals)
