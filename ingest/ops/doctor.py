"""Checks a deployment and suggests fixes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from ingest.alerts.sealing import SecretBox
from ingest.database import EMBEDDED_URI_FILE, PostgresDatabase, SupabaseDatabase, fetch, open_database
from ingest.database.health import Finding, Level, judge_deployment, judge_migrations, judge_status
from ingest.documents.deployment import Deployment
from ingest.documents.pipeline import Status
from ingest.errors import (
    ConfigurationError,
    DatabaseError,
    FunctionNotFoundError,
    InvalidArgumentError,
    PermissionDeniedError,
    TreeringError,
)
from ingest.ops.price_names import judge_recorded_models, judge_release
from ingest.ops.settings_checks import examine_settings, examine_sign_in
from ingest.ops.undelivered import judge_undelivered
from ingest.ops.viewer_checks import examine_viewers
from pricing import UnknownModelError, calculate_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.database import Database
    from ingest.settings import Settings

# Backends stamp times: a skew of seconds moves calls to another minute, one of minutes to another hour.
SKEW_WARNING = timedelta(seconds=2)
SKEW_CRITICAL = timedelta(minutes=1)


class _Key(TypedDict):
    has_key: bool
    opens: Callable[[str], bool] | None


def examine(
    settings: Settings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), folder: Path | None = None
) -> Iterator[Finding]:
    """Check each part of a deployment, those that others depend on first.

    Args:
        settings: The settings to examine.
        now: This machine's clock.
        folder: Where the app is started, with its `.streamlit/secrets.toml`; by default here.
    """
    folder = folder or Path.cwd()
    yield from examine_settings(settings)
    yield _examine_journal(settings)
    yield from judge_undelivered(settings.home, now())
    yield _examine_fallback(settings)
    yield judge_release(now())
    doors = list(_open_doors(settings))
    if not doors:
        fix = "start `treering up` or set SUPABASE_DB_URL"
        yield Finding("database", Level.CRITICAL, "none is configured and none runs here", fix)
    status: Status | None = None
    deployment: Deployment | None = None
    for name, service, anonymous in doors:
        with contextlib.closing(service):
            finding, found = _examine_door(name, service, now)
            yield finding
            if status is None and found is not None:
                status, deployment = found, _read_deployment(service)
                yield judge_recorded_models(service, settings)
        if anonymous is not None:
            with contextlib.closing(anonymous):
                yield _examine_anonymous(name, anonymous)
    if status is None:
        return
    yield judge_migrations(status)
    if deployment is not None:
        yield from judge_deployment(deployment, **_key_of(settings))
    if settings.supabase_url is not None or settings.supabase_db_url is not None:
        yield examine_sign_in(settings, folder)
        viewers = examine_viewers(settings, folder)
        if viewers is not None:
            yield viewers
    yield from judge_status(status, updates_prices=settings.update_prices)[1:]


def _read_deployment(service: Database) -> Deployment | None:
    try:
        return fetch(service, Deployment, "get_deployment")
    except FunctionNotFoundError:  # the finding on migrations tells
        return None


def _key_of(settings: Settings) -> _Key:
    if settings.secret_key is None:
        return {"has_key": False, "opens": None}
    try:
        box = SecretBox(settings.secret_key)
    except ConfigurationError:
        return {"has_key": True, "opens": lambda _: False}
    return {"has_key": True, "opens": lambda sealed: box.open(sealed) is not None}


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
        fix = "set TREERING_HOME to a folder that is"
        return Finding("journal", Level.CRITICAL, f"{folder} is not writable ({reason})", fix)
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
        message = f"TREERING_FALLBACK_MODEL={model} has no price itself"
        return Finding("prices", Level.CRITICAL, message, "name a model that has one")
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
        return Finding(name, Level.CRITICAL, "Treering's functions are missing", "run `treering migrate`"), None
    except TreeringError as error:
        return Finding(name, Level.CRITICAL, *_split(error)), None
    skew = abs(status.server_time - (asked_at + (answered_at - asked_at) / 2))
    message = f"answers in {(answered_at - asked_at) / timedelta(milliseconds=1):.0f} ms"
    if skew > SKEW_WARNING:
        level = Level.CRITICAL if skew > SKEW_CRITICAL else Level.WARNING
        message += f"; its clock and this machine's differ by {skew.total_seconds():.1f} s"
        return Finding(name, level, message, "synchronise this machine's clock (NTP)"), status
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
    fix = "`revoke all on all functions in schema observability from anon, public`"
    return Finding(part, Level.CRITICAL, "can read figures", fix)


def _split(error: TreeringError) -> tuple[str, str]:
    """Return what went wrong and what helps."""
    message, _, fix = str(error).partition("; ")
    if fix:
        return message, fix
    if "schema cache" in message or "schema must be one of" in message:
        return message, "run `treering migrate`, then add observability to the exposed schemas in the API settings"
    if isinstance(error, PermissionDeniedError):
        return message, "use a secret key, or a database user that may act as service_role; run `treering migrate`"
    return message, "check the address, the key and the network"
