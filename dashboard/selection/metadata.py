"""A filter by metadata as people write it: `plan=pro`, `seats=5`, `beta=true`, `order="17"`. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingest.database import JsonValue

Value = str | int | float | bool

MAX_PAIRS: Final = 10
# The database cannot store control characters and halves of surrogate pairs as text.
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")


def tidy_pair(text: str) -> str | None:
    """Return a pair in the one way it is written, None for what is not a pair.

    A value that reads as a JSON number, boolean or quoted text is that; anything else is text. A number in quotes is
    text: `order="17"`.
    """
    pair = _parse(text)
    return None if pair is None else _write(*pair)


def tidy_pairs(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the pairs among the texts, tidied; of two with the same key the later one."""
    found = {pair[0]: _write(*pair) for text in texts if (pair := _parse(text)) is not None}
    return tuple(found.values())[-MAX_PAIRS:]


def tidy_each(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the pairs among the texts, tidied, each once; of pairs that are left out a key has any number."""
    found = dict.fromkeys(_write(*pair) for text in texts if (pair := _parse(text)) is not None)
    return tuple(found)[-MAX_PAIRS:]


def to_object(pairs: Iterable[str]) -> dict[str, JsonValue]:
    """Return the JSON object that the database compares with."""
    return {pair[0]: pair[1] for text in pairs if (pair := _parse(text)) is not None}


def to_lists(pairs: Iterable[str]) -> dict[str, JsonValue]:
    """Return the values of each key, as the database takes pairs that are left out: each by itself."""
    found: dict[str, list[JsonValue]] = {}
    for text in pairs:
        if (pair := _parse(text)) is not None:
            found.setdefault(pair[0], []).append(pair[1])
    return dict(found)


def _parse(text: str) -> tuple[str, Value] | None:
    key, sign, written = text.partition("=")
    key, written = key.strip(), written.strip()
    if not sign or not _TEXT.fullmatch(key) or not _TEXT.fullmatch(written):
        return None
    value = _read(written)
    return None if value is None or (isinstance(value, str) and not _TEXT.fullmatch(value or " ")) else (key, value)


def _read(written: str) -> Value | None:
    """Read a value; None for a list, an object or a quote that does not end."""
    try:
        value: object = json.loads(written)
    except ValueError:
        return None if written.startswith('"') else written
    if isinstance(value, float) and not math.isfinite(value):
        return written
    if value is None:
        return written
    return value if isinstance(value, str | int | float) else None


def _write(key: str, value: Value) -> str:
    if isinstance(value, str) and _read(value) == value and value == value.strip() and value:
        return f"{key}={value}"
    return f"{key}={json.dumps(value, ensure_ascii=False)}"
