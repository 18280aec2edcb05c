"""Model streams as server-sent events for a browser, and streams that other code opened."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ingest.record import capture
from ingest.record.context import check_fields
from ingest.tracking import abandoned, streams
from ingest.tracking.emit import report
from ingest.tracking.frames import Frames
from ingest.tracking.makers.events import is_event_stream, watch_events
from ingest.tracking.opened import call_for, is_text_of, source_of
from ingest.tracking.usage import view

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from ingest.tracking.call import Call


def stream_sse(stream: Any, **fields: Any) -> Any:
    """Forward a model stream as server-sent events and record it.

    The frames are those of the provider, byte for byte, `[DONE]` included; the one that carries usage alone is recorded
    and not sent on. A stream of `track` is recorded once, not twice.

    Args:
        stream: A stream of the openai or anthropic library, or the latter's `text_stream`, each text of which becomes a
            frame of its own (JSON); or an iterator, sync or async, of chunk objects, dictionaries, or pieces of a body
            of server-sent events (`bytes` or `str`).
        **fields: Arguments of `record_usage`, such as `user_id`.

    Returns:
        An iterator of frames, async where the stream is: `str`, or `bytes` where the stream is of `bytes`. Both, where
        the stream is both.

    Raises:
        TypeError: A field is not an argument of `record_usage`.
    """
    check_fields(fields)
    source = source_of(stream)
    if is_text_of(stream, source):
        track_stream(stream, **fields)
        return _texts_async(stream) if hasattr(stream, "__aiter__") else _texts(stream)
    call = call_for(source, fields)
    frames: Any
    if hasattr(source, "__aiter__"):
        frames = _EitherFrames(source, call) if hasattr(source, "__iter__") else _frames_async(source, call)
    else:
        frames = _frames(source, call)
    abandoned.watch(frames, call)  # where the reader is gone before the first frame
    return frames


def track_stream(stream: Any, **fields: Any) -> Any:
    """Record a stream that was opened elsewhere; every chunk is passed on untouched.

    A stream of which nothing tells whose it is, is recorded with the flag `stream:unknown`, its cost unknown.

    Args:
        stream: An iterator of chunks, sync, async or both; a stream of the openai, anthropic or botocore library, and
            Anthropic's `text_stream`, are returned as themselves.
        **fields: Arguments of `record_usage`.

    Returns:
        What the stream was, to be used in its place.

    Raises:
        TypeError: A field is not an argument of `record_usage`.
    """
    check_fields(fields)
    if not capture.is_on():
        return stream
    try:
        return _watch(stream, fields)
    except Exception as error:  # noqa: BLE001 -- a fault of ours falls back to the plain stream
        report(error)
        return stream


def _watch(stream: Any, fields: dict[str, Any]) -> Any:
    source = source_of(stream)
    is_watched = streams.call_of(source) is not None
    call = call_for(source, fields)
    if is_watched:
        return stream
    if streams.is_library_stream(source):
        streams.watch_stream(source, call)
        return stream
    if is_event_stream(source):
        watch_events(source, call)
        return stream
    try:
        if not hasattr(stream, "__aiter__"):
            return streams.Watched(stream, call)
        return (
            streams.EitherWatched(stream, call) if hasattr(stream, "__iter__") else streams.AsyncWatched(stream, call)
        )
    except Exception:
        call.mute()
        raise


def _texts(stream: Any) -> Iterator[str]:
    for text in stream:
        yield f"data: {json.dumps(text, ensure_ascii=False)}\n\n"


async def _texts_async(stream: Any) -> AsyncIterator[str]:
    async for text in stream:
        yield f"data: {json.dumps(text, ensure_ascii=False)}\n\n"


class _EitherFrames:
    """Frames of a stream that can be read either way, for a reader who chooses."""

    def __init__(self, stream: Any, call: Call) -> None:
        self._stream = stream
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        yield from _frames(self._stream, self._call)  # not returned: a loop must keep this object

    async def __aiter__(self) -> AsyncIterator[Any]:
        async with aclosing(_frames_async(self._stream, self._call)) as frames:
            async for frame in frames:
                yield frame


def _is_fresh(stream: Any) -> bool:
    """Whether a stream's bytes can still be read from their beginning."""
    return (
        streams.is_library_stream(stream) and not stream.response.is_stream_consumed and not stream.response.is_closed
    )


def _frames(stream: Any, call: Call) -> Iterator[Any]:
    is_fresh = _is_fresh(stream)
    call.is_inside = True  # the library closes its response at the end of the body, which is not a cancellation
    relay = _Relay(call, is_seen=not is_fresh and streams.call_of(stream) is not None)
    source = stream._iter_events() if is_fresh else stream  # noqa: SLF001 -- before parsing, as the provider wrote it
    try:
        for item in source:
            yield from relay.take(item)
        yield from relay.last(is_raw=is_fresh)
        call.end_of_stream()
    except BaseException as error:
        _stop(call, error)
        raise
    finally:
        if is_fresh:
            stream.response.close()
        elif hasattr(stream, "close"):
            stream.close()


async def _frames_async(stream: Any, call: Call) -> AsyncGenerator[Any, None]:
    is_fresh = _is_fresh(stream)
    call.is_inside = True  # the library closes its response at the end of the body, which is not a cancellation
    relay = _Relay(call, is_seen=not is_fresh and streams.call_of(stream) is not None)
    source = stream._iter_events() if is_fresh else stream  # noqa: SLF001 -- as above
    try:
        async for item in source:
            for frame in relay.take(item):
                yield frame
        for frame in relay.last(is_raw=is_fresh):
            yield frame
        call.end_of_stream()
    except BaseException as error:
        _stop(call, error)
        raise
    finally:
        if is_fresh:
            await stream.response.aclose()
        elif hasattr(stream, "aclose"):
            await stream.aclose()


def _stop(call: Call, error: BaseException) -> None:
    if isinstance(error, Exception):
        call.fail(error)
    else:
        call.stop_by_caller()


class _Relay:
    """Makes frames of what a stream yields, whatever it is."""

    def __init__(self, call: Call, *, is_seen: bool) -> None:
        self._call = call
        self._is_seen = is_seen
        self._frames = Frames(call.see, call.answer, hides_usage=True, drops_null_usage=call.hides_usage)
        self._is_text = False
        self._has_pieces = False
        self._has_chunks = False

    def take(self, item: Any) -> Iterator[Any]:
        """Yield the frames that `item` completes."""
        if isinstance(item, bytes | str):
            yield from self._take_piece(item)
            return
        if hasattr(item, "data") and hasattr(item, "event") and hasattr(item, "json"):
            frame = self._frame_of_event(item)
        else:
            frame = self._frame_of_chunk(item)
        if frame:
            yield frame

    def last(self, *, is_raw: bool) -> Iterator[Any]:
        """Yield what follows the last item."""
        if self._has_pieces:
            rest = self._frames.close()
            if rest:
                yield rest.decode() if self._is_text else rest
        elif self._has_chunks and not is_raw and self._ends_with_done():
            yield "data: [DONE]\n\n"

    def _ends_with_done(self) -> bool:
        return self._call.operation != "responses" and self._call.answer.maker == "openai"

    def _take_piece(self, item: bytes | str) -> Iterator[Any]:
        if not self._has_pieces:
            self._has_pieces = True
            self._is_text = isinstance(item, str)
        piece = item.encode() if isinstance(item, str) else item
        for frame in self._frames.feed(piece):
            yield frame.decode() if self._is_text else frame

    def _frame_of_event(self, event: Any) -> str | None:
        hides, data = self._frames.take(event.data.encode())
        if hides:
            return None
        name = f"event: {event.event}\n" if event.event else ""
        lines = "".join(f"data: {line}\n" for line in data.decode().split("\n"))
        return f"{name}{lines}\n"

    def _frame_of_chunk(self, chunk: Any) -> str | None:
        self._has_chunks = True
        call = self._call
        if _carries_usage_alone(chunk) if self._is_seen else call.see(chunk):
            return None
        text = _as_json(chunk)
        is_named = call.operation == "responses" or call.answer.names_events
        kind = view(chunk).get("type") if is_named else None
        return f"event: {kind}\ndata: {text}\n\n" if kind else f"data: {text}\n\n"


def _carries_usage_alone(chunk: Any) -> bool:
    seen = view(chunk)
    return seen.get("usage") is not None and seen.get("choices") == []


def _as_json(chunk: Any) -> str:
    if isinstance(chunk, dict | list | str):
        try:
            return json.dumps(chunk, ensure_ascii=False, separators=(",", ":"))
        except (TypeError, ValueError):
            pass
    elif hasattr(chunk, "model_dump_json"):
        return str(chunk.model_dump_json(exclude_unset=True, by_alias=True))
    from pydantic_core import to_json

    return to_json(chunk, fallback=lambda item: f"<{type(item).__name__}>", bytes_mode="base64").decode()
