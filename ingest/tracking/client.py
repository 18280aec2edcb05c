"""`track` and `instrument`: record every call that OpenAI clients make, and change nothing else about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from ingest.errors import ConfigurationError
from ingest.record import capture
from ingest.record.context import check_context, merge
from ingest.tracking import background_responses, makers, sockets, streams
from ingest.tracking.call import Call
from ingest.tracking.emit import report
from ingest.tracking.operations import RESPONSES, Operation, operation_at, response_at, units_of
from ingest.tracking.provider import host_of, provider_of
from ingest.tracking.raw import is_json, watch_response
from ingest.tracking.request import Asked, read_request
from ingest.tracking.retries import CURRENT, hooks_of_retries

_Client = TypeVar("_Client")

_MARK = "_treering"
# It refuses what it does not know, and reports usage without being asked.
_NEVER_ASKED = {"mistral"}
_REFUSALS = {400, 422}
_PER_CALL = "treering"


def track(client: _Client, **fields: Any) -> _Client:
    """Record every call of a model that `client` makes from now on.

    The client itself is returned, as are its answers and streams: same types, attributes and exceptions. Clients made
    of it by `copy()` or `with_options()` are tracked too. A client that is tracked already stays as it is, and a client
    of its own that adds `fields` is returned; it shares the connections.

    One call says its own fields by `extra_body={"treering": {...}}`, which is taken out before the request is sent.

    Args:
        client: `OpenAI`, `AsyncOpenAI`, `AzureOpenAI` or `AsyncAzureOpenAI`, with any base URL; a client of anthropic,
            on any cloud; `genai.Client`; boto3's for `bedrock-runtime`.
        **fields: As of `usage_context`, for every call of this client, under those of `usage_context`.

    Returns:
        `client`, or one derived of it where it was tracked already and `fields` say more.

    Raises:
        ConfigurationError: The openai package is not installed.
        TypeError: `client` is none of these, or a field is none of `usage_context`.
    """
    check_context(fields)
    other = makers.track_client(client, fields)
    if other is not None:
        return cast("_Client", other)
    openai = load_openai()
    if not isinstance(client, openai.OpenAI | openai.AsyncOpenAI):
        raise TypeError(
            f"track takes a client of openai, anthropic, google-genai or boto3, not {type(client).__name__}"
        )
    known = tracker_of(client)
    if known is not None and not known.adopt(fields):
        return cast("_Client", known.derive(fields)) if fields else client
    if known is None:
        Tracker(client, fields).install(is_async=isinstance(client, openai.AsyncOpenAI))
    return client


def load_openai() -> Any:
    """Import the openai package, and what watching it needs, so that no request pays for that.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import openai
    except ImportError as error:
        raise ConfigurationError("track needs the openai package: pip install 'treering[openai]'") from error
    import ingest.tracking.call  # noqa: F401 -- as above

    return openai


def tracker_of(client: Any) -> Tracker | None:
    """Return what watches a client; None where nothing does."""
    return cast("Tracker | None", sockets.find_tracker(client))


class Tracker:
    """The hooks of one client.

    Every method of every resource ends in the client's `request`; so that is the one place to watch.

    Args:
        client: The client.
        fields: What the product says of all its calls.
        is_automatic: Whether nobody asked for this very client, so that `uninstrument` ends it.
    """

    def __init__(self, client: Any, fields: dict[str, Any], *, is_automatic: bool = False) -> None:
        self._client = client
        self._fields = fields
        self._is_automatic = is_automatic
        self._names: tuple[str, ...] = ()
        self._request = client.request
        self._copy = client.copy
        self._may_ask_for_usage = True
        self._url: tuple[object, str] = (None, "")

    def install(self, *, is_async: bool) -> None:
        """Put the hooks into the client."""
        client = self._client
        hooks: dict[str, Any] = {_MARK: self, "request": self.request_async if is_async else self.request}
        hooks["copy"] = hooks["with_options"] = self._copy_tracked
        hooks |= hooks_of_retries(client, is_async=is_async)
        for name, hook in hooks.items():
            setattr(client, name, hook)
        self._names = tuple(hooks)
        sockets.watch_doors(type(client))

    def uninstall(self) -> None:
        """Take the hooks out again, unless the product itself asked for them."""
        if self._is_automatic:
            for name in self._names:
                vars(self._client).pop(name, None)

    def adopt(self, fields: dict[str, Any]) -> bool:
        """Make what came by itself the product's own; says whether it did."""
        is_automatic, self._is_automatic = self._is_automatic, False
        if is_automatic:
            self._fields = fields
        return is_automatic

    def derive(self, fields: dict[str, Any]) -> Any:
        """Make a client with further fields over the same connections."""
        return track(self._copy(), **merge(self._fields, fields))

    def _copy_tracked(self, *arguments: Any, **options: Any) -> Any:
        made = self._copy(*arguments, **options)
        if not self._is_automatic:
            return track(made, **self._fields)
        return made  # it is found at its first request, and let go with the others

    def request(self, cast_to: Any, options: Any, **arguments: Any) -> Any:
        """Stand in for `OpenAI.request`."""
        return self.run(self._request, cast_to, options, arguments)

    async def request_async(self, cast_to: Any, options: Any, **arguments: Any) -> Any:
        """Stand in for `AsyncOpenAI.request`."""
        return await self.run_async(self._request, cast_to, options, arguments)

    def run(self, send: Callable[..., Any], cast_to: Any, options: Any, arguments: dict[str, Any]) -> Any:
        """Send a request and record it."""
        call = self._begin(options, is_streamed=bool(arguments.get("stream")))
        if call is None:
            return send(cast_to, options, **arguments)
        token = CURRENT.set(call)
        try:
            try:
                result = send(cast_to, options, **arguments)
            except Exception as error:
                if not self._is_refusal(error, call):
                    raise
                _ask_no_more(options, call)
                result = send(cast_to, options, **arguments)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            CURRENT.reset(token)
        _settle(call, result)
        return result

    async def run_async(self, send: Callable[..., Any], cast_to: Any, options: Any, arguments: dict[str, Any]) -> Any:
        """Send a request and record it."""
        call = self._begin(options, is_streamed=bool(arguments.get("stream")))
        if call is None:
            return await send(cast_to, options, **arguments)
        token = CURRENT.set(call)
        try:
            try:
                result = await send(cast_to, options, **arguments)
            except Exception as error:
                if not self._is_refusal(error, call):
                    raise
                _ask_no_more(options, call)
                result = await send(cast_to, options, **arguments)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            CURRENT.reset(token)
        _settle(call, result)
        return result

    def begin(self, operation: Operation, body: Mapping[str, Any], said: dict[str, Any], *, is_streamed: bool) -> Call:
        """Make the record of a call of this client."""
        url, named = self._address(), capture.named_hosts()[0]
        is_azure = hasattr(self._client, "_api_version")
        provider = "azure" if is_azure else provider_of(url, str(body.get("model") or ""), named)
        asked = _read(body)
        if operation.takes_files:  # which are not read: two uploads are not the same prompt
            asked = asked._replace(prompt_hash=None, prefix_hash=None, prompt_blocks=None)
        call = Call(operation, provider, asked, is_streamed=is_streamed, fields=said)
        call.host = host_of(url)
        call.units = units_of(operation, body)
        call.add_defaults(self._fields)
        if capture.takes_user_of_request() and not call.has_user:
            call.add_fields(_user_of(body))
        return call

    def _address(self) -> str:
        """The client's base URL as text, which may be set anew at any time; httpx writes it out at each request."""
        url = self._client.base_url
        if url is not self._url[0]:
            self._url = url, str(url)
        return self._url[1]

    def _begin(self, options: Any, *, is_streamed: bool) -> Call | None:
        """Prepare the record of a call; None where there is nothing to record, or by a fault of ours."""
        said = _take_fields(options)
        try:
            operation = operation_at(options.method, options.url)
            response_id = response_at(options.method, options.url) if operation is None else None
            if (operation is None and response_id is None) or not capture.is_on():
                return None
            if operation is None:
                return self._look_for(str(response_id), said, is_streamed=is_streamed)
            body = _body_of(options)
            call = self.begin(operation, body, said, is_streamed=is_streamed)
            may_ask = operation.takes_stream_options and self._may_ask_for_usage and call.provider not in _NEVER_ASKED
            if is_streamed and may_ask:
                _ask_for_usage(options, body, call)
            _watch_parser(options, call)
            return call.keep() if is_streamed and body.get("background") is not True else call
        except Exception as error:  # noqa: BLE001 -- a fault of ours falls back to the plain call
            report(error)
            return None

    def _look_for(self, response_id: str, said: dict[str, Any], *, is_streamed: bool) -> Call:
        """Prepare the record of a response that was asked for before, in this process or in another."""
        call = self.begin(RESPONSES, {}, said, is_streamed=is_streamed)
        call.is_retrieval = True
        asking = background_responses.asked_by(response_id)
        if asking is not None:
            call.continue_from(asking)
        return call

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
    response = getattr(result, "http_response", None) or getattr(result, "response", result)
    if not response.is_stream_consumed and not response.is_closed:
        watch_response(response, call)
        return
    _see_whole(call, json.loads(response.content) if is_json(response.headers.get("content-type", "")) else {})
    call.finish()
