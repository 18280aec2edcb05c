"""Checks whether the app can read for whoever signs in: the step that no other check covers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from ingest.database import open_viewer_database
from ingest.database.health import Finding, Level
from ingest.database.signing import read_signing_key
from ingest.errors import ConfigurationError, FunctionNotFoundError, TreeringError
from ingest.ops.settings_checks import read_sign_in

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.settings import Settings

_PART: Final = "viewers"
_PROBE: Final = "treering-doctor"
_NO_WAY: Final = (
    "set SUPABASE_JWT_SIGNING_KEY (make one with `supabase gen signing-key --algorithm ES256` and import it under JWT "
    'Keys), or SUPABASE_DB_URL, or pass on the sign-in\'s own token (expose_tokens = ["id", "access"] in secrets.toml)'
)


def examine_viewers(settings: Settings, folder: Path) -> Finding | None:
    """Read as somebody who has signed in and has no role; None where an earlier finding says why that cannot be."""
    has_api = settings.supabase_url is not None and settings.supabase_publishable_key is not None
    try:
        has_key = read_signing_key(settings) is not None
        is_passed_on = bool((read_sign_in(folder) or {}).get("expose_tokens"))
    except ConfigurationError:
        return None
    if has_api and not has_key and settings.supabase_db_url is None:
        if is_passed_on:
            message = "the sign-in's own token is passed on; the first sign-in shows whether Supabase accepts it"
            return Finding(_PART, Level.OK, message)
        return Finding(_PART, Level.WARNING, "nothing here makes a token for a viewer", _NO_WAY)
    try:
        with contextlib.closing(open_viewer_database(settings, user_id=_PROBE)) as database:
            database.call("get_settings")
    except FunctionNotFoundError:
        return None
    except ConfigurationError:
        return None
    except TreeringError as error:
        message, _, fix = str(error).partition("; ")
        return Finding(_PART, Level.CRITICAL, f"whoever signs in reads nothing: {message}", fix or _NO_WAY)
    way = f"through the API, signed with {_variable(settings)}" if has_api and has_key else "directly in Postgres"
    return Finding(_PART, Level.OK, f"whoever signs in reads {way}")


def _variable(settings: Settings) -> str:
    key = read_signing_key(settings)
    return key.variable if key is not None else ""
