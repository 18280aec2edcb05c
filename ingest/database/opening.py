"""Opens the door that the settings name, as the service or as one viewer."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from ingest.database.postgres import PostgresDatabase
from ingest.database.signing import read_signing_key
from ingest.database.supabase import SupabaseDatabase
from ingest.database.viewer_token import TENANT_CLAIM, is_viewer_token, read_claims
from ingest.errors import ConfigurationError, DatabaseUnavailableError

if TYPE_CHECKING:
    from ingest.database.contract import Database, JsonValue
    from ingest.settings import Settings

# Written by the embedded server while it runs; see ingest.local.embedded.
EMBEDDED_URI_FILE = "database.uri"


def open_database(settings: Settings) -> Database:
    """Open the database for writing and for the worker, as service_role.

    The first that is set counts: `SUPABASE_DB_URL`; `SUPABASE_URL` with `SUPABASE_SECRET_KEY`; the embedded database
    that `treering up` runs in `TREERING_HOME`. No connection is made before the first call.

    Raises:
        ConfigurationError: `SUPABASE_URL` is set without a key, or the supabase package is not installed.
        DatabaseUnavailableError: Nothing is set and no embedded database runs (yet).
    """
    check_packages(settings)
    if settings.supabase_db_url is not None:
        return PostgresDatabase(settings.supabase_db_url.get_secret_value())
    if settings.supabase_url is None:
        return PostgresDatabase(_read_embedded_uri(settings))
    if settings.supabase_secret_key is None:
        raise ConfigurationError("SUPABASE_SECRET_KEY: must be set together with SUPABASE_URL, or set SUPABASE_DB_URL")
    return SupabaseDatabase(settings.supabase_url, settings.supabase_secret_key.get_secret_value())


def open_viewer_database(
    settings: Settings, *, user_id: str, access_token: str | None = None, tenant_id: str | None = None
) -> Database:
    """Open the database for reading as one signed-in person, with that person's rights.

    With `SUPABASE_URL` and `SUPABASE_PUBLISHABLE_KEY` the API is used, with a token signed here where
    `SUPABASE_JWT_SIGNING_KEY` or `SUPABASE_JWT_SECRET` is set, else with the sign-in's own. Without any token, or with
    one that has no role, `SUPABASE_DB_URL` is used, else the embedded database, each with the person's claims per
    transaction.

    Args:
        settings: Where the database is.
        user_id: The person, as `user_id` stands in the recorded events.
        access_token: The token of the sign-in, see `choose_token`.
        tenant_id: The tenant whose calls alone are read, whatever else the person may see.

    Raises:
        ConfigurationError: `SUPABASE_URL` is set, but nothing that says who is looking, or the supabase package is not
            installed.
        DatabaseUnavailableError: Nothing is set and no embedded database runs (yet).
    """
    check_packages(settings)
    url, key = settings.supabase_url, settings.supabase_publishable_key
    if url is not None and key is not None:
        signing_key = read_signing_key(settings)
        if signing_key is not None:
            return SupabaseDatabase.for_viewer(url, key, signing_key, user_id=user_id, tenant_id=tenant_id)
        # A token without a role is passed on where there is no other way, so that it is told what it lacks.
        # And only one that narrows the person to the same tenant.
        is_same_tenant = (read_claims(access_token or "") or {}).get(TENANT_CLAIM) == tenant_id
        is_passed_on = settings.supabase_db_url is None or is_viewer_token(access_token or "")
        if access_token is not None and is_passed_on and is_same_tenant:
            return SupabaseDatabase.for_sign_in(url, key, access_token)
    claims: dict[str, JsonValue] = {"sub": user_id} if tenant_id is None else {"sub": user_id, TENANT_CLAIM: tenant_id}
    if settings.supabase_db_url is not None:
        return PostgresDatabase(settings.supabase_db_url.get_secret_value(), role="authenticated", claims=claims)
    if url is not None:
        raise ConfigurationError(
            "SUPABASE_URL: viewers also need SUPABASE_PUBLISHABLE_KEY with SUPABASE_JWT_SIGNING_KEY or a sign-in whose "
            "token Supabase accepts, or else SUPABASE_DB_URL"
        )
    return PostgresDatabase(_read_embedded_uri(settings), role="authenticated", claims=claims)


def check_packages(settings: Settings, *, is_given: bool = False) -> None:
    """Refuse settings that need a package which is not installed, unless a database is given as an object.

    Raises:
        ConfigurationError: The API is to be used, and the supabase package is not installed.
    """
    needs_api = settings.supabase_url is not None and settings.supabase_db_url is None and not is_given
    if needs_api and find_spec("postgrest") is None:
        raise ConfigurationError(
            "SUPABASE_URL: the API needs the supabase package: pip install 'treering[supabase]', or set SUPABASE_DB_URL"
        )


def _read_embedded_uri(settings: Settings) -> str:
    path = settings.home / EMBEDDED_URI_FILE
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise DatabaseUnavailableError(
            f"no database: neither SUPABASE_DB_URL nor SUPABASE_URL is set and none runs in {settings.home}; "
            "start one with `treering up`"
        ) from None
    except OSError as error:
        raise DatabaseUnavailableError(f"{path} cannot be read: {error.strerror}") from error
