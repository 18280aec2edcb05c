"""The key that signs tokens: those of the app's viewers and insert-only keys."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.settings import Settings

__all__ = ["SigningKey", "make_signing_key", "read_signing_key"]

_ADVICE = (
    "must be a private key as a JWK (ES256 on the curve P-256, RS256, or HS256 with 32 bytes or more), as "
    "`supabase gen signing-key --algorithm ES256` prints it"
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Signs claims as Supabase Auth would.

    Attributes:
        variable: The setting that it comes from, for messages.
        algorithm: ES256, RS256 or HS256.
        kid: Name of the key in the project's set of keys; None for the shared secret.
    """

    variable: str
    algorithm: str
    kid: str | None
    key: Any = field(repr=False)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a token with these claims."""
        import jwt  # comes with supabase

        headers = {"kid": self.kid} if self.kid is not None else None
        return jwt.encode(dict(claims), self.key, algorithm=self.algorithm, headers=headers)


def read_signing_key(settings: Settings) -> SigningKey | None:
    """Return the key that signs tokens: `SUPABASE_JWT_SIGNING_KEY`, else `SUPABASE_JWT_SECRET`; None for neither.

    Raises:
        ConfigurationError: The signing key is no private key that Supabase could import.
    """
    if settings.supabase_jwt_signing_key is not None:
        return _read_jwk(settings.supabase_jwt_signing_key.get_secret_value())
    if settings.supabase_jwt_secret is not None:
        secret = settings.supabase_jwt_secret.get_secret_value()
        return SigningKey("SUPABASE_JWT_SECRET", "HS256", None, secret)
    return None


def make_signing_key() -> str:
    """Make a new private key (ES256) as a JWK, in the form that Supabase imports."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ec

    document = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    document |= {"kid": str(uuid.uuid4()), "alg": "ES256", "use": "sig", "key_ops": ["sign", "verify"], "ext": True}
    return json.dumps(document)


def _read_jwk(text: str) -> SigningKey:
    import jwt

    try:
        document = json.loads(text.strip().strip("'"))  # `docker run --env-file` leaves quotes in place
        if isinstance(document, list) and len(document) == 1:  # signing_keys.json of `supabase start`
            document = document[0]
        algorithm = _algorithm_of(document)
        key = jwt.PyJWK(document, algorithm=algorithm).key
    except (ValueError, TypeError, KeyError, AttributeError, jwt.PyJWTError):
        # Without the cause, whose text may hold parts of the key.
        raise ConfigurationError(f"SUPABASE_JWT_SIGNING_KEY: {_ADVICE}") from None
    kid = document.get("kid")
    return SigningKey("SUPABASE_JWT_SIGNING_KEY", algorithm, None if kid is None else str(kid), key)


def _algorithm_of(document: dict[str, Any]) -> str:
    match document["kty"]:
        case "EC" if document["crv"] == "P-256" and "d" in document:
            algorithm = "ES256"
        case "RSA" if "d" in document:
            algorithm = "RS256"
        case "oct" if len(document["k"]) >= 43:  # 32 bytes in base64
            algorithm = "HS256"
        case _:
            raise ValueError("another kind of key, or only its public part")
    if document.get("alg", algorithm) != algorithm:
        raise ValueError("the key is made for another algorithm")
    return algorithm
