"""Keys of a project or of a sign-in provider, as JWKs, and the set of keys that PostgREST checks tokens with."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.api import JWT_SECRET

ALGORITHMS = ("HS256", "ES256", "RS256")


@cache
def make_key(algorithm: str, kid: str) -> dict[str, Any]:
    """Make a private key as a JWK, the same one for the same arguments."""
    document: dict[str, Any]
    match algorithm:
        case "ES256":
            document = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
        case "RS256":
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            document = {**jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True)}
            document.pop("key_ops", None)
        case _:
            document = _shared(f"{kid}-secret-of-at-least-32-characters")
    return {**document, "kid": kid, "alg": algorithm, "use": "sig"}


def public_part(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only the signer knows; a shared secret stays whole."""
    if document["kty"] == "oct":
        return document
    return {name: value for name, value in document.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}


def key_set(*documents: dict[str, Any]) -> str:
    """Return what PostgREST is told: these keys, and the one that the gateway signs with in place of API keys."""
    gateway = {**_shared(JWT_SECRET), "alg": "HS256"}
    return json.dumps({"keys": [gateway, *map(public_part, documents)]})


def sign(document: dict[str, Any], claims: dict[str, Any]) -> str:
    """Sign a token, naming the key in its header."""
    key = jwt.PyJWK(document, algorithm=document["alg"]).key
    return jwt.encode(claims, key, algorithm=document["alg"], headers={"kid": document["kid"]})


def _shared(secret: str) -> dict[str, Any]:
    return {"kty": "oct", "k": base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()}
