"""One figure reads the same wherever somebody meets it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from dashboard.figures.alert_words import describe_rule
from dashboard.panels.alerts import describe_alert
from ingest.alerts.messages import render_message
from ingest.alerts.metrics import METRICS
from ingest.documents.alerts import Alert, AlertRule
from ingest.reports.figures import open_alert
from ingest.reports.text import write_report
from tests.unit.reports.figures import figures

if TYPE_CHECKING:
    from decimal import Decimal

UTC_ZONE = ZoneInfo("UTC")
STARTED = datetime(2026, 11, 23, 11, tzinfo=UTC)
VALUES = st.decimals(min_value=0, max_value=10**12, allow_nan=False, allow_infinity=False, places=6)


def found(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    assert match is not None, text
    return match.groups()


@given(metric=st.sampled_from(sorted(METRICS)), value=VALUES, threshold=VALUES)
def test_an_alert_reads_the_same_in_a_message_in_the_app_and_in_a_report(
    metric: str, value: Decimal, threshold: Decimal
) -> None:
    document: dict[str, Any] = {
        "alert_id": 1, "rule_name": "Rule", "metric": metric, "state": "firing", "value": str(value),
        "threshold": str(threshold), "started_at": STARTED.isoformat(), "window_start": STARTED.isoformat(),
        "window_end": STARTED.isoformat(),
    }  # fmt: skip
    alert = Alert.model_validate(document)
    rule = AlertRule(rule_id=1, name="Rule", metric=metric, window_s=300, threshold=threshold)

    label = METRICS[metric].label
    message = render_message({"event": "firing", "alert": document}, dashboard_url=None, zone=UTC_ZONE).text
    report = write_report(figures(alerts=[open_alert(alert, UTC_ZONE)])).text
    in_message = found(rf"\n{label}: (.+), above (.+)\n", message)
    in_the_app = found(
        rf"^{label} <b>(.+)</b>, threshold ([^\N{{MIDDLE DOT}}]+) \N{{MIDDLE DOT}}", describe_alert(alert, UTC_ZONE)
    )
    (in_the_report,) = found(r"\n  Rule: (.+) \(warning", report)
    (in_settings,) = found(rf"^{label} over (.+?)(?: in 5 minutes|$)", describe_rule(rule))

    assert in_message == in_the_app == (in_the_report, in_settings)
