"""Which users keep the old way while a change is tried. Apart, since every backend imports it."""

from __future__ import annotations

import hashlib


def in_holdout(user_id: str, suggestion: str, *, share: float = 0.1) -> bool:
    """Whether a user keeps the old way while a change is tried, the same answer each time and in every process.

    Args:
        user_id: Who asks.
        suggestion: Key of the suggestion, as the Costs page shows it; another one chooses other users.
        share: Part of the users that are held out, 0 to 1.
    """
    digest = hashlib.blake2b(f"{suggestion}\0{user_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64
