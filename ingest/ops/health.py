"""Judges the pipeline's state, as `get_status` reports it, against fixed thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING

from ingest.worker.lease import LEASE_TTL_S

if TYPE_CHECKING:
    from datetime import datetime

    from ingest.documents.pipeline import Status


class Level(IntEnum):
    """Severity; also the exit code of `treering status`."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one part.

    Attributes:
        part: What was looked at.
        level: How bad it is.
        message: What it is like, in words.
    """

    part: str
    level: Level
    message: str


@dataclass(frozen=True, slots=True)
class _Limits:
    warning: timedelta
    critical: timedelta

    def judge(self, age: timedelta) -> Level:
        if age > self.critical:
            return Level.CRITICAL
        return Level.WARNING if age > self.warning else Level.OK


# A follower leads once the lease has ended: several leases without a leader are an outage.
WORKER_LIMITS = _Limits(timedelta(seconds=6 * LEASE_TTL_S), timedelta(seconds=24 * LEASE_TTL_S))
# Rows are rolled up every second; a backlog of a million takes some minutes.
BACKLOG_LIMITS = _Limits(timedelta(minutes=1), timedelta(minutes=15))
# The aggregates are refreshed every 5 minutes.
REFRESH_LIMITS = _Limits(timedelta(minutes=15), timedelta(hours=1))
# The rollups are compared with the raw rows every day.
VERIFICATION_LIMITS = _Limits(timedelta(hours=36), timedelta(days=7))
# A rejected event is a fault in a client: it stays a warning for this long.
REJECTION_SHOWN_FOR = timedelta(hours=24)


def judge_status(status: Status) -> list[Finding]:
    """Judge each part of the pipeline's state, by the database's own clock."""
    now = status.server_time
    return [
        Finding("database", Level.OK, f"Postgres {status.server_version}, schema {status.schema_version}"),
        _judge_worker(status, now),
        _judge_backlog(status, now),
        _judge_refresh(status, now),
        _judge_rollups(status, now),
        *_judge_catalogue(status, now),
        _judge_rejections(status, now),
        _describe_data(status, now),
    ]


def _judge_worker(status: Status, now: datetime) -> Finding:
    leaders = [worker for worker in status.workers if worker.is_leader]
    shown = leaders or status.workers
    if not shown:
        return Finding("worker", Level.CRITICAL, "no worker was seen within the last hour: start `treering worker`")
    newest = max(shown, key=lambda worker: worker.seen_at)
    message = f"{newest.worker} seen {describe_age(now - newest.seen_at)} ago"
    level = WORKER_LIMITS.judge(now - newest.seen_at)
    if not leaders:
        return Finding("worker", max(level, Level.WARNING), f"{message}, but none leads, so no jobs run")
    failures = (newest.details or {}).get("failures")
    if isinstance(failures, dict) and failures:
        counts = ", ".join(f"{job} {count}" for job, count in failures.items())
        message += f"; failed runs since its start: {counts}"
    return Finding("worker", level, message)


def _judge_backlog(status: Status, now: datetime) -> Finding:
    oldest = status.oldest_pending_at
    if oldest is None:
        return Finding("backlog", Level.OK, "everything is rolled up")
    message = f"{status.pending_rows:,} rows are waiting to be rolled up, the oldest for {describe_age(now - oldest)}"
    return Finding("backlog", BACKLOG_LIMITS.judge(now - oldest), message)


def _judge_refresh(status: Status, now: datetime) -> Finding:
    if status.refreshed_at is None:
        return Finding("aggregates", Level.WARNING, "never refreshed")
    age = now - status.refreshed_at
    return Finding("aggregates", REFRESH_LIMITS.judge(age), f"refreshed {describe_age(age)} ago")


def _judge_rollups(status: Status, now: datetime) -> Finding:
    last = status.verification
    waiting = f", {status.stale_hours:,} hours are waiting to be condensed" if status.stale_hours else ""
    if last is None:
        return Finding("rollups", Level.OK, f"not yet compared with the raw rows{waiting}")
    age = now - last.checked_at
    if not last.is_exact:
        message = (
            f"{last.difference_count:,} differences from the raw rows, found {describe_age(age)} ago{waiting}: "
            "rebuild the days with `treering rollups rebuild`"
        )
        return Finding("rollups", Level.CRITICAL, message)
    message = f"equal to {last.requests:,} raw calls {describe_age(age)} ago{waiting}"
    return Finding("rollups", VERIFICATION_LIMITS.judge(age), message)


def _judge_catalogue(status: Status, now: datetime) -> list[Finding]:
    last = status.catalogue
    if last is None:
        return []
    age = describe_age(now - last.checked_at)
    if last.error is None:
        return [Finding("price catalogue", Level.OK, f"asked for {age} ago")]
    message = f"{last.error} ({age} ago): prices stay as they are; TREERING_UPDATE_PRICES=false ends the attempts"
    return [Finding("price catalogue", Level.OK, message)]


def _judge_rejections(status: Status, now: datetime) -> Finding:
    last = status.last_rejection
    if last is None:
        return Finding("rejected events", Level.OK, "none")
    age = now - last.received_at
    level = Level.WARNING if age < REJECTION_SHOWN_FOR else Level.OK
    message = f"{status.rejected_events:,}, the last {describe_age(age)} ago: {last.reason}"
    return Finding("rejected events", level, message)


def _describe_data(status: Status, now: datetime) -> Finding:
    newest = status.newest_event_at
    age = "no call yet" if newest is None else f"newest call {describe_age(now - newest)} ago"
    message = f"{age}, about {status.usage_rows_estimate:,} calls in {status.partitions:,} partitions"
    return Finding("data", Level.OK, message)


def describe_age(age: timedelta) -> str:
    """Write a length of time in its largest unit: `42 s`, `7 min`, `3 h`, `12 days`."""
    seconds = max(round(age.total_seconds()), 0)
    for unit, length_s in (("days", 2 * 86_400), ("h", 2 * 3_600), ("min", 2 * 60)):
        if seconds >= length_s:
            return f"{seconds // (length_s // 2)} {unit}"
    return f"{seconds} s"
