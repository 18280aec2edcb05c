"""Keys that may insert and nothing else: tokens for the database role `treering_writer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.database.signing import read_signing_key
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime

    from ingest.settings import Settings

WRITER_ROLE: Final = "treering_writer"
"""The database role that may call `record_usage` and `record_performance`."""

ENVIRONMENT_CLAIM: Final = "treering_environment"
"""The claim that fixes the environment of whatever a key inserts; the SQL functions read it."""


def make_writer_key(settings: Settings, *, issued_at: datetime, expires_at: datetime, environment: str | None) -> str:
    """Sign a token with which a program may insert events, and neither read nor change anything.

    Args:
        settings: `supabase_jwt_signing_key` signs it, else `supabase_jwt_secret`.
        issued_at: From when it holds, UTC.
        expires_at: Until when it holds, UTC.
        environment: Environment of all its events, whatever they say themselves; None leaves it to them.

    Returns:
        The token, for the header `Authorization: Bearer …`.

    Raises:
        ConfigurationError: Nothing is set to sign with, or the signing key is no private key that Supabase takes.
    """
    claims: dict[str, Any] = {
        "role": WRITER_ROLE,
        "iss": "treering",
        "iat": int(issued_at.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    if environment is not None:
        claims[ENVIRONMENT_CLAIM] = environment
    key = read_signing_key(settings)
    if key is not None:
        return key.sign(claims)
    raise ConfigurationError(
        "SUPABASE_JWT_SECRET: keys are signed with it (in the project's settings under JWT Keys), or with "
        "SUPABASE_JWT_SIGNING_KEY where the project signs with a key of its own"
    )
