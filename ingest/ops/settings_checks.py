"""Checks of what is set on this machine, before anything is asked: addresses, keys, and how people sign in."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ingest.database.api_keys import KeyKind, kind_of
from ingest.database.health import Finding, Level
from ingest.database.signing import read_signing_key
from ingest.errors import ConfigurationError
from ingest.settings import is_web_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.settings import Settings

SECRETS_FILE: Final = Path(".streamlit") / "secrets.toml"
WELL_KNOWN: Final = "/.well-known/"
_API_PATHS: Final = ("/rest/v1", "/auth/v1", "/storage/v1")
_NEEDED: Final = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")


def examine_settings(settings: Settings) -> Iterator[Finding]:
    """Judge the address and the keys of the project."""
    yield _judge_target(settings)
    if settings.supabase_url is not None:
        yield from _judge_url(settings.supabase_url)
        yield from _judge_keys(settings)
    yield from _judge_signing_key(settings)


def _judge_target(settings: Settings) -> Finding:
    if settings.supabase_url is not None and settings.supabase_secret_key is None and settings.supabase_db_url is None:
        return Finding("settings", Level.CRITICAL, "SUPABASE_URL is set without SUPABASE_SECRET_KEY", "set it too")
    if not settings.enable_observability:
        return Finding(
            "settings", Level.WARNING, "ENABLE_OBSERVABILITY is off: nothing is recorded", "set it to true to record"
        )
    if settings.supabase_db_url is not None:
        target = "SUPABASE_DB_URL"
    elif settings.supabase_url is not None:
        target = settings.supabase_url
    else:
        target = f"the embedded database in {settings.home}"
    return Finding("settings", Level.OK, f"writing to {target}, reporting in {settings.timezone}")


def _judge_url(url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    for path in _API_PATHS:
        if parts.path.endswith(path):
            fix = f"set it to {url.removesuffix(path)}"
            yield Finding("project address", Level.CRITICAL, f"SUPABASE_URL ends in {path}, one of its APIs", fix)
            return
    if parts.hostname in ("supabase.com", "app.supabase.com"):
        ref = parts.path.rpartition("/")[2] or "REF"
        fix = f"set it to the project's own, https://{ref}.supabase.co"
        yield Finding("project address", Level.CRITICAL, "SUPABASE_URL is the address of Supabase's dashboard", fix)


def _judge_keys(settings: Settings) -> Iterator[Finding]:
    secret, publishable = settings.supabase_secret_key, settings.supabase_publishable_key
    secret_is = kind_of(secret.get_secret_value()) if secret is not None else None
    publishable_is = kind_of(publishable) if publishable is not None else None
    if secret_is is KeyKind.PUBLISHABLE and publishable_is is KeyKind.SECRET:
        message = "SUPABASE_SECRET_KEY and SUPABASE_PUBLISHABLE_KEY are swapped"
        yield Finding("API keys", Level.CRITICAL, message, "exchange their values")
    elif secret_is is KeyKind.PUBLISHABLE:
        fix = "set it to a secret key (sb_secret_…) from Project Settings > API Keys"
        yield Finding("API keys", Level.CRITICAL, "SUPABASE_SECRET_KEY holds a publishable key", fix)
    elif publishable_is is KeyKind.SECRET:
        fix = "set it to the publishable key (sb_publishable_…): with a secret one every viewer could read everything"
        yield Finding("API keys", Level.CRITICAL, "SUPABASE_PUBLISHABLE_KEY holds a secret key", fix)
    elif publishable is None and settings.supabase_db_url is None:
        fix = "set it (sb_publishable_…, from Project Settings > API Keys), or SUPABASE_DB_URL"
        message = "SUPABASE_PUBLISHABLE_KEY is missing, so the app cannot read for its viewers"
        yield Finding("API keys", Level.WARNING, message, fix)
    else:
        yield Finding("API keys", Level.OK, "each is where it belongs")


def _judge_signing_key(settings: Settings) -> Iterator[Finding]:
    try:
        key = read_signing_key(settings)
    except ConfigurationError as error:
        message, _, fix = str(error).partition(": ")
        yield Finding("signing key", Level.CRITICAL, f"{message} cannot be read", fix.replace("must", "it must", 1))
        return
    if key is not None and key.variable == "SUPABASE_JWT_SIGNING_KEY" and key.kid is None:
        fix = "use the JWK as it was printed, with the kid under which the project lists it"
        yield Finding("signing key", Level.WARNING, "SUPABASE_JWT_SIGNING_KEY has no kid", fix)


def read_sign_in(folder: Path) -> dict[str, Any] | None:
    """Return the section [auth] of the app's secrets; None where there is none.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    path = folder / SECRETS_FILE
    try:
        secrets = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        # Without the cause, whose text may hold parts of a secret.
        raise ConfigurationError(f"{path}: it cannot be read as TOML ({type(error).__name__})") from None
    section = secrets.get("auth")
    return section if isinstance(section, dict) else None


def examine_sign_in(settings: Settings, folder: Path) -> Finding:
    """Judge how people sign in to an app that is started in this folder."""
    part = "sign-in"
    try:
        section = read_sign_in(folder)
    except ConfigurationError as error:
        return Finding(part, Level.CRITICAL, str(error), "compare it with .streamlit/secrets.toml.example")
    if section is None:
        if settings.embed_secret is not None:
            return Finding(part, Level.OK, "TREERING_EMBED_SECRET: your product names the viewer")
        fix = "`treering init` writes one; an app that runs elsewhere has its own"
        return Finding(part, Level.WARNING, f"there is no {SECRETS_FILE} in this folder", fix)
    missing = [name for name in _NEEDED if section.get(name, "replace-me") in ("", "replace-me")]
    if missing:
        return Finding(
            part, Level.CRITICAL, f"{SECRETS_FILE} lacks {', '.join(missing)}", "fill in what the provider shows"
        )
    redirect, metadata = str(section["redirect_uri"]), str(section["server_metadata_url"])
    if not redirect.endswith("/oauth2callback"):
        fix = "let it end in /oauth2callback, here and at the provider"
        return Finding(part, Level.CRITICAL, f"redirect_uri is {redirect}", fix)
    if not is_web_address(redirect):
        fix = "let it begin with https:// (http:// on this machine), here and at the provider"
        return Finding(part, Level.CRITICAL, f"redirect_uri is {redirect}", fix)
    if not is_web_address(metadata) or WELL_KNOWN not in metadata:
        fix = f"set it to the provider's address that ends in {WELL_KNOWN}openid-configuration"
        return Finding(part, Level.CRITICAL, f"server_metadata_url is {metadata}", fix)
    if len(str(section["cookie_secret"])) < 32:
        fix = 'make one: python -c "import secrets; print(secrets.token_urlsafe(48))"'
        return Finding(part, Level.CRITICAL, "cookie_secret has fewer than 32 characters", fix)
    return Finding(part, Level.OK, f"people sign in at {urlsplit(metadata).hostname}")
