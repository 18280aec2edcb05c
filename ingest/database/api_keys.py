"""Which kind of key of a Supabase project a text is: both look alike and are easily swapped."""

from __future__ import annotations

from enum import Enum

from ingest.database.viewer_token import read_claims


class KeyKind(Enum):
    """What a key may do."""

    PUBLISHABLE = "publishable"
    SECRET = "secret"  # noqa: S105 -- the word, not a secret
    UNKNOWN = "unknown"


def kind_of(key: str) -> KeyKind:
    """Tell a publishable from a secret key, in the new form (`sb_…`) and in the older one, a token with a role."""
    if key.startswith("sb_publishable_"):
        return KeyKind.PUBLISHABLE
    if key.startswith("sb_secret_"):
        return KeyKind.SECRET
    match (read_claims(key) or {}).get("role"):
        case "anon":
            return KeyKind.PUBLISHABLE
        case "service_role":
            return KeyKind.SECRET
    return KeyKind.UNKNOWN
