"""Evidence that two prompts begin in the same way, without a word of either.

Of every prompt long enough to be cached, its size and short salted hashes of its beginnings are kept: everything up to
4,096 bytes (about 1,024 tokens, the shortest that providers cache), then in eight even steps to each doubling. Two
prompts that share the n-th hash share everything before its position. A position is at most an eighth longer than the
one before, so what is shared is measured to within a sixteenth on average, and 128,000 tokens need 56 hashes.

A hash has four bytes. That is too few to find a text by, and enough: a chance match of one of a million calls within
the hour needs a match of all hashes before it too.
"""

from __future__ import annotations

from typing import Final

_FIRST: Final = 4096
_STEPS: Final = 8
_MOST: Final = 63
_HASH_BYTES: Final = 4


def _position(number: int) -> int:
    doublings, step = divmod(number, _STEPS)
    return (_FIRST << doublings) * (_STEPS + step) // _STEPS


POSITIONS: Final = tuple(_position(number) for number in range(_MOST))
"""Bytes before each hash."""


def hash_blocks(salt: bytes, data: bytes) -> str | None:
    """Return the size and the hashes of a prompt's beginnings as hexadecimal digits, None for a short prompt.

    Args:
        salt: Key of the hashes, at most 64 bytes.
        data: The prompt, tools and instructions first, as bytes.
    """
    size = len(data)
    if size < _FIRST:
        return None
    from hashlib import blake2b  # OpenSSL, which `import ingest` shall not load

    running = blake2b(key=salt, digest_size=_HASH_BYTES)
    view = memoryview(data)
    found = [min(size, 2**32 - 1).to_bytes(_HASH_BYTES)]
    begin = 0
    for position in POSITIONS:
        if position > size:
            break
        running.update(view[begin:position])
        begin = position
        found.append(running.copy().digest())
    return b"".join(found).hex()
