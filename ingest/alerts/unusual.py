"""Values of the rules on what is unusual: how far the last hours lie from the usual, for each group that may be."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from ingest.database import fetch
from ingest.documents.series import OutlierSeries
from ingest.forecasting.anomaly import LEARNING, Sensitivity, Verdict, fill_gaps, judge
from ingest.forecasting.newcomers import judge_first, judge_newcomer
from ingest.forecasting.series import HOUR, hour_of

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database
    from ingest.documents.alerts import AlertRule
    from ingest.documents.series import OutlierGroup

# There are many users, so each has to stand out more: an hour in a thousand of each of 10,000 would be ten an hour.
_BY_USER: Final = Sensitivity(hour_deviations=9.0, level_deviations=4.0, is_one_of_many=True)
_DAY_H = 24


def unusual_figures(database: Database, rule: AlertRule, *, now: datetime) -> list[JsonValue]:
    """How unusual the hours of a rule's scope are, for each group that may be.

    Args:
        database: Opened as service_role.
        rule: A rule on what is unusual.
        now: The time as of which it is judged, aware.
    """
    series = fetch(database, OutlierSeries, "get_outlier_series", rule_id=rule.rule_id, as_of=now.isoformat())
    return [_Group(rule, group, now).figure(series) for group in series.groups]


class _Group:
    """One group: its last whole hour and the running one."""

    def __init__(self, rule: AlertRule, group: OutlierGroup, now: datetime) -> None:
        self._metric = rule.metric
        self._is_drop = rule.metric == "anomaly_requests_below"
        self._is_by_user = rule.group_by == "user_id"
        self._zone = ZoneInfo(rule.timezone)
        self._key = group.key
        self._now = now
        self._requests = {point.hour.astimezone(UTC): point.requests for point in group.hours}
        gap = math.nan if rule.metric == "anomaly_latency_ms" else 0.0
        amounts = {
            point.hour.astimezone(UTC): math.nan if point.amount is None else float(point.amount)
            for point in group.hours
        }
        self._series = fill_gaps(amounts, min(amounts), hour_of(now) + HOUR, gap=gap)

    def figure(self, series: OutlierSeries) -> JsonValue:
        """The value is the score beyond the usual: an alarm begins at 1. What is on the other side is 0."""
        shown, is_newcomer = self._verdict(series)
        hours = _DAY_H if is_newcomer else shown.hours
        covered = [shown.at - HOUR * number for number in range(hours)]
        return {
            "group_key": self._key,
            "window_start": covered[-1].isoformat(),
            "window_end": min(shown.at + HOUR, self._now).isoformat(),
            "value": self._score(shown, float(series.minimum_change)),
            # That nothing came is a finding too.
            "sample_count": max(sum(self._requests.get(at, 0) for at in covered), int(self._is_drop)),
            "evidence": {
                "explanation": shown.explain("$" if self._metric == "anomaly" else "", self._zone),
                "state": shown.state,
                "actual": None if math.isnan(shown.value) else shown.value,
                "usual": shown.usual,
                "low": shown.low,
                "high": shown.high,
                "season": shown.season,
                "hours": hours,
                "minimum_change": str(series.minimum_change),
            },
        }

    def _verdict(self, series: OutlierSeries) -> tuple[Verdict, bool]:
        sensitivity = _BY_USER if self._is_by_user else None
        *_, last, latest = [None, *judge(self._series, timezone=self._zone, sensitivity=sensitivity)]
        assert latest is not None
        if self._is_by_user and latest.usual is None:
            day_so_far = math.fsum(value for _, value in self._series[-_DAY_H:])
            bound = None if series.user_day_bound is None else float(series.user_day_bound)
            return judge_newcomer(latest.at, day_so_far, bound), True
        values = [value for _, value in self._series]
        if latest.usual is None and len(values) > LEARNING and not any(values[:-1]):
            return judge_first(latest.at, values[-1], float(series.minimum_change)), False
        # The running hour can only grow: what is too much already counts at once, what is too little not yet.
        is_running_shown = latest.state == "above" and not self._is_drop
        return latest if last is None or is_running_shown else last, False

    def _score(self, verdict: Verdict, minimum_change: float) -> float | None:
        if verdict.usual is None:
            return None  # too early to say
        is_above = verdict.value > verdict.usual
        if is_above == self._is_drop or verdict.change < minimum_change:
            return 0.0
        return round(verdict.score, 4)
