"""Model streams as server-sent events for a browser, and streams that other code opened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ingest.record import capture
from ingest.record.context import check_fields
from ingest.tracking import abandoned, streams
from ingest.tracking.call import Call
from ingest.tracking.emit import report
from ingest.tracking.frames import Frames
from ingest.tracking.provider import host_of, provider_of
from ingest.tracking.request import Asked
from ingest.tracking.usage import view

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def stream_sse(stream: Any, **fields: Any) -> Any:
    """Forward a model stream as server-sent events and record it.

    The frames are those of the provider, byte for byte, `[DONE]` included; the one that carries usage alone is recorded
    and not sent on. A stream of `track` is recorded once, not twice.

    Args:
        stream: A stream of the openai library; or an iterator, sync or async, of chunk objects, dictionaries, or pieces
            of a body of server-sent events (`bytes` or `str`).
        **fields: Arguments of `record_usage`, such as `user_id`.

    Returns:
        An iterator of frames, async where the stream is: `str`, or `bytes` where the stream is of `bytes`.

    Raises:
        TypeError: A field is not an argument of `record_usage`.
    """
    check_fields(fields)
    is_async = hasattr(stream, "__aiter__")
    call = _open(stream, fields)
    frames = _frames_async(stream, call) if is_async else _frames(stream, call)
    abandoned.watch(frames, call)  # where the reader is gone before the first frame
    return frames


def track_stream(stream: Any, **fields: Any) -> Any:
    """Record a stream that was opened elsewhere; every chunk is passed on untouched.

    Args:
        stream: An iterator of chunks, sync or async; a stream of the openai library is returned as itself.
        **fields: Arguments of `record_usage`.

    Returns:
        What the stream was, to be used in its place.

    Raises:
        TypeError: A field is not an argument of `record_usage`.
    """
    check_fields(fields)
    if not capture.is_on():
        return stream
    is_watched = streams.call_of(stream) is not None
    call = _open(stream, fields)
    if is_watched:
        return stream
    if streams.is_library_stream(stream):
        streams.watch_stream(stream, call)
        return stream
    return streams.AsyncWatched(stream, call) if hasattr(stream, "__aiter__") else streams.Watched(stream, call)


def _open(stream: Any, fields: dict[str, Any]) -> Call:
    """The call of a stream: the one it has, or a new one, which is mute where recording is off."""
    call = streams.call_of(stream)
    if call is not None:
        call.add_fields(fields)
        return call
    if not capture.is_on():
        return Call("chat", "openai", Asked(), is_streamed=True).mute()
    try:
        response = getattr(stream, "response", None)
        url = str(response.request.url) if response is not None else ""
        operation = "responses" if url.partition("?")[0].endswith("/responses") else "chat"
        provider = provider_of(url, named=capture.named_hosts()[0]) if url else "openai"
        opened = Call(operation, provider, Asked(), is_streamed=True, fields=fields)
        opened.host = host_of(url)
        return opened.keep()
    except Exception as error:  # noqa: BLE001 -- a fault of ours is not the caller's
        report(error)
        return Call("chat", "openai", Asked(), is_streamed=True, fields=fields)


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


async def _frames_async(stream: Any, call: Call) -> AsyncIterator[Any]:
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
        elif self._has_chunks and not is_raw and self._call.operation != "responses":
            yield "data: [DONE]\n\n"

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
        if hasattr(chunk, "model_dump_json"):
            text = chunk.model_dump_json(exclude_unset=True, by_alias=True)
        else:
            text = json.dumps(chunk, ensure_ascii=False, separators=(",", ":"))
        kind = getattr(chunk, "type", None) if call.operation == "responses" else None
        return f"event: {kind}\ndata: {text}\n\n" if kind else f"data: {text}\n\n"


def _carries_usage_alone(chunk: Any) -> bool:
    seen = view(chunk)
    return seen.get("usage") is not None and seen.get("choices") == []
