"""Records every call of a model that boto3's client for Amazon Bedrock makes."""

from __future__ import annotations

import inspect
import json
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from ingest.record import capture
from ingest.record.context import merge
from ingest.tracking import abandoned
from ingest.tracking.call import Call
from ingest.tracking.emit import report
from ingest.tracking.makers.bedrock_answers import ConverseAnswer, InvokeAnswer
from ingest.tracking.makers.events import watch_events
from ingest.tracking.request import Asked, read_request
from ingest.tracking.usage import view

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARK: Final = "_treering"
_SERVICE: Final = "bedrock-runtime"
_OPERATIONS: Final = {
    "Converse": (ConverseAnswer, False),
    "ConverseStream": (ConverseAnswer, True),
    "InvokeModel": (InvokeAnswer, False),
    "InvokeModelWithResponseStream": (InvokeAnswer, True),
}
_MAX_KEPT_BYTES: Final = 64 * 1024 * 1024
_EMBEDDINGS: Final = ("embed", "titan-embed", "marengo")

_CURRENT: ContextVar[Call | None] = ContextVar("treering_bedrock", default=None)


def is_client(value: Any) -> bool:
    """Whether it is a client of boto3, which is not imported to find out."""
    package = sys.modules.get("botocore.client")
    return package is not None and isinstance(value, package.BaseClient)


def track_client(client: Any, fields: dict[str, Any]) -> Any:
    """Record the calls of `client`; see `ingest.track`.

    Raises:
        TypeError: It is a client for another service, or one whose calls are awaited (aiobotocore).
    """
    service = client.meta.service_model.service_name
    if service != _SERVICE:
        raise TypeError(f"track takes a client of boto3 for {_SERVICE}, not for {service}")
    if inspect.iscoroutinefunction(type(client)._make_api_call):  # noqa: SLF001 -- nothing else tells
        raise TypeError("track takes a client of boto3, not of aiobotocore: use record_response there")
    known = vars(client).get(_MARK)
    if known is not None:
        return known.derive(fields) if fields else client
    _install(client, client, fields)
    client.meta.events.register(f"before-send.{_SERVICE}", _begin_attempt)
    return client


def _install(client: Any, plain: Any, fields: dict[str, Any]) -> None:
    tracker = _Tracker(client, plain, fields)
    setattr(client, _MARK, tracker)
    client._make_api_call = tracker.call  # noqa: SLF001 -- the one place through which all calls lead


class _Tracker:
    """The hooks of one client."""

    def __init__(self, client: Any, plain: Any, fields: dict[str, Any]) -> None:
        self._client = client
        self._fields = fields
        self._call = type(plain)._make_api_call.__get__(plain)  # noqa: SLF001 -- as above

    def derive(self, fields: dict[str, Any]) -> Any:
        """Make a client with further fields over the same connections."""
        derived = object.__new__(type(self._client))  # `copy` asks it for attributes that it must have first
        vars(derived).update(vars(self._client))
        _install(derived, derived, merge(self._fields, fields))
        return derived

    def call(self, operation_name: str, api_params: Any) -> Any:
        """Stand in for `BaseClient._make_api_call`."""
        call = self._begin(operation_name, api_params)
        if call is None:
            return self._call(operation_name, api_params)
        token = _CURRENT.set(call)
        try:
            answer = self._call(operation_name, api_params)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            _CURRENT.reset(token)
        try:
            _settle(call, answer)
        except Exception as error:  # noqa: BLE001 -- a fault of ours is not the caller's
            report(error)
            call.finish()
        return answer

    def _begin(self, name: str, params: Any) -> Call | None:
        """Prepare the record of a call; None where there is nothing to record, or by a fault of ours."""
        try:
            if name not in _OPERATIONS or not capture.is_on():
                return None
            kind, is_streamed = _OPERATIONS[name]
            asked = _read(params)
            operation = "embeddings" if any(word in asked.model for word in _EMBEDDINGS) else "chat"
            call = Call(operation, kind.maker, asked, is_streamed=is_streamed, answer=kind())
            call.add_defaults(self._fields)
            call.attempt = 0  # counted as they are sent
            return call.keep() if is_streamed else call
        except Exception as error:  # noqa: BLE001 -- a fault of ours falls back to the plain call
            report(error)
            return None


def _begin_attempt(**_: Any) -> None:
    """Count an attempt as botocore sends it; what was refused before costs nothing."""
    call = _CURRENT.get()
    if call is None:
        return
    if call.attempt == 0:
        call.attempt = 1
        return
    call.record_lost_attempt(RuntimeError("refused"))
    call.begin_attempt()


def _settle(call: Call, answer: Any) -> None:
    """Record the answer, or watch what it will be read from."""
    answered = call.answer
    assert isinstance(answered, ConverseAnswer | InvokeAnswer)
    call.attempt = max(call.attempt, 1)
    answered.add_metadata(answer)
    stream = answer.get("stream") or answer.get("body")
    if call.is_streamed:
        watch_events(stream, call)
    elif isinstance(answered, InvokeAnswer):
        answered.add_headers(view(view(answer.get("ResponseMetadata")).get("HTTPHeaders")))
        answered.is_complete = True  # it was written before its first byte was sent
        stream._raw_stream = _Tee(stream._raw_stream, call)  # noqa: SLF001 -- all ways of reading the body lead here
        abandoned.watch(stream, call)
    else:
        answered.add_whole(answer)
        call.finish()


class _Tee:
    """The bytes of a body, seen on their way; all else is the body's own."""

    def __init__(self, raw: Any, call: Call) -> None:
        self._raw = raw
        self._call = call
        self._kept = bytearray()
        length = str(view(getattr(raw, "headers", None)).get("content-length"))
        self._length = int(length) if length.isdecimal() else None

    def read(self, amt: int | None = None, *arguments: Any, **options: Any) -> bytes:
        """Read at most `amt` bytes, or all."""
        try:
            piece: bytes = self._raw.read(amt, *arguments, **options)
        except BaseException as error:
            self._call.fail(error)
            raise
        self._take(piece, is_last=amt is None or (not piece and amt > 0))
        return piece

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; returns how much."""
        try:
            count: int = self._raw.readinto(buffer)
        except BaseException as error:
            self._call.fail(error)
            raise
        self._take(bytes(buffer[:count]), is_last=not count)
        return count

    def readlines(self, *arguments: Any) -> list[bytes]:
        """Read all lines."""
        lines: list[bytes] = self._raw.readlines(*arguments)
        self._take(b"".join(lines), is_last=True)
        return lines

    def close(self) -> None:
        """Close the body: whatever was read of it, all of it is billed."""
        self._call.stop_by_caller()
        self._raw.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def _take(self, piece: bytes, *, is_last: bool) -> None:
        if len(self._kept) < _MAX_KEPT_BYTES:
            self._kept += piece
        if (is_last or len(self._kept) == self._length) and not self._call.is_finished:
            try:
                self._call.answer.add_whole(json.loads(bytes(self._kept)))
            except Exception as error:  # noqa: BLE001 -- a fault of ours, or a body that is not JSON
                report(error)
            self._call.finish()


def _read(params: Any) -> Asked:
    model = str(view(params).get("modelId") or "unknown")
    try:
        body = params.get("body")
        asked = json.loads(body) if isinstance(body, bytes | str) else params
        return read_request(_as_chat(model, asked), capture.hash_salt() or b"")
    except Exception as error:  # noqa: BLE001 -- lone surrogates, circles: the request itself will say so
        report(error)
        return Asked(model=model)


def _as_chat(model: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A request in OpenAI's words, of which hashes are made and tokens counted."""
    settings = view(asked.get("inferenceConfig"))
    limits = (settings.get("maxTokens"), asked.get("max_tokens"), asked.get("max_gen_len"))
    messages = asked.get("messages") or asked.get("prompt") or asked.get("inputText") or asked.get("texts")
    return {
        "model": model,
        "tools": asked.get("tools") or view(asked.get("toolConfig")).get("tools"),
        "instructions": asked.get("system"),
        "messages": messages,
        "max_tokens": next((limit for limit in limits if isinstance(limit, int)), None),
    }
