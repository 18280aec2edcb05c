"""Figures of a report, as a test needs them."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from ingest.forecasting.forecast import MonthForecast
from ingest.reports.figures import Figures, Mover, OpenAlert, Saving, SavingsFound

END = date(2026, 11, 23)  # a Monday
FORECAST = MonthForecast(date(2026, 11, 1), 80.0, 110.0, 100.0, 125.5, 109.1, "seasonal")


def figures(**changes: Any) -> Figures:
    """A day that cost 5 dollars after one that cost 4."""
    return Figures(
        **{
            "kind": "daily",
            "period_start": END - timedelta(days=1),
            "period_end": END,
            "timezone": "Europe/Berlin",
            "cost": Decimal(5),
            "previous_cost": Decimal(4),
            "requests": 1200,
            "previous_requests": 1100,
            "errors": 12,
            "unpriced_requests": 3,
            "movers": [Mover("model", "gpt-4o", Decimal("3.5"), Decimal("1.25"))],
            "forecast": FORECAST,
            "savings": SavingsFound([Saving("Use gpt-4.1-mini for search", Decimal(12))], Decimal(60)),
            "alerts": [OpenAlert("Errors <chat>", "error_rate", Decimal("0.2"), "critical", "2026-11-22 14:05")],
            "spend": {END - timedelta(days=number): 4.0 + number % 3 for number in range(1, 30)},
            **changes,
        }
    )
