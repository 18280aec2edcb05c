"""Judges what this machine has recorded and the database does not have."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ingest.database.health.findings import Finding, Level, describe_age
from ingest.database.health.pipeline import BACKLOG_LIMITS
from ingest.record.dead_letters import DEAD_LETTERS_FILE, DeadLetters
from ingest.record.survey import survey_journals

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_READ_THE_LOG = "the log of the recording process says why it cannot deliver"


def judge_undelivered(home: Path, now: datetime) -> list[Finding]:
    """Look at the journals and the dead letters of a home folder.

    Args:
        home: `TREERING_HOME`.
        now: This machine's clock.
    """
    return [*_judge_journals(home, now), _judge_dead_letters(home)]


def _judge_journals(home: Path, now: datetime) -> list[Finding]:
    survey = survey_journals(home)
    findings = []
    if survey.unreadable:
        more = f" and {len(survey.unreadable) - 1} more" if len(survey.unreadable) > 1 else ""
        message = f"{survey.unreadable[0]}{more} cannot be read"
        fix = "record and run `treering worker` as the same user and with the same version"
        findings.append(Finding("unreadable journal", Level.CRITICAL, message, fix))
    if not survey.waiting + survey.left:
        return [*findings, Finding("undelivered events", Level.OK, "none on this machine")]
    age = max(now - survey.oldest_at, timedelta(0)) if survey.oldest_at is not None else timedelta(0)
    message = f"{survey.waiting:,} of running processes wait"
    if survey.left:
        message += f", and {survey.left:,} of processes that have ended"
    if survey.oldest_at is not None:
        message += f"; the oldest since {describe_age(age)}"
    level = max(BACKLOG_LIMITS.judge(age), Level.WARNING if survey.left else Level.OK)
    fix = "start `treering worker` on this machine, which delivers them" if survey.left else _READ_THE_LOG
    return [*findings, Finding("undelivered events", level, message, fix if level else "")]


def _judge_dead_letters(home: Path) -> Finding:
    count, last = 0, None
    try:
        for last in DeadLetters(home / DEAD_LETTERS_FILE).read():  # noqa: B007 -- the last one is named
            count += 1
    except OSError as error:
        return Finding("dead letters", Level.CRITICAL, f"they cannot be read ({error.strerror})")
    if last is None:
        return Finding("dead letters", Level.OK, "none on this machine")
    message = f"{count:,}, the last refused for: {last.reason}"
    fix = "see `treering dead-letters list`, then `treering dead-letters retry` or `drop`"
    return Finding("dead letters", Level.WARNING, message, fix)
