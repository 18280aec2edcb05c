"""Addresses and secrets of channels, encrypted before they leave this process.

The key comes from `TREERING_SECRET_KEY` and never reaches the database: who can read its tables, backups or logs reads
ciphertext. Fernet (AES-128-CBC with HMAC-SHA256) needs nothing but the key. Several keys, separated by commas, rotate:
the first seals, all open.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import SecretStr


class SecretBox:
    """Seals and opens small documents.

    Args:
        keys: One or several Fernet keys, separated by commas.

    Raises:
        ConfigurationError: A key is not 32 bytes in URL-safe base64.
    """

    def __init__(self, keys: SecretStr) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key.strip()) for key in keys.get_secret_value().split(",")])
        except ValueError:
            raise ConfigurationError(
                "TREERING_SECRET_KEY: must be 32 bytes in URL-safe base64; make one with: treering secret-key"
            ) from None

    def seal(self, document: dict[str, str]) -> str:
        """Encrypt a document; URL-safe text returns."""
        return self._fernet.encrypt(json.dumps(document).encode()).decode()

    def open(self, sealed: str) -> dict[str, str] | None:
        """Decrypt a document; None where none of the keys sealed it."""
        try:
            opened: dict[str, str] = json.loads(self._fernet.decrypt(sealed))
        except InvalidToken:
            return None
        return opened


def make_key() -> str:
    """Make a new key for `TREERING_SECRET_KEY`."""
    return Fernet.generate_key().decode()
