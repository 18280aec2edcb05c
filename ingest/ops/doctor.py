"""Checks a deployment and suggests fixes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ingest.database import EMBEDDED_URI_FILE, PostgresDatabase, SupabaseDatabase, fetch, open_database
from ingest.database.migrate import read_migrations
from ingest.documents.pipeline import Status
from ingest.errors import (
    DatabaseError,
    FunctionNotFoundError,
    InvalidArgumentError,
    PermissionDeniedError,
    TreeringError,
)
from ingest.ops.health import Finding, Level, judge_status
from ingest.ops.undelivered import judge_undelivered
from pricing import UnknownModelError, calculate_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.database import Database
    from ingest.settings import Settings

# Backends stamp times: a skew of seconds moves calls to another minute, one of minutes to another hour.
SKEW_WARNING = timedelta(seconds=2)
SKEW_CRITICAL = timedelta(minutes=1)
_EXPECTED_PARTITIONS = 2 * 3  # two tables: this month and two ahead


def examine(settings: Settings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[Finding]:
    """Check each part of a deployment, those that others depend on first.

    Args:
        settings: The settings to examine.
        now: This machine's clock.
    """
    yield _examine_settings(settings)
    yield _examine_journal(settings)
    yield from judge_undelivered(settings.home, now())
    yield _examine_fallback(settings)
    doors = list(_open_doors(settings))
    if not doors:
        yield Finding(
            "database",
            Level.CRITICAL,
            "none is configured and none runs here: start `treering up` or set SUPABASE_DB_URL",
        )
    status: Status | None = None
    for name, service, anonymous in doors:
        with contextlib.closing(service):
            finding, found = _examine_door(name, service, now)
            yield finding
            status = status or found
        if anonymous is not None:
            with contextlib.closing(anonymous):
                yield _examine_anonymous(name, anonymous)
    if status is not None:
        yield _examine_schema(status)
        yield _examine_partitions(status)
        yield from judge_status(status)[1:]


def _examine_settings(settings: Settings) -> Finding:
    if settings.supabase_url is not None and settings.supabase_secret_key is None and settings.supabase_db_url is None:
        return Finding("settings", Level.CRITICAL, "SUPABASE_URL is set without SUPABASE_SECRET_KEY: set it too")
    if not settings.enable_observability:
        return Finding("settings", Level.WARNING, "ENABLE_OBSERVABILITY is off: nothing is recorded")
    if settings.supabase_db_url is not None:
        target = "SUPABASE_DB_URL"
    elif settings.supabase_url is not None:
        target = settings.supabase_url
    else:
        target = f"the embedded database in {settings.home}"
    return Finding("settings", Level.OK, f"writing to {target}, reporting in {settings.timezone}")


def _examine_journal(settings: Settings) -> Finding:
    folder = settings.home
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or str(error)
        return Finding(
            "journal", Level.CRITICAL, f"{folder} is not writable ({reason}): set TREERING_HOME to a folder that is"
        )
    return Finding("journal", Level.OK, f"{folder} is writable")


def _examine_fallback(settings: Settings) -> Finding:
    model = settings.fallback_model
    if model is None:
        return Finding(
            "prices", Level.OK, "TREERING_FALLBACK_MODEL is empty: the cost of a model without a price is unknown"
        )
    try:
        cost = calculate_cost(model, 1, 1)
    except UnknownModelError:
        cost = None
    if cost is None or cost.total is None:
        return Finding(
            "prices", Level.CRITICAL, f"TREERING_FALLBACK_MODEL={model} has no price itself: name a model that has one"
        )
    return Finding("prices", Level.OK, f"an OpenAI model without a price is priced as {model}")


def _open_doors(settings: Settings) -> Iterator[tuple[str, Database, Database | None]]:
    """Check each configured door, as the service and as an anonymous caller."""
    uri = settings.supabase_db_url.get_secret_value() if settings.supabase_db_url is not None else None
    if uri is not None:
        yield "Postgres door", PostgresDatabase(uri), PostgresDatabase(uri, role="anon")
    if settings.supabase_url is not None and settings.supabase_secret_key is not None:
        url, key = settings.supabase_url, settings.supabase_publishable_key
        service = SupabaseDatabase(url, settings.supabase_secret_key.get_secret_value())
        yield "Supabase door", service, SupabaseDatabase(url, key) if key is not None else None
    if uri is None and settings.supabase_url is None and (settings.home / EMBEDDED_URI_FILE).exists():
        uri = (settings.home / EMBEDDED_URI_FILE).read_text(encoding="utf-8").strip()
        yield "embedded database", open_database(settings), PostgresDatabase(uri, role="anon")


def _examine_door(name: str, database: Database, now: Callable[[], datetime]) -> tuple[Finding, Status | None]:
    try:
        database.call("get_status")  # the first call also opens the connection
        asked_at = now()
        status = fetch(database, Status, "get_status")
        answered_at = now()
    except (FunctionNotFoundError, InvalidArgumentError):  # the latter: there is no role service_role
        return Finding(name, Level.CRITICAL, "Treering's functions are missing: run `treering migrate`"), None
    except PermissionDeniedError as error:
        return Finding(name, Level.CRITICAL, f"the key or user may not act as service_role: {error}"), None
    except TreeringError as error:
        return Finding(name, Level.CRITICAL, f"{error}: check the address, the key and the network"), None
    skew = abs(status.server_time - (asked_at + (answered_at - asked_at) / 2))
    message = f"answers in {(answered_at - asked_at) / timedelta(milliseconds=1):.0f} ms"
    if skew > SKEW_WARNING:
        level = Level.CRITICAL if skew > SKEW_CRITICAL else Level.WARNING
        message += f"; its clock and this machine's differ by {skew.total_seconds():.1f} s: synchronise them (NTP)"
        return Finding(name, level, message), status
    return Finding(name, Level.OK, message), status


def _examine_anonymous(name: str, database: Database) -> Finding:
    part = f"{name}, anonymous"
    until = datetime.now(UTC)
    try:
        database.call("get_overview", from_time=until - timedelta(days=1), to_time=until)
    except PermissionDeniedError:
        return Finding(part, Level.OK, "has no access, as intended")
    except DatabaseError as error:
        return Finding(part, Level.WARNING, f"could not be checked: {error}")
    return Finding(part, Level.CRITICAL, "can read figures: revoke execute from anon and run `treering migrate`")


def _examine_schema(status: Status) -> Finding:
    applied = status.migrations
    needed = {migration.version for migration in read_migrations()}
    missing, unknown = needed.difference(applied), set(applied) - needed
    if missing:
        return Finding(
            "migrations",
            Level.CRITICAL,
            f"{len(missing)} of {len(needed)} are missing, the first is {min(missing)}: run `treering migrate`",
        )
    if unknown:
        return Finding(
            "migrations",
            Level.WARNING,
            f"{len(unknown)} are unknown to this version, the last is {max(unknown)}: update treering",
        )
    return Finding("migrations", Level.OK, f"all {len(needed)} applied")


def _examine_partitions(status: Status) -> Finding:
    count = status.partitions
    if count < _EXPECTED_PARTITIONS:
        return Finding(
            "partitions", Level.WARNING, f"{count} are too few for the months ahead: start `treering worker`"
        )
    return Finding("partitions", Level.OK, str(count))
