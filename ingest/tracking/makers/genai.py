"""Records every generation and embedding that a client of google-genai asks for, of the Gemini API or Vertex AI."""

from __future__ import annotations

import json
import re
import sys
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from ingest.record import capture
from ingest.record.context import current_fields
from ingest.tracking import abandoned
from ingest.tracking.call import Call
from ingest.tracking.emit import report
from ingest.tracking.makers.gemini import GeminiAnswer
from ingest.tracking.provider import host_of, provider_at
from ingest.tracking.request import Asked, read_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

_MARK: Final = "_treering"
_PATH: Final = re.compile(r"(?:.*/)?(?P<model>[^/?]+):(?P<method>[A-Za-z]+)(?:\?.*)?")
_OPERATIONS: Final = {
    "generateContent": "chat",
    "streamGenerateContent": "chat",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "predict": "embeddings",
}


class _Attempts:
    """The attempts of a call, which this client repeats where it was told to."""

    __slots__ = ("_error", "call")

    def __init__(self, call: Call) -> None:
        self.call = call
        self._error: BaseException | None = None

    def begin(self) -> None:
        if self._error is not None:
            self.call.record_lost_attempt(self._error)
            self.call.begin_attempt()
            self._error = None

    def fail(self, error: BaseException) -> None:
        self._error = error


_CURRENT: ContextVar[_Attempts | None] = ContextVar("treering_generation", default=None)
_OPENED_WITH: ContextVar[Mapping[str, Any] | None] = ContextVar("treering_opened_with", default=None)


def is_client(value: Any) -> bool:
    """Whether it is a client of google-genai, which is not imported to find out."""
    package = sys.modules.get("google.genai")
    return package is not None and isinstance(value, package.Client)


def track_client(client: Any, fields: dict[str, Any]) -> Any:
    """Record the calls of `client`; see `ingest.track`.

    Raises:
        TypeError: It is tracked already and further fields are given: one client cannot be made of another.
    """
    api = client._api_client  # noqa: SLF001 -- the one place through which all calls lead, sync and async
    if getattr(api, _MARK, None) is None:
        tracker = _Tracker(api, fields)
        setattr(api, _MARK, tracker)
        tracker.install(client)
    elif fields:
        raise TypeError("no client can be derived of a genai.Client: use usage_context, or a client of its own")
    return client


class _Tracker:
    """The hooks of one client."""

    def __init__(self, api: Any, fields: dict[str, Any]) -> None:
        self._api = api
        self._fields = fields
        self._request, self._request_async = api.request, api.async_request
        self._stream, self._stream_async = api.request_streamed, api.async_request_streamed

    def install(self, client: Any) -> None:
        api = self._api
        once, once_async = api._request_once, api._async_request_once  # noqa: SLF001 -- one attempt each

        def request_once(*arguments: Any, **options: Any) -> Any:
            attempts = _begin_attempt()
            try:
                return once(*arguments, **options)
            except BaseException as error:
                if attempts is not None:
                    attempts.fail(error)
                raise

        async def request_once_async(*arguments: Any, **options: Any) -> Any:
            attempts = _begin_attempt()
            try:
                return await once_async(*arguments, **options)
            except BaseException as error:
                if attempts is not None:
                    attempts.fail(error)
                raise

        api._request_once, api._async_request_once = request_once, request_once_async  # noqa: SLF001 -- as above
        api.request, api.async_request = self.request, self.request_async
        api.request_streamed, api.async_request_streamed = self.stream, self.stream_async
        client.models.generate_content_stream = _keep_fields(client.models.generate_content_stream)
        client.aio.models.generate_content_stream = _keep_fields_async(client.aio.models.generate_content_stream)

    def request(self, *arguments: Any, **options: Any) -> Any:
        """Stand in for `BaseApiClient.request`."""
        attempts = self._begin(*arguments, **options)
        if attempts is None:
            return self._request(*arguments, **options)
        token = _CURRENT.set(attempts)
        try:
            answer = self._request(*arguments, **options)
        except BaseException as error:
            attempts.call.fail(error)
            raise
        finally:
            _CURRENT.reset(token)
        _settle(attempts.call, answer)
        return answer

    async def request_async(self, *arguments: Any, **options: Any) -> Any:
        """Stand in for `BaseApiClient.async_request`."""
        attempts = self._begin(*arguments, **options)
        if attempts is None:
            return await self._request_async(*arguments, **options)
        token = _CURRENT.set(attempts)
        try:
            answer = await self._request_async(*arguments, **options)
        except BaseException as error:
            attempts.call.fail(error)
            raise
        finally:
            _CURRENT.reset(token)
        _settle(attempts.call, answer)
        return answer

    def stream(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Stand in for `BaseApiClient.request_streamed`, which asks when its first chunk is asked for."""
        stream = self._stream(*arguments, **options)
        attempts = self._begin(*arguments, **options, is_streamed=True)
        if attempts is None:
            yield from stream
            return
        call = attempts.call
        frame = _Frame()
        abandoned.watch(frame, call)  # gone with this generator
        try:
            while True:
                token = _CURRENT.set(attempts)
                try:
                    chunk = next(stream, None)
                finally:
                    _CURRENT.reset(token)
                if chunk is None:
                    break
                call.see(_Chunk(chunk))
                yield chunk
            call.end_of_stream()
        except GeneratorExit:
            call.stop_by_caller()
            raise
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            stream.close()

    async def stream_async(self, *arguments: Any, **options: Any) -> Any:
        """Stand in for `BaseApiClient.async_request_streamed`."""
        attempts = self._begin(*arguments, **options, is_streamed=True)
        if attempts is None:
            return await self._stream_async(*arguments, **options)
        token = _CURRENT.set(attempts)
        try:
            stream = await self._stream_async(*arguments, **options)
        except BaseException as error:
            attempts.call.fail(error)
            raise
        finally:
            _CURRENT.reset(token)
        chunks = _relay(stream, attempts.call)
        abandoned.watch(chunks, attempts.call)
        return chunks

    def _begin(
        self, method: str, path: str, body: dict[str, Any], *_: Any, is_streamed: bool = False, **__: Any
    ) -> _Attempts | None:
        """Prepare the record of a call; None where there is nothing to record, or by a fault of ours."""
        try:
            found = _PATH.fullmatch(path)
            operation = _OPERATIONS.get(found["method"]) if found is not None else None
            if found is None or operation is None or method.lower() != "post" or not capture.is_on():
                return None
            if found["method"] == "predict" and not _embeds(body):
                return None
            url = str(self._api._http_options.base_url or "")  # noqa: SLF001 -- as above
            maker = "vertex_ai" if self._api.vertexai else GeminiAnswer.maker
            provider = provider_at(url, maker, capture.named_hosts()[0]) if url else maker
            asked, said = _read(found["model"], body), dict(_OPENED_WITH.get() or {})
            call = Call(operation, provider, asked, is_streamed=is_streamed, fields=said, answer=GeminiAnswer())
            call.host = host_of(url)
            call.add_defaults(self._fields)
            return _Attempts(call.keep() if is_streamed else call)
        except Exception as error:  # noqa: BLE001 -- a fault of ours falls back to the plain call
            report(error)
            return None


class _Frame:
    """Lives as long as the generator that holds it."""


class _Chunk(dict[str, Any]):
    """A chunk as the answer reads it."""

    def __init__(self, chunk: Any) -> None:
        super().__init__(json.loads(chunk.body) if chunk.body else {})


async def _relay(stream: Any, call: Call) -> AsyncIterator[Any]:
    try:
        async for chunk in stream:
            call.see(_Chunk(chunk))
            yield chunk
        call.end_of_stream()
    except GeneratorExit:
        call.stop_by_caller()
        raise
    except BaseException as error:
        call.fail(error)
        raise
    finally:
        await stream.aclose()


def _keep_fields(open_stream: Any) -> Any:
    """Have a stream, which asks when its first chunk is asked for, know the fields that held when it was opened."""

    @wraps(open_stream)
    def open_with_fields(*arguments: Any, **options: Any) -> Any:
        stream = open_stream(*arguments, **options)
        fields = current_fields() if capture.is_on() else {}
        return _read_with(stream, fields) if fields else stream

    return open_with_fields


def _read_with(stream: Any, fields: Mapping[str, Any]) -> Iterator[Any]:
    try:
        while True:
            token = _OPENED_WITH.set(fields)
            try:
                chunk = next(stream, None)
            finally:
                _OPENED_WITH.reset(token)
            if chunk is None:
                return
            yield chunk
    finally:
        stream.close()


def _keep_fields_async(open_stream: Any) -> Any:
    @wraps(open_stream)
    async def open_with_fields(*arguments: Any, **options: Any) -> Any:
        stream = await open_stream(*arguments, **options)
        fields = current_fields() if capture.is_on() else {}
        return _read_async_with(stream, fields) if fields else stream

    return open_with_fields


async def _read_async_with(stream: Any, fields: Mapping[str, Any]) -> AsyncIterator[Any]:
    try:
        while True:
            token = _OPENED_WITH.set(fields)
            try:
                chunk = await anext(stream, None)
            finally:
                _OPENED_WITH.reset(token)
            if chunk is None:
                return
            yield chunk
    finally:
        await stream.aclose()


def _begin_attempt() -> _Attempts | None:
    attempts = _CURRENT.get()
    if attempts is not None:
        attempts.begin()
    return attempts


def _settle(call: Call, answer: Any) -> None:
    try:
        call.answer.add_whole(_Chunk(answer))
    except Exception as error:  # noqa: BLE001 -- a fault of ours is not the caller's
        report(error)
    call.finish()


def _embeds(body: Mapping[str, Any]) -> bool:
    """Whether a prediction is an embedding of texts: others make images and videos."""
    instances = body.get("instances")
    return isinstance(instances, list) and all(isinstance(item, dict) and "content" in item for item in instances)


def _read(model: str, body: Mapping[str, Any]) -> Asked:
    try:
        contents = [*(body.get("contents") or ()), *_embedded(body)]
        config = body.get("generationConfig")
        limit = config.get("maxOutputTokens") if isinstance(config, dict) else None
        asked = {
            "model": model,
            "tools": body.get("tools"),
            "instructions": body.get("systemInstruction") or body.get("system_instruction"),
            "messages": [_as_message(content) for content in contents],
            "max_tokens": limit,
            "cachedContent": body.get("cachedContent"),
        }
        return read_request(asked, capture.hash_salt() or b"", with_blocks=capture.keeps_blocks())
    except Exception as error:  # noqa: BLE001 -- lone surrogates, circles: the request itself will say so
        report(error)
        return Asked(model=model)


def _embedded(body: Mapping[str, Any]) -> list[Any]:
    single = [body["content"]] if "content" in body else []
    several = [request.get("content") for request in body.get("requests") or ()]
    return [*single, *several, *({"parts": [{"text": item["content"]}]} for item in body.get("instances") or ())]


def _as_message(content: Any) -> Any:
    return {"role": content.get("role"), "content": content.get("parts")} if isinstance(content, dict) else content
