"""Watches a stream without changing it: the client library's own object stays, its inner iterator is replaced."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from ingest.tracking import abandoned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ingest.tracking.call import Call


class Chunks:
    """The chunks of a synchronous stream, each seen on its way.

    Attributes:
        call: The call whose answer this is.
        is_started: Whether a chunk was asked for.
    """

    __slots__ = ("__weakref__", "_inner", "_next", "call", "is_started")

    def __init__(self, inner: Any, call: Call) -> None:
        self._inner = inner
        self._next = inner.__next__
        self.call = call
        self.is_started = False
        abandoned.watch(self, call)

    def __iter__(self) -> Iterator[Any]:
        return _Loop(self)

    def __next__(self) -> Any:
        call = self.call
        self.is_started = call.is_inside = True
        call.is_left = False
        try:
            while True:
                chunk = self._next()
                if not call.add_chunk(chunk):
                    call.is_inside = False
                    return chunk
        except StopIteration:
            call.end_of_stream()
            raise
        except BaseException as error:
            call.fail(error)
            raise


class AsyncChunks:
    """The chunks of an asynchronous stream; see `Chunks`."""

    __slots__ = ("__weakref__", "_inner", "_next", "call", "is_started")

    def __init__(self, inner: Any, call: Call) -> None:
        self._inner = inner
        self._next = inner.__anext__
        self.call = call
        self.is_started = False
        abandoned.watch(self, call)

    def __aiter__(self) -> AsyncIterator[Any]:
        return _AsyncLoop(self)

    async def __anext__(self) -> Any:
        call = self.call
        self.is_started = call.is_inside = True
        call.is_left = False
        try:
            while True:
                chunk = await self._next()
                if not call.add_chunk(chunk):
                    call.is_inside = False
                    return chunk
        except StopAsyncIteration:
            call.end_of_stream()
            raise
        except BaseException as error:
            call.fail(error)
            raise


class _Loop:
    """One `for` over the chunks: once it is left, the rest may never be read."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._chunks.__next__()

    def __del__(self) -> None:
        abandoned.suspect(self._chunks.call)


class _AsyncLoop:
    """One `async for`; see `_Loop`."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: AsyncChunks) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await self._chunks.__anext__()

    def __del__(self) -> None:
        abandoned.suspect(self._chunks.call)


class Watched:
    """Any iterator of chunks, watched; all else is the iterator's own."""

    def __init__(self, stream: Any, call: Call) -> None:
        self._stream = stream
        self._chunks = Chunks(iter(stream), call)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._chunks)

    def __next__(self) -> Any:
        return next(self._chunks)

    def __enter__(self) -> Watched:
        if hasattr(self._stream, "__enter__"):
            self._stream.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        self._chunks.call.stop_by_caller()
        return self._stream.__exit__(*error) if hasattr(self._stream, "__exit__") else None

    def close(self) -> None:
        """Close the stream; a call that has not ended is recorded as cancelled."""
        self._chunks.call.stop_by_caller()
        if hasattr(self._stream, "close"):
            self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class AsyncWatched:
    """Any asynchronous iterator of chunks, watched; all else is the iterator's own."""

    def __init__(self, stream: Any, call: Call) -> None:
        self._stream = stream
        self._chunks = AsyncChunks(aiter(stream), call)

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._chunks)

    async def __anext__(self) -> Any:
        return await anext(self._chunks)

    async def __aenter__(self) -> AsyncWatched:
        if hasattr(self._stream, "__aenter__"):
            await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        self._chunks.call.stop_by_caller()
        return await self._stream.__aexit__(*error) if hasattr(self._stream, "__aexit__") else None

    async def aclose(self) -> None:
        """Close the stream; a call that has not ended is recorded as cancelled."""
        self._chunks.call.stop_by_caller()
        if hasattr(self._stream, "aclose"):
            await self._stream.aclose()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class EitherWatched:
    """A stream that is read with `for` or with `async for`, watched; all else is the stream's own."""

    def __init__(self, stream: Any, call: Call) -> None:
        self._stream = stream
        self._call = call
        self._watched: Any = None
        self._unread = weakref.finalize(self, call.stop_by_caller)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._sync())

    def __next__(self) -> Any:
        return next(self._sync())

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._async())

    async def __anext__(self) -> Any:
        return await anext(self._async())

    def _sync(self) -> Watched:
        if not isinstance(self._watched, Watched):
            self._unread.detach()  # a loop goes on without this object
            self._watched = Watched(self._stream, self._call)
        return self._watched

    def _async(self) -> AsyncWatched:
        if not isinstance(self._watched, AsyncWatched):
            self._unread.detach()
            self._watched = AsyncWatched(self._stream, self._call)
        return self._watched

    def close(self) -> None:
        """Close the stream; a call that has not ended is recorded as cancelled."""
        self._call.stop_by_caller()
        if hasattr(self._stream, "close"):
            self._stream.close()

    async def aclose(self) -> None:
        """Do what `close` does."""
        self._call.stop_by_caller()
        if hasattr(self._stream, "aclose"):
            await self._stream.aclose()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def is_library_stream(value: Any) -> bool:
    """Whether it is a stream object of the openai or anthropic library, sync or async, as this module knows it."""
    kind = type(value)  # an attribute of the object may be made on first use
    return hasattr(kind, "_iter_events") and hasattr(value, "response") and hasattr(value, "_iterator")


def call_of(stream: Any) -> Call | None:
    """The call of a stream that is watched already."""
    if isinstance(stream, EitherWatched):
        return stream._call  # noqa: SLF001 -- of this module
    name = "_chunks" if isinstance(stream, Watched | AsyncWatched) else "_iterator"
    try:
        chunks = getattr(stream, name, None) or getattr(stream, "_event_generator", stream)
    except Exception:  # noqa: BLE001 -- a stranger's object may do anything
        return None
    return chunks.call if isinstance(chunks, Chunks | AsyncChunks) else None


def watch_stream(stream: Any, call: Call) -> None:
    """Watch a stream object of the openai or anthropic library from now on."""
    inner = stream._iterator  # noqa: SLF001 -- the one place through which all ways of reading a stream lead
    watch_close(stream.response, call)
    stream._iterator = AsyncChunks(inner, call) if hasattr(inner, "__anext__") else Chunks(inner, call)  # noqa: SLF001


def watch_close(response: Any, call: Call) -> None:
    """Record the call as cancelled when the caller closes the response before its end."""
    # Strong references, although they make a circle: weak ones are dead when the garbage collector closes a stream, and
    # its connection would never be released. The library's streams are circles of their own accord.
    if hasattr(response, "aclose"):
        aclose = response.aclose

        async def close_async() -> None:
            try:
                await aclose()
            finally:
                _closed(call)

        response.aclose = close_async
    if hasattr(response, "close"):
        close = response.close

        def close_sync() -> None:
            try:
                close()
            finally:
                _closed(call)

        response.close = close_sync


def _closed(call: Call) -> None:
    if not call.is_inside:
        call.stop_by_caller()
