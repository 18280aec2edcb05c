"""Answers that this process has recorded, by the provider's id: two who watch one call record it once.

Who made the call knows most of it and always records; who was told of it (a callback, an exporter, `record_response`)
records what nobody has. The ids of the last answers are kept, some hundred bytes each.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Final

from ingest.record import capture

_MOST: Final = 10_000

_lock = threading.RLock()  # re-entrant: the garbage collector may end a call in the middle of another's
_by_scope: weakref.WeakKeyDictionary[Any, dict[str, bool]] = weakref.WeakKeyDictionary()
_everywhere: dict[str, bool] = {}  # the id of an answer: whether only somebody who was told of it has recorded it


def made(response_id: str) -> bool:
    """Note an answer by who made the call; False where somebody who was told of it came first."""
    with _lock:
        known = _known()
        was_told = known.pop(response_id, False)
        _add(known, response_id, was_told=False)
        return not was_told


def told(response_id: str) -> bool:
    """Note an answer by who was told of it; False where it is recorded already."""
    with _lock:
        known = _known()
        if response_id in known:
            return False
        _add(known, response_id, was_told=True)
        return True


def forget() -> None:
    """Begin anew."""
    with _lock:
        _everywhere.clear()
        _by_scope.clear()


def _known() -> dict[str, bool]:
    """Tests of a product (`ingest.testing`) know their own answers alone: servers made up for them repeat their ids."""
    scope = capture.scope()
    return _everywhere if scope is None else _by_scope.setdefault(scope, {})


def _add(known: dict[str, bool], response_id: str, *, was_told: bool) -> None:
    known[response_id] = was_told
    if len(known) > _MOST:
        known.pop(next(iter(known)))


def _begin_anew() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
