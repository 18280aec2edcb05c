"""Sees what comes through the websockets of an openai client: `realtime.connect` and `responses.connect`.

The library's modules for them take longer to import than all the rest of it, so they are not imported here: a door
stands in for the attribute of the client (`client.realtime`) until it is first used, and then hooks what was imported.
"""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from ingest.tracking.emit import report
from ingest.tracking.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.tracking.session import Tracker

_DOORS = ("realtime", "responses", "beta")
_MODULES = (
    *("openai.resources.realtime.realtime", "openai.resources.beta.realtime.realtime"),
    *("openai.resources.responses.responses", "openai.resources.beta.responses.responses"),
)
_MARK = "_treering"
_hooked: set[str] = set()


def find_tracker(client: Any) -> Tracker | None:
    """Return what watches a client; None where nothing does."""
    found: Tracker | None = vars(client).get(_MARK)
    return found


_find: Callable[[Any], Tracker | None] = find_tracker


def find_by(find: Callable[[Any], Tracker | None]) -> None:
    """Ask `find` from now on who watches the client of a new connection."""
    global _find
    _find = find


def watch_doors(owner: type) -> None:
    """Have the connections of a class of clients, or of a resource of theirs, watched: those that somebody tracks."""
    for base in owner.__mro__:
        for name in _DOORS:
            inner = vars(base).get(name)
            if hasattr(inner, "__set_name__") and not isinstance(inner, _Door):
                setattr(base, name, _Door(inner))
    _hook_managers()


class _Door:
    """Stands in for a property of the library that imports and keeps what it gives."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.__doc__ = inner.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        given = self._inner.__get__(instance, owner)
        if instance is not None:
            watch_doors(type(given))
        return given


def _hook_managers() -> None:
    for name in _MODULES:
        module = sys.modules.get(name)
        if module is None or name in _hooked:
            continue
        _hooked.add(name)
        for kind in list(vars(module).values()):
            if isinstance(kind, type) and kind.__module__ == name and kind.__name__.endswith("ConnectionManager"):
                _hook(kind)


def _hook(kind: Any) -> None:
    if hasattr(kind, "__aenter__"):
        enter = kind.__aenter__

        @wraps(enter)
        async def enter_async(self: Any) -> Any:
            return _watch(self, await enter(self), is_async=True)

        kind.__aenter__ = kind.enter = enter_async
    else:
        enter = kind.__enter__

        @wraps(enter)
        def enter_sync(self: Any) -> Any:
            return _watch(self, enter(self), is_async=False)

        kind.__enter__ = kind.enter = enter_sync


def _watch(manager: Any, connection: Any, *, is_async: bool) -> Any:
    try:
        held = {name.rpartition("__")[2]: value for name, value in vars(manager).items()}
        tracker = _find(held["client"])
        if tracker is not None:
            model = held.get("model")
            session = Session(
                tracker, model if isinstance(model, str) else None, is_realtime="Realtime" in str(type(manager))
            )
            (_watch_async if is_async else _watch_sync)(connection, session)
    except Exception as error:  # noqa: BLE001 -- a fault of ours is not the caller's
        report(error)
    return connection


def _watch_sync(connection: Any, session: Session) -> None:
    receive, close = connection.recv_bytes, connection.close

    def receive_seen() -> Any:
        try:
            message = receive()
        except Exception:
            session.end()
            raise
        session.see(message)
        return message

    def close_seen(*arguments: Any, **options: Any) -> None:
        session.end()
        close(*arguments, **options)

    connection.recv_bytes, connection.close = receive_seen, close_seen


def _watch_async(connection: Any, session: Session) -> None:
    receive, close = connection.recv_bytes, connection.close

    async def receive_seen() -> Any:
        try:
            message = await receive()
        except Exception:
            session.end()
            raise
        session.see(message)
        return message

    async def close_seen(*arguments: Any, **options: Any) -> None:
        session.end()
        await close(*arguments, **options)

    connection.recv_bytes, connection.close = receive_seen, close_seen
