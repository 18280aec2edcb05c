"""Figures over time."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003

from ingest.documents.document import Document


class Point(Document):
    """One time bucket of one line; each page fills the fields that it draws."""

    bucket_start: datetime
    key: str | None = None
    is_other: bool = False
    requests: int = 0
    total_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    errors: int = 0
    cost: Decimal | None = None
    latency_p50_ms: float | None = None
    latency_p90_ms: float | None = None
    latency_p99_ms: float | None = None
    time_to_first_token_p50_ms: float | None = None
    time_to_first_token_p90_ms: float | None = None
    time_to_first_token_p99_ms: float | None = None


class OutlierHour(Document):
    """What one group came to in one hour; None is unknown."""

    hour: datetime
    amount: Decimal | None = None
    requests: int = 0


class OutlierGroup(Document):
    """The hours of one group that may be unusual."""

    key: str
    hours: tuple[OutlierHour, ...]


class OutlierSeries(Document):
    """Document of `get_outlier_series`: what a rule on what is unusual judges."""

    minimum_change: Decimal
    user_day_bound: Decimal | None = None
    groups: tuple[OutlierGroup, ...] = ()


class Series(Document):
    """Document of `get_series`: calls and cost by bucket."""

    series: tuple[Point, ...] = ()
