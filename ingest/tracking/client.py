"""`track`: records every call that an OpenAI client makes, and changes nothing else about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from ingest.errors import ConfigurationError
from ingest.record import capture
from ingest.record.context import check_context, merge
from ingest.tracking import streams
from ingest.tracking.call import Call
from ingest.tracking.emit import report
from ingest.tracking.provider import host_of, provider_of
from ingest.tracking.raw import watch_response
from ingest.tracking.request import Asked, read_request

_Client = TypeVar("_Client")

_OPERATIONS = {"/chat/completions": "chat", "/responses": "responses", "/embeddings": "embeddings"}
_MARK = "_treering"
# It refuses what it does not know, and reports usage without being asked.
_NEVER_ASKED = {"mistral"}
_REFUSALS = {400, 422}
_PER_CALL = "treering"

_CURRENT: ContextVar[Call | None] = ContextVar("treering_call", default=None)


def track(client: _Client, **fields: Any) -> _Client:
    """Record every chat completion, response and embedding that `client` makes from now on.

    The client itself is returned, as are its answers and streams: same types, attributes and exceptions. Clients made
    of it by `copy()` or `with_options()` are tracked too. A client that is tracked already stays as it is, and a client
    of its own that adds `fields` is returned; it shares the connections.

    One call says its own fields by `extra_body={"treering": {...}}`, which is taken out before the request is sent.

    Args:
        client: `OpenAI`, `AsyncOpenAI`, `AzureOpenAI` or `AsyncAzureOpenAI`, with any base URL.
        **fields: As of `usage_context`, for every call of this client, under those of `usage_context`.

    Returns:
        `client`, or one derived of it where it was tracked already and `fields` say more.

    Raises:
        ConfigurationError: The openai package is not installed.
        TypeError: `client` is no client of the openai package, or a field is none of `usage_context`.
    """
    check_context(fields)
    try:
        import openai
    except ImportError as error:
        raise ConfigurationError("track needs the openai package: pip install 'treering[openai]'") from error
    import ingest.tracking.call  # noqa: F401 -- now, so that no request pays for it

    if not isinstance(client, openai.OpenAI | openai.AsyncOpenAI):
        raise TypeError(f"track takes a client of the openai package, not {type(client).__name__}")
    known = getattr(client, _MARK, None)
    if known is not None and fields:
        return cast("_Client", known.derive(fields))
    if known is None:
        tracker = _Tracker(client, fields)
        setattr(client, _MARK, tracker)
        tracker.install(is_async=isinstance(client, openai.AsyncOpenAI))
    return client


class _Tracker:
    """The hooks of one client.

    Every method of every resource ends in the client's `request`; so that is the one place to watch.
    """

    def __init__(self, client: Any, fields: dict[str, Any]) -> None:
        self._client = client
        self._fields = fields
        self._request = client.request
        self._copy = client.copy
        self._may_ask_for_usage = True

    def install(self, *, is_async: bool) -> None:
        client = self._client
        client.request = self.request_async if is_async else self.request
        if hasattr(client, "_sleep_for_retry"):
            sleep = client._sleep_for_retry  # noqa: SLF001 -- nothing else tells one attempt from the next

            async def sleep_async(**arguments: Any) -> None:
                call = _note_retry()
                await sleep(**arguments)
                _begin_attempt(call)

            def sleep_sync(**arguments: Any) -> None:
                call = _note_retry()
                sleep(**arguments)
                _begin_attempt(call)

            client._sleep_for_retry = sleep_async if is_async else sleep_sync  # noqa: SLF001

        def copy_tracked(*arguments: Any, **options: Any) -> Any:
            return track(self._copy(*arguments, **options), **self._fields)

        client.copy = client.with_options = copy_tracked

    def derive(self, fields: dict[str, Any]) -> Any:
        """Make a client with further fields over the same connections."""
        return track(self._copy(), **merge(self._fields, fields))

    def request(self, cast_to: Any, options: Any, **arguments: Any) -> Any:
        """Stand in for `OpenAI.request`."""
        call = self._begin(options, is_streamed=bool(arguments.get("stream")))
        if call is None:
            return self._request(cast_to, options, **arguments)
        token = _CURRENT.set(call)
        try:
            try:
                result = self._request(cast_to, options, **arguments)
            except Exception as error:
                if not self._is_refusal(error, call):
                    raise
                _ask_no_more(options, call)
                result = self._request(cast_to, options, **arguments)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            _CURRENT.reset(token)
        _settle(call, result)
        return result

    async def request_async(self, cast_to: Any, options: Any, **arguments: Any) -> Any:
        """Stand in for `AsyncOpenAI.request`."""
        call = self._begin(options, is_streamed=bool(arguments.get("stream")))
        if call is None:
            return await self._request(cast_to, options, **arguments)
        token = _CURRENT.set(call)
        try:
            try:
                result = await self._request(cast_to, options, **arguments)
            except Exception as error:
                if not self._is_refusal(error, call):
                    raise
                _ask_no_more(options, call)
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
            operation = _OPERATIONS.get(options.url) if options.method.lower() == "post" else None
            if operation is None or not capture.is_on():
                return None
            is_azure = hasattr(self._client, "_api_version")
            body = _body_of(options)
            url, named = str(self._client.base_url), capture.named_hosts()[0]
            provider = "azure" if is_azure else provider_of(url, str(body.get("model") or ""), named)
            call = Call(operation, provider, _read(body), is_streamed=is_streamed, fields=said)
            call.host = host_of(url)
            call.add_defaults(self._fields)
            if capture.takes_user_of_request() and not call.has_user:
                call.add_fields(_user_of(body))
            if operation == "chat" and is_streamed and self._may_ask_for_usage and provider not in _NEVER_ASKED:
                _ask_for_usage(options, body, call)
            _watch_parser(options, call)
            return call.keep() if is_streamed else call
        except Exception as error:  # noqa: BLE001 -- a fault of ours falls back to the plain call
            report(error)
            return None

    def _is_refusal(self, error: Exception, call: Call) -> bool:
        """Whether the server refuses `stream_options`, which the caller never asked for."""
        if not call.hides_usage or getattr(error, "status_code", None) not in _REFUSALS:
            return False
        if "stream_options" not in str(error) and "include_usage" not in str(error):
            return False
        self._may_ask_for_usage = False
        return True


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


def _user_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The user that a request names itself."""
    for name in ("safety_identifier", "user"):
        if isinstance(body.get(name), str) and body[name]:
            return {"user_id": body[name]}
    return {}


def _body_of(options: Any) -> Mapping[str, Any]:
    body = options.json_data if isinstance(options.json_data, Mapping) else {}
    extra = options.extra_json
    return {**body, **extra} if extra else body


def _read(body: Mapping[str, Any]) -> Asked:
    try:
        return read_request(body, capture.hash_salt() or b"", with_blocks=capture.keeps_blocks())
    except Exception as error:  # noqa: BLE001 -- lone surrogates, circles: the request itself will say so
        report(error)
        return Asked(model=str(body.get("model") or "unknown"))


def _ask_for_usage(options: Any, body: Mapping[str, Any], call: Call) -> None:
    given = body.get("stream_options")
    if given is not None and (not isinstance(given, Mapping) or "include_usage" in given):
        return
    asked = {**(given or {}), "include_usage": True}
    if options.extra_json and "stream_options" in options.extra_json:
        options.extra_json = {**options.extra_json, "stream_options": asked}
    elif isinstance(options.json_data, Mapping):
        options.json_data = {**options.json_data, "stream_options": asked}
    else:
        return
    call.hides_usage = True


def _ask_no_more(options: Any, call: Call) -> None:
    for name in ("json_data", "extra_json"):
        body = getattr(options, name)
        if isinstance(body, Mapping) and "stream_options" in body:
            kept = {key: value for key, value in body["stream_options"].items() if key != "include_usage"}
            rest = {key: value for key, value in body.items() if key != "stream_options"}
            setattr(options, name, {**rest, "stream_options": kept} if kept else rest)
    call.hides_usage = False


def _watch_parser(options: Any, call: Call) -> None:
    """See the answer before `.parse()` reads it, which may raise: it is billed all the same."""
    parser = options.post_parser
    if not callable(parser):
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


def _note_retry() -> Call | None:
    call = _CURRENT.get()
    error = sys.exc_info()[1]
    if call is None or error is None:
        return None
    call.record_lost_attempt(error)
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
            _settle_raw(call, result)
        else:
            _see_whole(call, result)
            call.finish()
    except Exception as error:  # noqa: BLE001 -- as above
        report(error)
        call.finish()


def _settle_raw(call: Call, result: Any) -> None:
    response = getattr(result, "http_response", result)
    if not response.is_stream_consumed and not response.is_closed:
        watch_response(response, call)
        return
    _see_whole(call, json.loads(response.content))
    call.finish()
