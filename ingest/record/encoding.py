"""Records in the journal: a letter for the kind, then the caller's arguments as JSON.

JSON keeps a journal readable for another version of Python or of Treering that adopts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, SupportsFloat, SupportsIndex

from pydantic_core import from_json, to_json

from ingest.record.event import normalise_feedback, normalise_performance, normalise_usage
from ingest.record.segment import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from ingest.record.event import Event

USAGE: Final = b"u"
PERFORMANCE: Final = b"p"
FEEDBACK: Final = b"f"
_NORMALISE = {USAGE: normalise_usage, PERFORMANCE: normalise_performance, FEEDBACK: normalise_feedback}
_MAX_DEPTH = 16


def encode(kind: bytes, fields: dict[str, object]) -> bytes:
    """Make a record of at most `MAX_RECORD_BYTES` out of any arguments."""
    try:
        payload: bytes = to_json(fields, fallback=_describe)
    except Exception:  # noqa: BLE001 -- lone surrogates, circles, a property of a stranger's class: anything
        payload = to_json({name: _plain(value) for name, value in fields.items()})
    if len(payload) >= MAX_RECORD_BYTES:
        payload = to_json(_NORMALISE[kind](from_json(payload)))
    return kind + payload


def decode(record: bytes) -> tuple[bytes, Event]:
    """Read a record back as its kind and an event ready for the database, without its cost.

    Raises:
        ValueError: It is not a record, or one of a newer version.
    """
    kind = record[:1]
    if kind not in _NORMALISE:
        raise ValueError("a record of an unknown kind")
    return kind, _NORMALISE[kind](from_json(record[1:]))


def _describe(value: object) -> object:
    """Stand in for what is not JSON: a number where it can be one, else its type and never its contents."""
    if isinstance(value, SupportsIndex):
        return int(value)
    if isinstance(value, SupportsFloat):
        return float(value)
    return f"<{type(value).__name__}>"


def _plain(value: object, depth: int = 0) -> object:
    """The slow way for a value that the encoder refused, part by part."""
    try:
        match value:
            case str():
                return value.encode("utf-8", "replace").decode("utf-8")
            case Mapping() if depth < _MAX_DEPTH:
                return {_plain(str(key)): _plain(item, depth + 1) for key, item in value.items()}
            case list() | tuple() | set() | frozenset() if depth < _MAX_DEPTH:
                return [_plain(item, depth + 1) for item in value]
            case _:
                return from_json(to_json(value, fallback=_describe))
    except Exception:  # noqa: BLE001 -- as above
        return f"<{type(value).__name__}>"
