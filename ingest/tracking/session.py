"""Calls of models that share one websocket: realtime conversations, their transcriptions, and responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ingest.record import capture
from ingest.tracking.emit import report
from ingest.tracking.operations import REALTIME, REALTIME_TRANSCRIPTION, RESPONSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.tracking.answer import Answer
    from ingest.tracking.operations import Operation

# A message of audio is large; its kind stands at its beginning.
_HEAD = 400
_TRANSCRIBED = "conversation.item.input_audio_transcription."
_LAST = {"response.completed", "response.incomplete", "response.failed", "response.cancelled", "response.done"}


class Call(Protocol):
    """The record of a call that is under way."""

    answer: Answer

    def see(self, chunk: Any) -> bool:
        """Take a part of its answer."""

    def finish(self) -> None:
        """Record it."""

    def end_of_stream(self) -> None:
        """Record it at the end of its answer."""

    def stop_by_caller(self) -> None:
        """Record that its end will not be seen."""


class Tracker(Protocol):
    """What begins the record of a call of one client."""

    def begin(self, operation: Operation, body: Mapping[str, Any], said: dict[str, Any], *, is_streamed: bool) -> Call:
        """Begin one."""


class Session:
    """What is under way on one connection.

    Args:
        tracker: Of the client that connected.
        model: Model that was asked for at the start.
        is_realtime: Whether it is the Realtime API, not responses.
    """

    def __init__(self, tracker: Tracker, model: str | None, *, is_realtime: bool) -> None:
        self._tracker = tracker
        self._operation = REALTIME if is_realtime else RESPONSES
        self._model = model
        self._transcriber: str | None = None
        self._calls: dict[str, Call] = {}

    def see(self, message: bytes | str) -> None:
        """Take a message on its way to the caller. Never raises."""
        try:
            head = message[:_HEAD]
            text = head if isinstance(head, str) else head.decode("utf-8", "replace")
            if "audio.delta" in text:
                self._see_audio()
            elif "response." in text or "session." in text or _TRANSCRIBED in text:
                from pydantic_core import from_json

                self._see_event(from_json(message))
        except Exception as error:  # noqa: BLE001 -- a fault of ours is not the caller's
            report(error)

    def end(self) -> None:
        """Record what had not ended when the connection did."""
        calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            call.stop_by_caller()

    def _see_audio(self) -> None:
        for call in self._calls.values():
            call.see({"type": "response.audio.delta", "delta": "audio"})

    def _see_event(self, event: Mapping[str, Any]) -> None:
        kind = str(event.get("type"))
        if kind.startswith(("session.", "transcription_session.")):
            self._see_session(event.get("session") or {})
        elif kind.startswith(_TRANSCRIBED):
            if kind.endswith((".completed", ".failed")):
                self._record_transcription(event)
        elif kind.startswith("response."):
            self._see_response(kind, event)

    def _see_session(self, session: Mapping[str, Any]) -> None:
        if isinstance(session.get("model"), str):
            self._model = session["model"]
        asked = session.get("input_audio_transcription")
        for name in ("audio", "input", "transcription"):
            session = session.get(name) or {}
        transcription = session or asked
        if transcription and isinstance(transcription.get("model"), str):
            self._transcriber = transcription["model"]

    def _see_response(self, kind: str, event: Mapping[str, Any]) -> None:
        response = event.get("response") or {}
        response_id = response.get("id") or event.get("response_id") or next(iter(self._calls), None)
        if response_id is None or not capture.is_on():
            return
        call = self._calls.get(response_id)
        if call is None:
            call = self._begin(response_id)
        if kind == "response.done":
            kind, response = "response.completed", _as_response(response)
        call.see({**event, "type": kind, "response": response} if response else event)
        if kind in _LAST:
            del self._calls[response_id]
            call.end_of_stream()

    def _begin(self, response_id: str) -> Call:
        body = {"model": self._model}
        call = self._calls[response_id] = self._tracker.begin(self._operation, body, {}, is_streamed=True)
        return call

    def _record_transcription(self, event: Mapping[str, Any]) -> None:
        if not capture.is_on():
            return
        call = self._tracker.begin(REALTIME_TRANSCRIPTION, {"model": self._transcriber}, {}, is_streamed=True)
        call.answer.add_whole({name: event.get(name) for name in ("usage", "error")})
        call.finish()


def _as_response(done: Mapping[str, Any]) -> dict[str, Any]:
    """Say the end of a realtime response in the words of the Responses API."""
    details = done.get("status_details") or {}
    return {**done, "incomplete_details": details, "error": details.get("error")}
