"""What a viewer's token says: signed here for a person, or passed on from the sign-in that they came with."""

from __future__ import annotations

import base64
import binascii
import json
import time
from typing import TYPE_CHECKING, Any, Final, cast

from ingest.errors import SignInExpiredError, SignInTokenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.database.signing import SigningKey

__all__ = ["PassedToken", "TokenMint", "choose_token", "is_viewer_token", "read_claims"]

VIEWER_ROLE: Final = "authenticated"
# Narrows what a person sees to the calls of one tenant. Not a claim that people can set themselves, as those in
# `user_metadata` are.
TENANT_CLAIM: Final = "treering_tenant"
"""The database role of everybody who has signed in; a token that names none acts as anon."""

_LIFETIME_S = 3600
_RENEWAL_S = 1800
_LEEWAY_S = 30  # PostgREST's own: until then its answer counts

_OTHER_WAYS = (
    "Or let the app make its own tokens: set SUPABASE_JWT_SIGNING_KEY, or SUPABASE_DB_URL (docs/hosted.md, Sign-in)."
)


class TokenMint:
    """Signs a viewer's token as Supabase Auth would, and renews it before it expires."""

    def __init__(self, key: SigningKey, user_id: str, tenant_id: str | None = None) -> None:
        self._key = key
        self._user_id = user_id
        self._own = {} if tenant_id is None else {TENANT_CLAIM: tenant_id}
        self._token = ""
        self._renewed_at = float("-inf")

    def __call__(self) -> str:
        """Return a token that is valid for at least another half hour."""
        if time.monotonic() - self._renewed_at >= _RENEWAL_S:
            now = int(time.time())
            claims = {
                "sub": self._user_id,
                "role": VIEWER_ROLE,
                "aud": VIEWER_ROLE,
                "iat": now,
                "exp": now + _LIFETIME_S,
                **self._own,
            }
            self._token = self._key.sign(claims)
            self._renewed_at = time.monotonic()
        return self._token


class PassedToken:
    """The sign-in's own token, looked at before it is sent: without a role PostgREST would take its bearer for anon."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._claims = read_claims(token)

    def __call__(self) -> str:
        """Return the token.

        Raises:
            SignInExpiredError: It has expired.
            SignInTokenError: It cannot stand for a viewer.
        """
        claims = self._claims
        if claims is None:
            raise SignInTokenError(
                "The sign-in's token is no JWT, so Supabase cannot read it. If the provider has both, pass on the "
                f'other one: expose_tokens = ["id"] or ["access"] in secrets.toml. {_OTHER_WAYS}'
            )
        expires_at = claims.get("exp")
        if isinstance(expires_at, int | float) and time.time() > expires_at + _LEEWAY_S:
            raise SignInExpiredError("The sign-in has expired.")
        role = claims.get("role")
        if role != VIEWER_ROLE:
            said = "has no claim role" if role is None else f"has the role {str(role)[:40]!r}"
            raise SignInTokenError(
                f"The sign-in's token {said}; Supabase needs role = {VIEWER_ROLE!r} in it. Add the claim at the "
                f"provider. {_OTHER_WAYS}"
            )
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise SignInTokenError(f"The sign-in's token has no claim sub, so nobody is named in it. {_OTHER_WAYS}")
        return self._token


def choose_token(tokens: Mapping[str, str]) -> str | None:
    """Choose which token of a sign-in to pass on.

    Args:
        tokens: "id" and "access", as far as the sign-in has and exposes them.

    Returns:
        The one with the role of a viewer (Supabase's own access token has it, a provider's id token where it was
        added); else the id token, which can be told what it lacks; else the access token; None for none.
    """
    for name in ("access", "id"):
        if name in tokens and is_viewer_token(tokens[name]):
            return tokens[name]
    return tokens.get("id", tokens.get("access"))


def is_viewer_token(token: str) -> bool:
    """Whether a token has the role of a viewer. Its signature is Supabase's to check."""
    claims = read_claims(token)
    return claims is not None and claims.get("role") == VIEWER_ROLE


def read_claims(token: str) -> dict[str, Any] | None:
    """Return what a token says, unchecked; None where it is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return None
    return cast("dict[str, Any]", claims) if isinstance(claims, dict) else None
