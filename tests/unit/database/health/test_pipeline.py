from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.database.health import Level, describe_age, judge_status
from ingest.database.health.pipeline import BACKLOG_LIMITS, REFRESH_LIMITS, VERIFICATION_LIMITS, WORKER_LIMITS
from ingest.documents.pipeline import Status
from ingest.worker.jobs import JOBS
from ingest.worker.lease import LEASE_TTL_S, RENEWAL_PERIOD_S

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def ago(**length: float) -> str:
    return (NOW - timedelta(**length)).isoformat()


def status(**changes: Any) -> Status:
    document = {
        "server_time": NOW.isoformat(),
        "server_version": "18.4",
        "schema_version": "20261123",
        "workers": [{"worker": "w", "seen_at": ago(seconds=2), "is_leader": True, "details": {"failures": {}}}],
        "oldest_pending_at": None,
        "pending_rows": 0,
        "refreshed_at": ago(minutes=3),
        "verification": {"checked_at": ago(hours=3), "is_exact": True, "requests": 10, "difference_count": 0},
        "stale_hours": 0,
        "last_rejection": None,
        "rejected_events": 0,
        "newest_event_at": ago(minutes=3),
        "usage_rows_estimate": 10,
        "partitions": 6,
    }
    return Status.model_validate(document | changes)


def judged(part: str, **changes: Any) -> tuple[Level, str]:
    (finding,) = (finding for finding in judge_status(status(**changes)) if finding.part == part)
    return finding.level, str(finding)


def test_a_healthy_pipeline_is_ok_throughout() -> None:
    assert {finding.level for finding in judge_status(status())} == {Level.OK}


@pytest.mark.parametrize(
    ("seconds", "level"), [(30, Level.OK), (31, Level.WARNING), (120, Level.WARNING), (121, Level.CRITICAL)]
)
def test_a_worker_is_missed_after_half_a_minute_and_dead_after_two(seconds: int, level: Level) -> None:
    leader = {"worker": "w", "seen_at": ago(seconds=seconds), "is_leader": True, "details": None}
    assert judged("worker", workers=[leader])[0] is level


def test_every_limit_leaves_room_for_a_run_that_is_late() -> None:
    period = {row.name: timedelta(seconds=row.period_s) for row in JOBS}
    assert WORKER_LIMITS.warning >= 3 * timedelta(seconds=LEASE_TTL_S + RENEWAL_PERIOD_S)
    assert BACKLOG_LIMITS.warning >= 3 * period["roll_up"]
    assert REFRESH_LIMITS.warning >= 3 * period["refresh_aggregates"]
    assert VERIFICATION_LIMITS.warning >= 1.5 * period["verify_rollups"]


def test_without_a_worker_the_state_is_critical() -> None:
    level, message = judged("worker", workers=[])
    assert level is Level.CRITICAL
    assert "treering worker" in message


def test_workers_without_a_leader_are_a_warning() -> None:
    level, message = judged("worker", workers=[{"worker": "w", "seen_at": ago(seconds=1), "is_leader": False}])
    assert level is Level.WARNING
    assert "none leads" in message


def test_failed_jobs_are_named() -> None:
    leader = {"worker": "w", "seen_at": ago(seconds=1), "is_leader": True, "details": {"failures": {"roll_up": 3}}}
    assert "roll_up 3" in judged("worker", workers=[leader])[1]


@pytest.mark.parametrize(("minutes", "level"), [(1, Level.OK), (2, Level.WARNING), (16, Level.CRITICAL)])
def test_a_backlog_is_judged_by_its_oldest_row(minutes: int, level: Level) -> None:
    found, message = judged("backlog", oldest_pending_at=ago(minutes=minutes), pending_rows=7)
    assert found is level
    assert "7 rows" in message


@pytest.mark.parametrize(("minutes", "level"), [(15, Level.OK), (16, Level.WARNING), (61, Level.CRITICAL)])
def test_old_aggregates_are_judged_by_their_age(minutes: int, level: Level) -> None:
    assert judged("aggregates", refreshed_at=ago(minutes=minutes))[0] is level


def test_aggregates_that_were_never_made_are_a_warning() -> None:
    assert judged("aggregates", refreshed_at=None) == (
        Level.WARNING,
        "never refreshed: start or restart `treering worker` and read its log",
    )


@pytest.mark.parametrize(("hours", "level"), [(23, Level.WARNING), (25, Level.OK)])
def test_a_rejection_stays_a_warning_for_a_day(hours: int, level: Level) -> None:
    last = {"received_at": ago(hours=hours), "kind": "usage", "reason": "no such month"}
    found, message = judged("rejected events", last_rejection=last, rejected_events=4)
    assert found is level
    assert "no such month" in message


def test_an_empty_database_says_that_there_is_no_call_yet() -> None:
    assert judged("data", newest_event_at=None)[1].startswith("no call yet")


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=-1), "0 s"),
        (timedelta(seconds=119), "119 s"),
        (timedelta(seconds=120), "2 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(days=12, hours=5), "12 days"),
    ],
)
def test_ages_are_told_in_their_largest_unit(age: timedelta, text: str) -> None:
    assert describe_age(age) == text


@pytest.mark.parametrize(
    ("hours", "level"), [(36, Level.OK), (37, Level.WARNING), (7 * 24, Level.WARNING), (7 * 24 + 1, Level.CRITICAL)]
)
def test_rollups_want_to_be_compared_with_the_raw_rows_now_and_then(hours: int, level: Level) -> None:
    last = {"checked_at": ago(hours=hours), "is_exact": True, "requests": 10, "difference_count": 0}
    assert judged("rollups", verification=last)[0] is level


def test_rollups_that_differ_from_the_raw_rows_are_critical() -> None:
    last = {"checked_at": ago(hours=1), "is_exact": False, "requests": 10, "difference_count": 2}
    level, message = judged("rollups", verification=last, stale_hours=4)
    assert level is Level.CRITICAL
    assert message.startswith("2 differences from the raw rows, found 60 min ago, 4 hours are waiting to be condensed")


def test_rollups_that_were_never_compared_say_so() -> None:
    assert judged("rollups", verification=None) == (Level.OK, "not yet compared with the raw rows")


def test_messages_that_do_not_arrive_are_a_warning_and_after_half_an_hour_critical() -> None:
    health: dict[str, Any] = {"server_time": NOW.isoformat(), "overdue": 0, "dead": 0}
    assert judged("messages", delivery=health) == (Level.OK, "none is overdue or dead")
    channel = {"channel_name": "pager", "last_error": "answered 404"}
    said = (
        "messages 1 dead: pager (answered 404): correct the channel in Settings; the Alerts page sends dead ones again"
    )
    assert judged("messages", delivery={**health, "dead": 1, "channels": [channel]}) == (Level.WARNING, said)
    late = {**health, "overdue": 2, "oldest_due_at": ago(minutes=26)}
    assert judged("messages", delivery=late)[0] is Level.CRITICAL
    assert judged("alert rules", delivery={**health, "silent_rules": ["spend"]}) == (
        Level.WARNING, "send to nobody: spend: choose channels in Settings"
    )  # fmt: skip
    many = judged("alert rules", delivery={**health, "silent_rules": ["a", "b", "c", "d", "e"]})
    assert many == (Level.WARNING, "send to nobody: a, b, c and 2 more: choose channels in Settings")
