"""`instrument`: tracks every OpenAI client of the process, whoever makes it."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from ingest.tracking import sockets
from ingest.tracking.client import Tracker, load_openai, tracker_of

_lock = threading.Lock()
_originals: dict[type, Any] = {}
_found: weakref.WeakSet[Any] = weakref.WeakSet()


def instrument() -> None:
    """Record the calls of every OpenAI client of this process, as `track` does for one.

    That includes clients that exist already, those that other libraries make for themselves (litellm, LangChain,
    LlamaIndex, haystack, dspy), and the openai module's own (`openai.chat.completions.create`). A client that is
    tracked already stays as it is, so no call is recorded twice. Safe to repeat; `uninstrument` undoes it.

    Raises:
        ConfigurationError: The openai package is not installed.
    """
    openai = load_openai()
    with _lock:
        if _originals:
            return
        for kind, is_async in ((openai.OpenAI, False), (openai.AsyncOpenAI, True)):
            _originals[kind] = vars(kind).get("request")
            kind.request = _finding_async(kind.request) if is_async else _finding(kind.request)
            sockets.watch_doors(kind)
        sockets.find_by(_find)


def uninstrument() -> None:
    """Undo `instrument`; clients that the product gave to `track` stay tracked."""
    with _lock:
        for kind, original in _originals.items():
            if original is None:
                del kind.request  # type: ignore[attr-defined]  # it was its base class's
            else:
                kind.request = original  # type: ignore[attr-defined]  # as before
        _originals.clear()
        for client in list(_found):
            tracker = tracker_of(client)
            if tracker is not None:
                tracker.uninstall()
        _found.clear()


def _find(client: Any) -> Tracker | None:
    """Return what watches a client, from now on where nothing did."""
    known = tracker_of(client)
    if known is None and _originals:
        known = Tracker(client, {}, is_automatic=True)
        known.install(is_async=isinstance(client, load_openai().AsyncOpenAI))
        _found.add(client)
    return known


def _finding(send: Any) -> Any:
    def request(self: Any, cast_to: Any, options: Any, **arguments: Any) -> Any:
        if tracker_of(self) is not None:
            return send(self, cast_to, options, **arguments)  # it is this client's own hook that asks
        found = _find(self)
        if found is None:
            return send(self, cast_to, options, **arguments)
        return found.run(send.__get__(self), cast_to, options, arguments)

    return request


def _finding_async(send: Any) -> Any:
    async def request(self: Any, cast_to: Any, options: Any, **arguments: Any) -> Any:
        if tracker_of(self) is not None:
            return await send(self, cast_to, options, **arguments)  # as above
        found = _find(self)
        if found is None:
            return await send(self, cast_to, options, **arguments)
        return await found.run_async(send.__get__(self), cast_to, options, arguments)

    return request
