"""What the database in memory answers about the month, the hours of the week and the reasons of a difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.app.alert_documents import BUDGET

Json = dict[str, Any]

STEPS = {"minute": 60, "5 minutes": 300, "15 minutes": 900, "hour": 3600}


def bucket_for(length: timedelta) -> str:
    """Choose the finest bucket with at most 200 points."""
    for name, seconds in STEPS.items():
        if length.total_seconds() / seconds <= 200:
            return name
    return "day"


def starts(from_time: datetime, to_time: datetime, bucket: str, zone: ZoneInfo) -> list[datetime]:
    if bucket in STEPS:
        step = STEPS[bucket]
        first = from_time.timestamp() // step * step
        count = math.ceil((to_time.timestamp() - first) / step)
        return [datetime.fromtimestamp(first + step * index, tz=UTC) for index in range(count)]
    local = from_time.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    while local < to_time:
        found.append(local.astimezone(UTC))
        local += timedelta(days=1)
    return found


@dataclass
class MonthAnswers:
    """Answers of `get_month`, `get_hours` and `get_cost_drivers`, as a part of `FakeDatabase`."""

    access: str = "ops"
    is_empty: bool = False
    is_unpriced: bool = False
    has_history: bool = True

    def _get_month(self, filters: Json) -> Json:
        """Some 45 dollars a weekday, a third of it at weekends."""
        zone, now = ZoneInfo(filters["timezone"]), datetime.now(UTC)
        document: Json = {"access": self.access, "timezone": zone.key, "generated_at": now.isoformat()}
        if "metadata" in filters:
            unknown = {"requests": None, "total_tokens": None, "cost": None, "fallback_cost": None}
            return document | {"today": unknown, "month": unknown, "series": [], "budgets": []}
        days = starts(now - timedelta(days=182), now, "day", zone)
        series = [
            {
                "bucket_start": day.isoformat(),
                "requests": 100,
                "cost": str((15 if day.weekday() >= 5 else 45) + day.day % 7),
            }
            for day in days
        ]
        cost = None if self.is_unpriced else "38.412907"
        return document | {
            "today": {"requests": 8214, "total_tokens": 10_301_222, "cost": cost, "fallback_cost": "0.7"},
            "month": {"requests": 214_903, "total_tokens": 260_400_100, "cost": "911.20655", "fallback_cost": "0"},
            "series": [] if self.is_empty or not self.has_history else series,
            "budgets": [] if self.access == "member" else [BUDGET | {"spent": "830"}],
        }

    def _get_hours(self, from_time: str, to_time: str, filters: Json) -> Json:
        del from_time, to_time, filters
        hours = [
            {"weekday": day, "hour": hour, "requests": 10 * hour, "cost": str(hour)}
            for day in range(1, 6)
            for hour in range(24)
        ]
        return {"hours": hours}

    def _get_cost_drivers(self, from_time: str, to_time: str, filters: Json) -> Json:
        """More calls of one model, and nothing else."""
        before: Json = {
            "requests": 100,
            "errors": 0,
            "uncertain_requests": 0,
            "prompt_tokens": 50_000,
            "completion_tokens": 9000,
        }
        before = {**before, "cached_tokens": 0, "cache_write_tokens": 0, "cost": "10"}
        now: Json = before | {"requests": 150, "prompt_tokens": 75_000, "completion_tokens": 13_500, "cost": "15"}
        cell = {"provider": "openai", "model": "gpt-4o", "feature": "chat", "now": now, "before": before}
        start, end = datetime.fromisoformat(from_time), datetime.fromisoformat(to_time)
        return {
            "access": self.access,
            "from_time": from_time,
            "to_time": to_time,
            "previous_from_time": (start - (end - start)).isoformat(),
            "timezone": filters["timezone"],
            "cells": [] if self.is_empty else [cell],
        }
