"""The chart of a back-test."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from dashboard.figures.backtest_chart import backtest_chart
from ingest.documents.alerts import BacktestPoint

POINTS = (
    BacktestPoint(moment=datetime(2026, 11, 1, tzinfo=UTC), value=Decimal("0.02")),
    BacktestPoint(moment=datetime(2026, 11, 2, tzinfo=UTC), value=Decimal("0.08")),
)


def drawn(chart: object) -> list[list[float]]:
    """The values of each layer."""
    specification = chart.to_dict()  # type: ignore[attr-defined]
    datasets = specification["datasets"]
    return [[row["value"] for row in datasets[layer["data"]["name"]]] for layer in specification["layer"]]


def test_shares_and_their_thresholds_stand_in_per_cent() -> None:
    chart = backtest_chart("error_rate", POINTS, Decimal("0.05"), Decimal("0.1"))
    assert drawn(chart) == [[2.0, 8.0], [5.0], [10.0]]
    assert chart.to_dict()["layer"][0]["encoding"]["y"]["axis"]["title"] == "Error rate, %"


def test_without_a_critical_threshold_there_is_one_line() -> None:
    chart = backtest_chart("p99_latency_ms", POINTS, Decimal(900), None)
    assert drawn(chart) == [[0.02, 0.08], [900.0]]
