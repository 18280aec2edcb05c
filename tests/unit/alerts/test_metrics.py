from __future__ import annotations

from decimal import Decimal

import pytest

from ingest.alerts.metrics import METRICS, format_metric, metric_named


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("spend", "0.00125", "$0.00125"),
        ("spend", "61.204118", "$61.20"),
        ("error_rate", "0.0821", "8.2%"),
        ("error_rate", "0", "0%"),
        ("budget_used", "12", "1,200.0%"),
        ("provider_drift", "0.005", "0.50%"),
        ("p99_latency_ms", "18400", "18.4 s"),
        ("p90_route_latency_ms", "900", "900 ms"),
        ("pipeline_lag_s", "90", "90.0 s"),
        ("pipeline_lag_s", "900", "15.0 min"),
        ("pipeline_lag_s", "90000", "25.0 h"),
        ("tokens", "1234567", "1,234,567"),
        ("anomaly", "4.128", "4.13"),
        ("anomaly", "10", "10"),
        ("spend_vs_last_week", "1.5", "150.0%"),
        ("error_burn_rate", "14.4", "14.4\N{MULTIPLICATION SIGN}"),
        ("of_a_newer_database", "2.50", "2.5"),
        ("spend", None, "\N{EM DASH}"),
    ],
)
def test_a_value_has_the_unit_of_its_metric(metric: str, value: str | None, text: str) -> None:
    assert format_metric(metric, None if value is None else Decimal(value)) == text


def test_no_two_metrics_have_one_name_or_read_alike() -> None:
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS) == 44


def test_a_metric_offers_a_threshold_unless_a_budget_keeps_its_rule() -> None:
    for metric in METRICS.values():
        assert (metric.default == "") is metric.of.is_budget, metric.name


def test_an_unknown_metric_reads_as_its_name() -> None:
    assert metric_named("of_a_newer_database").label == "of_a_newer_database"


@pytest.mark.parametrize(
    ("metric", "typed"),
    [("spend", "US$"), ("requests", "calls"), ("route_requests", "requests"), ("error_rate", "%"), ("budget_used", "%"),
     ("p50_latency_ms", "ms"), ("pipeline_lag_s", "s"), ("anomaly", "")],
)  # fmt: skip
def test_a_threshold_is_typed_in_the_unit_of_its_metric(metric: str, typed: str) -> None:
    assert METRICS[metric].unit.typed == typed
