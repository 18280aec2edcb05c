"""Watches answers that the caller reads as bytes or lines: `.with_raw_response` and `.with_streaming_response`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ingest.tracking import abandoned
from ingest.tracking.emit import report
from ingest.tracking.frames import Frames
from ingest.tracking.streams import watch_close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ingest.tracking.call import Call

_MAX_KEPT_BYTES = 64 * 1024 * 1024


def watch_response(response: Any, call: Call) -> None:
    """Watch the body of an unread HTTP response, however it will be read."""
    body = _Body(call, response.headers.get("content-type", ""))
    watch_close(response, call)
    abandoned.watch(response, call)
    if hasattr(response, "aiter_bytes"):
        aiter_bytes = response.aiter_bytes

        async def read_async(chunk_size: int | None = None) -> AsyncIterator[bytes]:
            call.is_inside = True
            try:
                async for piece in aiter_bytes(chunk_size):
                    for passed in body.feed(piece):
                        yield passed
                for passed in body.close():
                    yield passed
            except BaseException as error:
                body.stop(error)
                raise
            finally:
                call.is_inside = False

        response.aiter_bytes = read_async
    if hasattr(response, "iter_bytes"):
        iter_bytes = response.iter_bytes

        def read(chunk_size: int | None = None) -> Iterator[bytes]:
            call.is_inside = True
            try:
                for piece in iter_bytes(chunk_size):
                    yield from body.feed(piece)
                yield from body.close()
            except BaseException as error:
                body.stop(error)
                raise
            finally:
                call.is_inside = False

        response.iter_bytes = read


def is_json(content_type: str) -> bool:
    """Whether a body is what an answer can be read from, not speech or subtitles."""
    return not content_type or "json" in content_type


class _Body:
    """The bytes of one answer."""

    def __init__(self, call: Call, content_type: str) -> None:
        self._call = call
        self._is_json = is_json(content_type)
        hides = call.hides_usage
        is_events = "event-stream" in content_type
        self._frames = Frames(call.see, call.answer, hides_usage=hides, drops_null_usage=hides) if is_events else None
        self._kept = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece; yields what the caller should see."""
        if self._frames is not None:
            yield from self._frames.feed(piece)
            return
        if self._is_json and len(self._kept) < _MAX_KEPT_BYTES:
            self._kept += piece
        yield piece

    def close(self) -> Iterator[bytes]:
        """Record the call; yields the rest."""
        if self._frames is not None:
            rest = self._frames.close()
            self._call.end_of_stream()
            if rest:
                yield rest
            return
        try:
            self._call.answer.add_whole(json.loads(bytes(self._kept)) if self._is_json else {})
        except Exception as error:  # noqa: BLE001 -- a fault of ours, or a body that is not JSON
            report(error)
        self._call.finish()

    def stop(self, error: BaseException) -> None:
        """Record that reading ended early."""
        if isinstance(error, GeneratorExit) or not isinstance(error, Exception):
            self._call.stop_by_caller()
        else:
            self._call.fail(error)
