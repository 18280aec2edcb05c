"""People whom the customer's own product vouches for: it embeds the app with a token that it signs for one person.

The token is in the address of the frame, where logs and histories may keep it. So it holds for minutes, counts once,
and is taken out of the address at once; what it opens is this session alone, for an hour.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import jwt
import streamlit as st

from ingest.database.viewer_token import TENANT_CLAIM
from ingest.settings import load_settings

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["PARAMETER", "EmbeddedPerson", "TokenRefusedError", "UsedTokens", "embedded_person", "read_embed_token"]

PARAMETER: Final = "viewer_token"
AUDIENCE: Final = "treering-embed"
MAX_LIFETIME_S: Final = 300
SESSION_S: Final = 3600
_LEEWAY_S: Final = 10
_MAX_TOKEN_CHARACTERS: Final = 4096
_KEY: Final = "embedded_person"


class TokenRefusedError(Exception):
    """The token of an embedded page does not hold; the message is for whoever looks."""


@dataclass(frozen=True, slots=True)
class EmbeddedPerson:
    """Whom a token names.

    Attributes:
        user_id: As it stands in the recorded events and in `members`.
        name: What the sidebar shows.
        tenant_id: The tenant whose calls alone they see; None where the token names none.
        token_id: The token's own name, which counts once.
        until: End of the session, seconds since 1970.
    """

    user_id: str
    name: str
    tenant_id: str | None
    token_id: str
    until: float


class UsedTokens:
    """The tokens that were used in this process and could still be tried again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def claim(self, token_id: str, now: float) -> bool:
        """Note a use; false for the second one."""
        with self._lock:
            self._until = {name: until for name, until in self._until.items() if until > now}
            if token_id in self._until:
                return False
            self._until[token_id] = now + MAX_LIFETIME_S + 2 * _LEEWAY_S
            return True


def embedded_person() -> EmbeddedPerson | None:
    """Return whom the product that embeds the app vouches for in this session; None for no one.

    Raises:
        TokenRefusedError: The address brought a token that does not hold.
    """
    now = time.time()
    token = st.query_params.get(PARAMETER)
    if token is not None:
        del st.query_params[PARAMETER]
        st.session_state.pop(_KEY, None)
        secret = load_settings().embed_secret
        if secret is None:
            raise TokenRefusedError("This app is not set up to be embedded: set TREERING_EMBED_SECRET.")
        person = read_embed_token(token, secret, now)
        if not _used_tokens().claim(person.token_id, now):
            raise TokenRefusedError("This link was used before. Reload the page that shows it.")
        st.session_state[_KEY] = person
    found: EmbeddedPerson | None = st.session_state.get(_KEY)
    if found is not None and now >= found.until:
        raise TokenRefusedError("This session has ended. Reload the page that shows it.")
    return found


def read_embed_token(token: str, secret: SecretStr, now: float) -> EmbeddedPerson:
    """Check a token and return whom it names.

    Args:
        token: HS256, with `aud` "treering-embed", `sub`, `jti`, `iat` and `exp`, at most 300 s apart; `name` and
            `treering_tenant` if wanted.
        secret: `TREERING_EMBED_SECRET`, known to the app and to the product's server.
        now: Seconds since 1970.

    Raises:
        TokenRefusedError: It is not signed with the secret, too old, lives too long or lacks a claim.
    """
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise TokenRefusedError("This link is not valid. Reload the page that shows it.")
    try:
        claims = jwt.decode(
            token,
            secret.get_secret_value(),
            algorithms=["HS256"],
            audience=AUDIENCE,
            # The times are compared below, with the clock that the caller gives.
            options={"require": ["sub", "jti", "iat", "exp"], "verify_exp": False, "verify_iat": False},
        )
        issued_at, expires_at = float(claims["iat"]), float(claims["exp"])
    except (jwt.InvalidTokenError, TypeError, ValueError):
        raise TokenRefusedError("This link is not valid. Reload the page that shows it.") from None
    user_id, token_id, name = claims["sub"], claims["jti"], claims.get("name")
    if not isinstance(user_id, str) or not user_id or not isinstance(token_id, str) or not token_id:
        raise TokenRefusedError("This link names nobody.")
    if not issued_at - _LEEWAY_S <= now < expires_at + _LEEWAY_S:
        raise TokenRefusedError("This link has expired. Reload the page that shows it.")
    if expires_at - issued_at > MAX_LIFETIME_S:
        raise TokenRefusedError(f"This link is valid for too long: at most {MAX_LIFETIME_S} seconds are accepted.")
    tenant_id = claims.get(TENANT_CLAIM)
    if tenant_id is not None and (not isinstance(tenant_id, str) or not tenant_id):
        raise TokenRefusedError("This link names no tenant.")
    shown = name if isinstance(name, str) and name else user_id
    return EmbeddedPerson(user_id, shown, tenant_id, token_id, issued_at + SESSION_S)


@st.cache_resource(show_spinner=False)
def _used_tokens() -> UsedTokens:
    return UsedTokens()
