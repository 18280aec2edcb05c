"""Calls that this process has recorded: two who watch one call record it once.

Who made the call knows most of it and records, unless somebody who was told of it (a callback, an exporter,
`record_response`) came first; who was told records what nobody has. They know a call by the provider's id of the
answer, else by the answer itself, a hash of its text, while both were under way.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import weakref
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from ingest.record import capture

if TYPE_CHECKING:
    from ingest.tracking.answer import Answer
    from ingest.tracking.request import Asked

_MOST: Final = 10_000
_MARK: Final = "_treering_recorded"


class Watched(Protocol):
    """A call that somebody watched, from its beginning on the clock of `perf_counter`."""

    asked: Asked
    answer: Answer
    started_at: float


class _Seen:
    """What was recorded: by id, and what nobody else has claimed yet by its answer.

    Attributes:
        ids: Whether only somebody who was told of an answer has recorded it, by its id.
        answers: Whether by somebody who was told of it, and when, by what was answered.
    """

    def __init__(self) -> None:
        self.ids: dict[str, bool] = {}
        self.answers: dict[bytes, list[tuple[bool, float]]] = {}


_lock = threading.RLock()  # re-entrant: the garbage collector may end a call in the middle of another's
_by_scope: weakref.WeakKeyDictionary[Any, _Seen] = weakref.WeakKeyDictionary()
_everywhere = _Seen()
_is_anybody_told = False


def expect() -> None:
    """Say that somebody is told of calls: from now on they are known by their answers too."""
    global _is_anybody_told
    _is_anybody_told = True


def made(call: Watched) -> bool:
    """Note a call by who made it; False where somebody who was told of it has recorded it."""
    response_id = call.answer.response_id
    with _lock:
        seen = _seen()
        was_told = response_id is not None and seen.ids.pop(response_id, False)
        if response_id is not None:
            _add_id(seen, response_id, is_told=False)
        if was_told or not _is_anybody_told:
            return not was_told
        return _match(seen, call, is_told=False)


def told(call: Watched) -> bool:
    """Note a call by who was told of it; False where it is recorded already."""
    if call.answer.response_id is not None:
        return told_of(call.answer.response_id)
    with _lock:
        return _match(_seen(), call, is_told=True)


def told_of(response_id: str) -> bool:
    """Note an answer by who was told of it; False where it is recorded already."""
    with _lock:
        seen = _seen()
        if response_id in seen.ids:
            return False
        _add_id(seen, response_id, is_told=True)
        return True


def note_error(error: BaseException) -> None:
    """Note that the call which an error ended is recorded."""
    with contextlib.suppress(Exception):  # some errors take no attributes
        setattr(error, _MARK, True)


def has_error(error: BaseException | None) -> bool:
    """Whether the call that an error ended is recorded: it, or what it was made of."""
    while error is not None:
        if getattr(error, _MARK, False):
            return True
        error = error.__cause__ or error.__context__
    return False


def forget() -> None:
    """Begin anew."""
    global _everywhere
    with _lock:
        _everywhere = _Seen()
        _by_scope.clear()


def _seen() -> _Seen:
    """Tests of a product (`ingest.testing`) know their own answers alone: servers made up for them repeat their ids."""
    scope = capture.scope()
    return _everywhere if scope is None else _by_scope.setdefault(scope, _Seen())


def _add_id(seen: _Seen, response_id: str, *, is_told: bool) -> None:
    seen.ids[response_id] = is_told
    if len(seen.ids) > _MOST:
        seen.ids.pop(next(iter(seen.ids)))


def _match(seen: _Seen, call: Watched, *, is_told: bool) -> bool:
    """Take away what the other side has recorded of this call while it was under way; True where there is nothing."""
    key = hashlib.blake2b("".join(call.answer.texts).encode("utf-8", "replace"), digest_size=16).digest()
    entries = seen.answers.setdefault(key, [])
    other = next((entry for entry in entries if entry[0] is not is_told and entry[1] >= call.started_at), None)
    if other is not None:
        entries.remove(other)
        return False
    entries.append((is_told, perf_counter()))
    del entries[:-_MOST]
    if len(seen.answers) > _MOST:
        seen.answers.pop(next(iter(seen.answers)))
    return True


def _begin_anew() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
