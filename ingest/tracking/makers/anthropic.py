"""Records every message that a client of the anthropic package asks for, on whatever cloud."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from ingest.record import capture
from ingest.record.context import check_context, merge
from ingest.tracking import streams
from ingest.tracking.call import Call
from ingest.tracking.emit import report
from ingest.tracking.makers.messages import MessageAnswer
from ingest.tracking.provider import host_of, provider_at
from ingest.tracking.raw import watch_response
from ingest.tracking.request import Asked, read_request

_MARK: Final = "_treering"
_PATH: Final = "/v1/messages"
_PER_CALL: Final = "treering"

_CURRENT: ContextVar[Call | None] = ContextVar("treering_message", default=None)


def is_client(value: Any) -> bool:
    """Whether it is a client of the anthropic package, which is not imported to find out."""
    package = sys.modules.get("anthropic")
    return package is not None and isinstance(value, package._base_client.BaseClient)  # noqa: SLF001 -- of all clouds


def track_client(client: Any, fields: dict[str, Any]) -> Any:
    """Record the calls of `client`; see `ingest.track`."""
    known = getattr(client, _MARK, None)
    if known is not None:
        return known.derive(fields) if fields else client
    tracker = _Tracker(client, fields)
    setattr(client, _MARK, tracker)
    tracker.install()
    return client


class _Tracker:
    """The hooks of one client: every method of every resource ends in its `request`."""

    def __init__(self, client: Any, fields: dict[str, Any]) -> None:
        self._client = client
        self._fields = fields
        self._request = client.request
        self._copy = client.copy

    def install(self) -> None:
        client = self._client
        is_async = isinstance(client, sys.modules["anthropic"]._base_client.AsyncAPIClient)  # noqa: SLF001 -- as above
        client.request = self.request_async if is_async else self.request
        if hasattr(client, "_sleep_for_retry"):
            sleep = client._sleep_for_retry  # noqa: SLF001 -- nothing else tells one attempt from the next

            async def sleep_async(**arguments: Any) -> None:
                call = _end_attempt(arguments.get("response"))
                await sleep(**arguments)
                _begin_attempt(call)

            def sleep_sync(**arguments: Any) -> None:
                call = _end_attempt(arguments.get("response"))
                sleep(**arguments)
                _begin_attempt(call)

            client._sleep_for_retry = sleep_async if is_async else sleep_sync  # noqa: SLF001 -- as above

        def copy_tracked(*arguments: Any, **options: Any) -> Any:
            return track_client(self._copy(*arguments, **options), self._fields)

        client.copy = client.with_options = copy_tracked

    def derive(self, fields: dict[str, Any]) -> Any:
        """Make a client with further fields over the same connections."""
        return track_client(self._copy(), merge(self._fields, fields))

    def request(self, cast_to: Any, options: Any, **arguments: Any) -> Any:
        """Stand in for `Anthropic.request`."""
        call = self._begin(options, is_streamed=bool(arguments.get("stream")))
        if call is None:
            return self._request(cast_to, options, **arguments)
        token = _CURRENT.set(call)
        try:
            result = self._request(cast_to, options, **arguments)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            _CURRENT.reset(token)
        _settle(call, result)
        return result

    async def request_async(self, cast_to: Any, options: Any, **arguments: Any) -> Any:
        """Stand in for `AsyncAnthropic.request`."""
        call = self._begin(options, is_streamed=bool(arguments.get("stream")))
        if call is None:
            return await self._request(cast_to, options, **arguments)
        token = _CURRENT.set(call)
        try:
            result = await self._request(cast_to, options, **arguments)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            _CURRENT.reset(token)
        _settle(call, result)
        return result

    def _begin(self, options: Any, *, is_streamed: bool) -> Call | None:
        """Prepare the record of a call; None where there is nothing to record, or by a fault of ours."""
        said = _take_fields(options)
        try:
            is_message = options.method.lower() == "post" and options.url.partition("?")[0] == _PATH
            if not is_message or not capture.is_on():
                return None
            extra = options.extra_json
            body = options.json_data if isinstance(options.json_data, Mapping) else {}
            body = {**body, **extra} if extra else body
            url = str(self._client.base_url)
            provider = provider_at(url, MessageAnswer.maker, capture.named_hosts()[0])
            answer = MessageAnswer()
            call = Call("chat", provider, _read(body), is_streamed=is_streamed, fields=said, answer=answer)
            call.host = host_of(url)
            call.add_defaults(self._fields)
            user = body.get("metadata")
            if capture.takes_user_of_request() and not call.has_user and isinstance(user, Mapping):
                call.add_fields({"user_id": user["user_id"]} if user.get("user_id") else {})
            _watch_parser(options, call)
            return call.keep() if is_streamed else call
        except Exception as error:  # noqa: BLE001 -- a fault of ours falls back to the plain call
            report(error)
            return None


def _take_fields(options: Any) -> dict[str, Any]:
    """Take what the caller says of this one call out of the request.

    Raises:
        TypeError: It is not of the fields of `usage_context`.
    """
    extra = options.extra_json
    if not isinstance(extra, Mapping) or _PER_CALL not in extra:
        return {}
    options.extra_json = {name: value for name, value in extra.items() if name != _PER_CALL} or None
    fields = extra[_PER_CALL]
    if not isinstance(fields, Mapping):
        raise TypeError(f"extra_body[{_PER_CALL!r}] takes the fields of usage_context, not {type(fields).__name__}")
    check_context(fields)
    return dict(fields)


def _read(body: Mapping[str, Any]) -> Asked:
    try:
        asked = {name: body[name] for name in ("model", "tools", "messages", "max_tokens") if name in body}
        return read_request(
            {**asked, "instructions": body.get("system")},
            capture.hash_salt() or b"",
            with_blocks=capture.keeps_blocks(),
        )
    except Exception as error:  # noqa: BLE001 -- lone surrogates, circles: the request itself will say so
        report(error)
        return Asked(model=str(body.get("model") or "unknown"))


def _watch_parser(options: Any, call: Call) -> None:
    """See the answer before `.parse()` reads it, which may raise: it is billed all the same."""
    parser = options.post_parser
    if not callable(parser) or call.is_streamed:
        return

    def parse(answer: Any) -> Any:
        _see_whole(call, answer)
        return parser(answer)

    options.post_parser = parse


def _see_whole(call: Call, answer: Any) -> None:
    try:
        if not call.is_seen:
            call.is_seen = True
            call.answer.add_whole(answer)
    except Exception as error:  # noqa: BLE001 -- a fault of ours is not the caller's
        report(error)


def _end_attempt(response: Any) -> Call | None:
    """Note that an attempt ended: refused with `response`, which costs nothing, or by the error at hand."""
    call = _CURRENT.get()
    if call is not None:
        error = sys.exc_info()[1] if response is None else None
        call.record_lost_attempt(error or RuntimeError("refused"))
    return call


def _begin_attempt(call: Call | None) -> None:
    if call is not None:
        call.begin_attempt()


def _settle(call: Call, result: Any) -> None:
    """Record the answer, or watch what it will be read from."""
    try:
        if streams.is_library_stream(result):
            streams.watch_stream(result, call)
        elif hasattr(result, "http_response") or hasattr(result, "iter_bytes"):
            response = getattr(result, "http_response", result)
            if not response.is_stream_consumed and not response.is_closed:
                watch_response(response, call)
                return
            _see_whole(call, json.loads(response.content))
            call.finish()
        else:
            _see_whole(call, result)
            call.finish()
    except Exception as error:  # noqa: BLE001 -- as above
        report(error)
        call.finish()
