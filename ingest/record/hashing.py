"""Salted hashes of prompts: equal prompts match, and no prompt can be read or guessed."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SALT_BYTES = 32
_FILE = "hash-salt"


def load_salt(home: Path, given: str | None) -> bytes:
    """Return the key of all hashes: the given one, else the one kept in `home`, made now if there is none.

    Where the folder cannot be written the key lasts as long as the process.
    """
    import hashlib  # OpenSSL, which `import ingest` shall not load

    if given:
        return hashlib.blake2b(given.encode(), digest_size=_SALT_BYTES).digest()
    path = home / _FILE
    fresh = os.urandom(_SALT_BYTES)
    with suppress(OSError):
        kept = _read(path)
        if kept is not None:
            return kept
        home.mkdir(parents=True, exist_ok=True)
        # Written to another file and linked: two processes that do this at once both read the same complete file.
        beside = path.with_name(f"{_FILE}.{os.urandom(8).hex()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, fresh)
        finally:
            os.close(descriptor)
        try:
            with suppress(FileExistsError):
                os.link(beside, path)
        finally:
            beside.unlink()
        return _read(path) or fresh
    return fresh


def hash_text(salt: bytes, data: bytes) -> str:
    """Hash with the salt as the key: 128 bits as hexadecimal digits."""
    import hashlib  # as above

    return hashlib.blake2b(data, key=salt, digest_size=16).hexdigest()


def _read(path: Path) -> bytes | None:
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        return None
    return kept if len(kept) == _SALT_BYTES else None
