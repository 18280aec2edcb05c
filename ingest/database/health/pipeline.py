"""Judges the pipeline's state, as `get_status` reports it, against fixed thresholds."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from ingest.database.health.findings import Finding, Level, Limits, describe_age
from ingest.database.migrate import read_migrations

if TYPE_CHECKING:
    from datetime import datetime

    from ingest.documents.pipeline import Status

# A follower leads once the lease of 5 s has ended: several leases without a leader are an outage.
WORKER_LIMITS = Limits(timedelta(seconds=30), timedelta(minutes=2))
# Rows are rolled up every second; a backlog of a million takes some minutes.
BACKLOG_LIMITS = Limits(timedelta(minutes=1), timedelta(minutes=15))
# The aggregates are refreshed every 5 minutes.
REFRESH_LIMITS = Limits(timedelta(minutes=15), timedelta(hours=1))
# The rollups are compared with the raw rows every day.
VERIFICATION_LIMITS = Limits(timedelta(hours=36), timedelta(days=7))
# The worker asks for the published catalogue every six hours; without it, new models stay without a price.
CATALOGUE_STALE_AFTER = timedelta(days=3)
# Counted from the moment at which a message is overdue: five minutes after it was written.
# The line stands above every page; the Alerts page names more.
_NAMED_RULES = 3
MESSAGE_LIMITS = Limits(timedelta(0), timedelta(minutes=25))
# A rejected event is a fault in a client: it stays a warning for this long.
REJECTION_SHOWN_FOR = timedelta(hours=24)


_RESTART = "start or restart `treering worker` and read its log"


def judge_migrations(status: Status) -> Finding:
    """Compare the migrations that the database has with those of this version."""
    applied, needed = set(status.migrations), _needed_migrations()
    missing, unknown = needed - applied, applied - needed
    if missing:
        message = f"{len(missing)} of {len(needed)} are missing, the first is {min(missing)}"
        return Finding("migrations", Level.CRITICAL, message, "run `treering migrate`")
    if unknown:
        message = f"{len(unknown)} are unknown to this version, the last is {max(unknown)}"
        return Finding("migrations", Level.WARNING, message, "update treering")
    return Finding("migrations", Level.OK, f"all {len(needed)} applied")


@cache
def _needed_migrations() -> frozenset[str]:
    return frozenset(migration.version for migration in read_migrations())


def judge_status(status: Status, *, updates_prices: bool = True) -> list[Finding]:
    """Judge each part of the pipeline's state, by the database's own clock.

    Args:
        status: What the database says.
        updates_prices: Whether the worker is to fetch the published price catalogue.
    """
    now = status.server_time
    return [
        Finding("database", Level.OK, f"Postgres {status.server_version}, schema {status.schema_version}"),
        _judge_worker(status, now),
        *_judge_versions(status),
        _judge_backlog(status, now),
        _judge_refresh(status, now),
        _judge_rollups(status, now),
        *(_judge_catalogue(status, now) if updates_prices else ()),
        _judge_rejections(status, now),
        *_judge_messages(status, now),
        *_judge_statements(status),
        _describe_data(status, now),
    ]


def _judge_worker(status: Status, now: datetime) -> Finding:
    leaders = [worker for worker in status.workers if worker.is_leader]
    shown = leaders or status.workers
    if not shown:
        return Finding("worker", Level.CRITICAL, "no worker was seen within the last hour", "start `treering worker`")
    newest = max(shown, key=lambda worker: worker.seen_at)
    message = f"{newest.worker} seen {describe_age(now - newest.seen_at)} ago"
    level = WORKER_LIMITS.judge(now - newest.seen_at)
    if not leaders:
        return Finding("worker", max(level, Level.WARNING), f"{message}, but none leads, so no jobs run", _RESTART)
    failures = (newest.details or {}).get("failures")
    if isinstance(failures, dict) and failures:
        counts = ", ".join(f"{job} {count}" for job, count in failures.items())
        message += f"; failed runs since its start: {counts}"
    return Finding("worker", level, message, _RESTART if level else "")


def _judge_versions(status: Status) -> list[Finding]:
    """Name workers of another version that still run, and would do their work the old way."""
    ours = version("treering")
    running = [one for one in status.workers if status.server_time - one.seen_at < WORKER_LIMITS.critical]
    shown = {one.worker: (one.details or {}).get("version", ours) for one in running}
    others = [f"{name} ({theirs})" for name, theirs in shown.items() if theirs != ours]
    if not others:
        return []
    fix = "update and restart whichever is older, so that all run the same version"
    return [Finding("versions", Level.WARNING, f"this is {ours}, but there runs {', '.join(others)}", fix)]


def _judge_backlog(status: Status, now: datetime) -> Finding:
    oldest = status.oldest_pending_at
    if oldest is None:
        return Finding("backlog", Level.OK, "everything is rolled up")
    message = f"{status.pending_rows:,} rows are waiting to be rolled up, the oldest for {describe_age(now - oldest)}"
    level = BACKLOG_LIMITS.judge(now - oldest)
    return Finding("backlog", level, message, _RESTART if level else "")


def _judge_refresh(status: Status, now: datetime) -> Finding:
    if status.refreshed_at is None:
        return Finding("aggregates", Level.WARNING, "never refreshed", _RESTART)
    age = now - status.refreshed_at
    level = REFRESH_LIMITS.judge(age)
    return Finding("aggregates", level, f"refreshed {describe_age(age)} ago", _RESTART if level else "")


def _judge_rollups(status: Status, now: datetime) -> Finding:
    last = status.verification
    waiting = f", {status.stale_hours:,} hours are waiting to be condensed" if status.stale_hours else ""
    if last is None:
        return Finding("rollups", Level.OK, f"not yet compared with the raw rows{waiting}")
    age = now - last.checked_at
    if not last.is_exact:
        message = f"{last.difference_count:,} differences from the raw rows, found {describe_age(age)} ago{waiting}"
        return Finding("rollups", Level.CRITICAL, message, "rebuild the days with `treering rollups rebuild`")
    message = f"equal to {last.requests:,} raw calls {describe_age(age)} ago{waiting}"
    level = VERIFICATION_LIMITS.judge(age)
    return Finding("rollups", level, message, "`treering rollups verify`" if level else "")


def _judge_catalogue(status: Status, now: datetime) -> list[Finding]:
    last = status.catalogue
    if last is None:
        return []
    age = now - last.checked_at
    ago = f"{describe_age(age)} ago"
    if last.error is not None:
        fix = "let the worker reach it; TREERING_UPDATE_PRICES=false ends the attempts"
        failing = now - (last.failing_since or last.checked_at)
        level = Level.WARNING if failing > CATALOGUE_STALE_AFTER else Level.OK
        message = f"could not be fetched for {describe_age(failing)}, so prices stay as they are ({last.error})"
        return [Finding("price catalogue", level, message, fix if level else "")]
    level = Level.WARNING if age > CATALOGUE_STALE_AFTER else Level.OK
    return [Finding("price catalogue", level, f"asked for {ago}", _RESTART if level else "")]


def _judge_rejections(status: Status, now: datetime) -> Finding:
    last = status.last_rejection
    if last is None:
        return Finding("rejected events", Level.OK, "none")
    age = now - last.received_at
    level = Level.WARNING if age < REJECTION_SHOWN_FOR else Level.OK
    message = f"{status.rejected_events:,}, the last {describe_age(age)} ago: {last.reason}"
    fix = "correct the client that sends them; they are in observability_internal.rejected_events" if level else ""
    return Finding("rejected events", level, message, fix)


def _judge_messages(status: Status, now: datetime) -> list[Finding]:
    health = status.delivery
    if health is None:
        return []
    findings = []
    said = health.describe()
    if said is None:
        findings.append(Finding("messages", Level.OK, "none is overdue or dead"))
    else:
        late = now - health.oldest_due_at if health.oldest_due_at else timedelta(0)
        level = max(Level.WARNING, MESSAGE_LIMITS.judge(late))
        dead = "correct the channel in Settings; the Alerts page sends dead ones again"
        fix = "start `treering worker`, or see in its log why it cannot send" if health.overdue else dead
        findings.append(Finding("messages", level, said, fix))
    if health.silent_rules:
        more = len(health.silent_rules) - _NAMED_RULES
        names = ", ".join(health.silent_rules[:_NAMED_RULES]) + (f" and {more:,} more" if more > 0 else "")
        findings.append(
            Finding("alert rules", Level.WARNING, f"send to nobody: {names}", "choose channels in Settings")
        )
    return findings


def _judge_statements(status: Status) -> list[Finding]:
    """Name the statements that could not be handed out; nothing where none ever was to be."""
    if not status.statements:
        return []
    failing = [one for one in status.statements if one.done_at is None and one.error is not None]
    if not failing:
        newest = max((one.month for one in status.statements if one.done_at is not None), default=None)
        said = "the first is under way" if newest is None else f"that of {newest:%B %Y} was handed out"
        return [Finding("statements", Level.OK, said)]
    oldest = min(failing, key=lambda one: one.month)
    more = f" and {len(failing) - 1} more" if len(failing) > 1 else ""
    tries = "1 attempt" if oldest.attempts == 1 else f"{oldest.attempts} attempts"
    message = f"{oldest.month:%B %Y} for {oldest.place}{more}: {tries}, {oldest.error}"
    return [Finding("statements", Level.WARNING, message, "correct the cause; the worker tries again within six hours")]


def _describe_data(status: Status, now: datetime) -> Finding:
    newest = status.newest_event_at
    age = "no call yet" if newest is None else f"newest call {describe_age(now - newest)} ago"
    message = f"{age}, about {status.usage_rows_estimate:,} calls in {status.partitions:,} partitions"
    return Finding("data", Level.OK, message)
