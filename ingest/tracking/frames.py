"""Server-sent events as bytes: whole frames out of any pieces, without what their reader did not ask for."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.tracking.call import Call

_END = re.compile(rb"\r?\n\r?\n|\r\r")
_NULL_USAGE = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,')
DONE = "[DONE]"


class Frames:
    """Reads a call's answer from the bytes of its stream and passes the frames on.

    Args:
        call: The call whose answer this is.
        hides_usage: Whether to hold back the frame that carries usage alone.
    """

    def __init__(self, call: Call, *, hides_usage: bool) -> None:
        self._call = call
        self._hides_usage = hides_usage
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece of any size; yields the whole frames, byte for byte."""
        self._rest += piece
        start = 0
        while (match := _END.search(self._rest, start)) is not None:
            frame = self._rest[start : match.end()]
            start = match.end()
            passed = self._pass(frame)
            if passed:
                yield passed
        self._rest = self._rest[start:]

    def close(self) -> bytes:
        """Return what came after the last whole frame."""
        rest, self._rest = self._rest, b""
        return self._pass(rest) if rest else b""

    def _pass(self, frame: bytes) -> bytes:
        data = data_of(frame)
        if data is None:
            return frame
        hides, stripped = take(self._call, data)
        if hides and self._hides_usage:
            return b""
        return frame if stripped is None else frame.replace(data, stripped)


def take(call: Call, data: bytes) -> tuple[bool, bytes | None]:
    """Read the data of a frame as a part of the answer.

    Returns:
        Whether it carries usage alone; and the data without the `usage: null` that came because this library asked
        for usage, where it did.
    """
    if data.startswith(DONE.encode()):
        call.answer.is_complete = call.answer.error_type is None
        return False, None
    try:
        chunk = json.loads(data)
    except ValueError:
        return False, None
    if type(chunk) is not dict:
        return False, None
    carries_usage_alone = call.see(chunk)
    if call.hides_usage and "usage" in chunk and chunk["usage"] is None:
        return carries_usage_alone, _without_null_usage(data, chunk)
    return carries_usage_alone, None


def data_of(frame: bytes) -> bytes | None:
    """The data of a frame of one data line; None for a comment or for multi-line data that is not JSON."""
    lines = [line[5:].removeprefix(b" ") for line in re.split(rb"\r\n|\n|\r", frame) if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def _without_null_usage(data: bytes, chunk: dict[str, Any]) -> bytes | None:
    expected = {name: value for name, value in chunk.items() if name != "usage"}
    for match in _NULL_USAGE.finditer(data):
        shorter = data[: match.start()] + data[match.end() :]
        try:
            if json.loads(shorter) == expected:
                return shorter
        except ValueError:
            continue
    return None
