"""Server-sent events as bytes: whole frames out of any pieces, without what their reader did not ask for."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.tracking.answer import Answer

_END = re.compile(rb"\r?\n\r?\n|\r\r")
_NULL_USAGE = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,')
_DONE = b"[DONE]"


class Frames:
    """Reads an answer from the bytes of its stream and passes the frames on.

    Args:
        see: Takes a chunk as a part of the answer; says whether it carries usage alone.
        answer: What is known of the answer.
        hides_usage: Whether to hold back the frame that carries usage alone.
        drops_null_usage: Whether to take out the `usage: null` that comes where this library asked for usage.
    """

    def __init__(
        self,
        see: Callable[[dict[str, Any]], bool],
        answer: Answer,
        *,
        hides_usage: bool = False,
        drops_null_usage: bool = False,
    ) -> None:
        self._see = see
        self._answer = answer
        self._hides_usage = hides_usage
        self._drops_null_usage = drops_null_usage
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
        hides, passed = self.take(data)
        if hides and self._hides_usage:
            return b""
        return frame if passed is data else frame.replace(data, passed)

    def take(self, data: bytes) -> tuple[bool, bytes]:
        """Read the data of a frame as a part of the answer.

        Returns:
            Whether it carries usage alone, and the data to pass on.
        """
        if data.startswith(_DONE):
            self._answer.is_complete = self._answer.error_type is None
            return False, data
        try:
            chunk = json.loads(data)
        except ValueError:
            return False, data
        if type(chunk) is not dict:
            return False, data
        carries_usage_alone = self._see(chunk)
        if self._drops_null_usage and "usage" in chunk and chunk["usage"] is None:
            return carries_usage_alone, _without_null_usage(data, chunk)
        return carries_usage_alone, data


def data_of(frame: bytes) -> bytes | None:
    """The data of a frame of one data line; None for a comment or for multi-line data that is not JSON."""
    lines = [line[5:].removeprefix(b" ") for line in re.split(rb"\r\n|\n|\r", frame) if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def _without_null_usage(data: bytes, chunk: dict[str, Any]) -> bytes:
    expected = {name: value for name, value in chunk.items() if name != "usage"}
    for match in _NULL_USAGE.finditer(data):
        shorter = data[: match.start()] + data[match.end() :]
        try:
            if json.loads(shorter) == expected:
                return shorter
        except ValueError:
            continue
    return data
