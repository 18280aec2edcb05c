"""The identity of an event: its id and its time, by which a repeat is recognised."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from datetime import UTC, datetime, timedelta

from uuid_utils.compat import uuid7

from ingest.record.event import time_of_uuid7

_LARGEST_SECONDS = 1e11  # the year 5138; in milliseconds it is 1973
_FIRST_YEAR = 2000
_NAMESPACE = uuid.UUID("5f1a9a52-2f0c-5a61-9a7e-6d0f3c7b1c44")  # any constant: the same text gives the same id

_MOST_AHEAD_MS = 1000  # ids made within one millisecond may run ahead of the clock a little


def identify(fields: dict[str, object], event_id: object, created_at: object) -> tuple[uuid.UUID, dict[str, object]]:
    """Give an event its id.

    Args:
        fields: Arguments of the caller.
        event_id: The caller's own id, if any.
        created_at: The caller's own time, if any.

    Returns:
        The id, and the fields that have a value with `event_id`, with `created_at` unless the id tells it, and with
        `flags` where something was wrong.
    """
    identity = None
    if event_id is not None or created_at is not None:
        identity = resolve_identity(event_id, created_at)
    kept = {name: value for name, value in fields.items() if value is not None}
    if identity is None:
        made = new_id()
    else:
        made, kept["created_at"], flags = identity
        if flags:
            kept["flags"] = flags
    kept["event_id"] = made.hex
    return made, kept


def new_id() -> uuid.UUID:
    """Make a UUIDv7 of the present.

    The library's ids never go back within a process. After a host's clock was set back they would stay ahead, and with
    them the times of all later calls, until the clock has caught up.
    """
    made = uuid7()
    now_ms = time.time_ns() // 1_000_000
    if (made.int >> 80) - now_ms <= _MOST_AHEAD_MS:
        return made
    random_bits = int.from_bytes(os.urandom(10), "big")
    return uuid.UUID(int=now_ms << 80 | 0x7 << 76 | (random_bits >> 68) << 64 | 0x2 << 62 | random_bits & (1 << 62) - 1)


def resolve_identity(event_id: object, created_at: object) -> tuple[uuid.UUID, str, list[str]] | None:
    """Check a caller's `event_id` and `created_at`, at least one of which is not None.

    Returns:
        The id, the time in UTC as text, and what was wrong; None where both must be created.
    """
    if type(event_id) is uuid.UUID and type(created_at) is datetime and created_at.tzinfo is UTC:
        return event_id, created_at.isoformat(), []
    flags: list[str] = []
    made_at = _read_time(created_at, flags)
    identifier = _read_id(event_id, flags)
    if identifier is None:
        if made_at is None:
            return None if not flags else (uuid7(), datetime.now(UTC).isoformat(), flags)
        return uuid7(), made_at.isoformat(), flags
    if made_at is None:
        made_at = time_of_uuid7(identifier.int)
    if made_at is None:
        made_at = datetime.now(UTC)
        flags.append("event_id:repeat_not_recognisable")
    return identifier, made_at.isoformat(), flags


def derive_event_id(created_at: datetime, key: str) -> uuid.UUID:
    """Make the UUIDv7 that stands for `key` at `created_at`: the same two always give the same id.

    The layout is that of RFC 9562, section 5.7, with a hash in the place of the random bits.
    """
    milliseconds = (created_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    bits = int.from_bytes(hashlib.sha256(key.encode()).digest()[:10], "big")
    head = (milliseconds & (1 << 48) - 1) << 80
    return uuid.UUID(int=head | 7 << 76 | (bits >> 62 & 0xFFF) << 64 | 0b10 << 62 | bits & (1 << 62) - 1)


def _read_id(value: object, flags: list[str]) -> uuid.UUID | None:
    if value is None or isinstance(value, uuid.UUID):
        return value
    text = str(value)
    try:
        return uuid.UUID(text)
    except ValueError:
        flags.append("event_id:not_a_uuid")
        return uuid.uuid5(_NAMESPACE, text.encode("utf-8", "replace").decode("utf-8"))


def _read_time(value: object, flags: list[str]) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _read_epoch(value, flags)
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            flags.append("created_at:without_zone")
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        flags.append("created_at:not_a_time")
        return None


def _read_epoch(value: float, flags: list[str]) -> datetime | None:
    """Take a number as seconds since 1970, or as milliseconds where it is too large for those."""
    moment = datetime.fromtimestamp(value / 1000 if value > _LARGEST_SECONDS else value, UTC)
    if moment.year < _FIRST_YEAR:
        flags.append("created_at:not_a_time")
        return None
    flags.append("created_at:epoch")
    return moment
