"""Calls that this process was told of by somebody else's plumbing, from their start to the one event each."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from ingest.record import capture
from ingest.tracking import seen
from ingest.tracking.call import Call
from ingest.tracking.emit import report
from ingest.tracking.makers.dialects import dialect_of
from ingest.tracking.provider import short_name
from ingest.tracking.request import Asked, read_request

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST: Final = 10_000


class ToldCalls:
    """Calls under way, by the id that the plumbing gives them.

    Args:
        fields: What holds for all of them, under what `usage_context` says where they start.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields
        self._open: dict[str, Call] = {}
        self._lock = threading.Lock()
        seen.expect()

    def begin(
        self,
        key: str,
        *,
        operation: str = "chat",
        provider: str | None = None,
        request: Mapping[str, Any] | None = None,
        is_streamed: bool = False,
        said: dict[str, Any] | None = None,
    ) -> Call | None:
        """Note that a call starts, with the fields that hold here; None where recording is off.

        Args:
            key: The plumbing's id of the call.
            operation: chat, responses, embeddings, …
            provider: Who is asked, in anybody's words.
            request: model, messages and so on, in OpenAI's words.
            is_streamed: Whether the answer comes in chunks.
            said: What the plumbing says of this call; wins.
        """
        if not capture.is_on():
            return None
        name = short_name(provider) if provider else "openai"
        asked = _read(request or {})
        call = Call(operation, name, asked, is_streamed=is_streamed, fields=said)
        call.claim = seen.told
        call.add_defaults(self._fields)
        with self._lock:
            self._open[key] = call
            if len(self._open) > _MOST:
                self._open.pop(next(iter(self._open)))
        return call

    def find(self, key: str) -> Call | None:
        """Return a call that is under way."""
        return self._open.get(key)

    def end(self, key: str) -> Call | None:
        """Return a call that is under way, which no longer is."""
        with self._lock:
            return self._open.pop(key, None)


def take_whole(call: Call, response: Any) -> None:
    """Have a call's answer read from a response of whatever maker's shape."""
    kind = dialect_of(response)
    if kind is not None:
        first_token_at = call.answer.first_token_at
        call.answer = kind()
        call.answer.add_whole(response)
        call.answer.first_token_at = first_token_at


def fail(call: Call, error: BaseException | None) -> None:
    """Record that a call failed, unless whoever made it has recorded that."""
    if seen.has_error(error):
        call.mute()
    elif error is None:
        call.finish("error", "unknown", was_delivered=False)
    else:
        call.fail(error)


def _read(request: Mapping[str, Any]) -> Asked:
    try:
        return read_request(request, capture.hash_salt() or b"")
    except Exception as error:  # noqa: BLE001 -- a fault of ours is not the caller's
        report(error)
        return Asked(model=str(request.get("model") or "unknown"))
