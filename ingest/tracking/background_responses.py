"""Responses that are made in the background: each is recorded once, when it is seen to have ended.

Whoever asks for such a response gets a name for it at once and looks for it later: by `retrieve`, again and again or
as a stream, maybe in another process. Id and time of its event are made of the response's own, so that the database
knows the second record of it.
"""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

_MAX_KEPT = 10_000
_ENDED = frozenset({"completed", "failed", "cancelled", "incomplete"})

_waiting: dict[str, Any] = {}
_recorded: dict[str, None] = {}
_lock = threading.Lock()


class Background(NamedTuple):
    """What a response says of itself.

    Attributes:
        response_id: Its id.
        has_ended: Whether no more comes of it.
        created_at: Seconds since 1970 when it was asked for.
        completed_at: Seconds since 1970 when it ended, where that is told.
    """

    response_id: str
    has_ended: bool
    created_at: float
    completed_at: float | None

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds that it took."""
        return None if self.completed_at is None else (self.completed_at - self.created_at) * 1000


def read_background(response: Mapping[str, Any]) -> Background | None:
    """Read a response of the Responses API; None where it was not made in the background."""
    response_id, created_at = response.get("id"), response.get("created_at")
    if response.get("background") is not True or not isinstance(response_id, str):
        return None
    if not isinstance(created_at, int | float):
        return None
    completed_at = response.get("completed_at")
    return Background(
        response_id,
        response.get("status") in _ENDED,
        float(created_at),
        float(completed_at) if isinstance(completed_at, int | float) else None,
    )


def asked_by(response_id: str) -> Any:
    """Return the call that asked for a response; None where another process did."""
    return _waiting.get(response_id)


def identity_of(background: Background | None, call: object) -> tuple[uuid.UUID, datetime] | None:
    """Return id and time of the event of a response where it is to be recorded now.

    None where the response goes on (then `call`, which asked for it, is remembered), where it was recorded before, and
    where it was not made in the background at all.
    """
    if background is None:
        return None
    with _lock:
        if background.response_id in _recorded:
            return None
        if not background.has_ended:
            _keep(_waiting, background.response_id, _waiting.get(background.response_id, call))
            return None
        _waiting.pop(background.response_id, None)
        _keep(_recorded, background.response_id, None)
    from ingest.record.event_id import derive_event_id  # it imports pydantic, which `import ingest` shall not

    created_at = datetime.fromtimestamp(background.created_at, UTC)
    return derive_event_id(created_at, f"response:{background.response_id}"), created_at


def _keep(kept: dict[str, Any], key: str, value: Any) -> None:
    kept[key] = value
    if len(kept) > _MAX_KEPT:
        del kept[next(iter(kept))]


def _begin_anew() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)  # another thread of the parent may have held it
