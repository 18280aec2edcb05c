"""Keys that may insert and nothing else: tokens for the database role `treering_writer`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import SecretStr

    from ingest.settings import Settings

WRITER_ROLE: Final = "treering_writer"
"""The database role that may call `record_usage` and `record_performance`."""

ENVIRONMENT_CLAIM: Final = "treering_environment"
"""The claim that fixes the environment of whatever a key inserts; the SQL functions read it."""


def make_writer_key(settings: Settings, *, issued_at: datetime, expires_at: datetime, environment: str | None) -> str:
    """Sign a token with which a program may insert events, and neither read nor change anything.

    Args:
        settings: `supabase_jwt_signing_key` (ES256) signs it, else `supabase_jwt_secret` (HS256).
        issued_at: From when it holds, UTC.
        expires_at: Until when it holds, UTC.
        environment: Environment of all its events, whatever they say themselves; None leaves it to them.

    Returns:
        The token, for the header `Authorization: Bearer …`.

    Raises:
        ConfigurationError: Nothing is set to sign with, or the signing key is no private key on the curve P-256.
    """
    import jwt  # comes with supabase

    claims: dict[str, Any] = {
        "role": WRITER_ROLE,
        "iss": "treering",
        "iat": int(issued_at.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    if environment is not None:
        claims[ENVIRONMENT_CLAIM] = environment
    if settings.supabase_jwt_signing_key is not None:
        key, headers = _read_signing_key(settings.supabase_jwt_signing_key)
        return jwt.encode(claims, key, algorithm="ES256", headers=headers)
    if settings.supabase_jwt_secret is not None:
        return jwt.encode(claims, settings.supabase_jwt_secret.get_secret_value(), algorithm="HS256")
    raise ConfigurationError(
        "SUPABASE_JWT_SECRET: keys are signed with it (in the project's settings under JWT Keys), or with "
        "SUPABASE_JWT_SIGNING_KEY where the project signs with a key of its own"
    )


def _read_signing_key(secret: SecretStr) -> tuple[Any, dict[str, str]]:
    import jwt

    try:
        document = json.loads(secret.get_secret_value())
        if document["crv"] != "P-256" or "d" not in document:
            raise ValueError("another kind of key")
        key = jwt.PyJWK(document, algorithm="ES256").key
    except (ValueError, TypeError, KeyError, jwt.PyJWTError):
        # Without the cause, whose text may hold parts of the key.
        raise ConfigurationError(
            "SUPABASE_JWT_SIGNING_KEY: it must be a private key as a JWK on the curve P-256, as "
            "`supabase gen signing-key --algorithm ES256` prints it"
        ) from None
    return key, {"kid": str(document["kid"])} if "kid" in document else {}
