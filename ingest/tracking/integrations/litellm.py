"""Records what LiteLLM calls: `litellm.callbacks = [TreeringLogger()]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from litellm.integrations.custom_logger import CustomLogger

from ingest.record import capture
from ingest.record.context import check_context
from ingest.tracking.emit import report
from ingest.tracking.integrations import told
from ingest.tracking.provider import short_name
from ingest.tracking.usage import plain, view

if TYPE_CHECKING:
    from datetime import datetime

    from ingest.tracking.call import Call

_PER_CALL: Final = "treering"
_OPERATIONS: Final = {
    "completion": "chat",
    "embedding": "embeddings",
    "image_edit": "images.edit",
    "image_generation": "images.generate",
    "moderation": "moderations",
    "speech": "audio.speech",
    "text_completion": "completions",
    "transcription": "audio.transcription",
}


class TreeringLogger(CustomLogger):  # type: ignore[misc]  # not installed where types are checked
    """A callback of LiteLLM that records each call of a model, sync and async, streamed or not, of any provider.

    Each attempt of a router is a call of its own. An answer from LiteLLM's cache was no call and is left out. What
    `track` or `instrument` records of OpenAI's client is not recorded twice. LiteLLM says nothing to its callbacks of
    a stream that is left before its end: `instrument` and `track_stream` see those.

    One call says its own fields by `metadata={"treering": {...}}`.

    Args:
        **fields: As of `usage_context`, for every call, under what `usage_context` says.

    Raises:
        TypeError: A field is none of `usage_context`.
    """

    def __init__(self, **fields: Any) -> None:
        check_context(fields)
        super().__init__()
        self._calls = told.ToldCalls(fields)

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        """Note who asks: what follows may run elsewhere."""
        try:
            self._begin(str(model), messages, kwargs)
        except Exception as error:  # noqa: BLE001 -- a fault of ours is not LiteLLM's
            report(error)

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Record an answer."""
        try:
            self._succeed(kwargs, response_obj, start_time, end_time)
        except Exception as error:  # noqa: BLE001 -- as above
            report(error)

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:  # noqa: ARG002
        """Record a failure."""
        try:
            call = self._find(kwargs)
            if call is not None:
                call.add_fields(_times(kwargs, start_time, end_time))
                told.fail(call, kwargs.get("exception"))
        except Exception as error:  # noqa: BLE001 -- as above
            report(error)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Record an answer."""
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Record a failure."""
        self.log_failure_event(kwargs, response_obj, start_time, end_time)

    def _begin(self, model: str, messages: Any, kwargs: Mapping[str, Any]) -> Call | None:
        optional = view(kwargs.get("optional_params"))
        call_type = str(kwargs.get("call_type") or "completion")
        kind = call_type.removeprefix("a") if call_type[1:] in _OPERATIONS or call_type == "aresponses" else call_type
        said = view(view(kwargs.get("litellm_params")).get("metadata")).get(_PER_CALL)
        fields = dict(said) if isinstance(said, Mapping) else {}
        user = kwargs.get("user") or optional.get("user")
        if capture.takes_user_of_request() and isinstance(user, str) and user:
            fields.setdefault("user_id", user)
        check_context(fields)
        limits = {name: optional[name] for name in ("max_tokens", "max_completion_tokens") if name in optional}
        return self._calls.begin(
            str(kwargs.get("litellm_call_id")),
            operation=_OPERATIONS.get(kind, kind),
            provider=_provider(kwargs),
            request={"model": model, "messages": messages, "tools": optional.get("tools"), **limits},
            is_streamed=bool(kwargs.get("stream") or optional.get("stream")),
            said=fields,
        )

    def _find(self, kwargs: Mapping[str, Any]) -> Call | None:
        call = self._calls.end(str(kwargs.get("litellm_call_id")))
        if call is not None:
            return call
        key = str(kwargs.get("litellm_call_id"))
        self._begin(str(kwargs.get("model") or "unknown"), kwargs.get("messages"), kwargs)
        return self._calls.end(key)

    def _succeed(self, kwargs: Mapping[str, Any], response: Any, start_time: Any, end_time: Any) -> None:
        if kwargs.get("cache_hit"):
            self._calls.end(str(kwargs.get("litellm_call_id")))
            return
        whole = kwargs.get("async_complete_streaming_response") or kwargs.get("complete_streaming_response")
        is_streamed = bool(kwargs.get("stream"))
        if is_streamed and whole is None:
            return  # a chunk
        call = self._find(kwargs)
        if call is None:
            return
        answered = whole or response
        call.is_streamed = is_streamed
        call.add_fields(_times(kwargs, start_time, end_time))
        told.take_whole(call, answered)
        provider = _provider(kwargs)
        if provider:
            call.provider = short_name(provider)
        if is_streamed and _is_estimated(answered, kwargs):
            call.add_fields({"usage_source": "tokenizer"})
        call.finish()


def _provider(kwargs: Mapping[str, Any]) -> str | None:
    found = kwargs.get("custom_llm_provider") or view(kwargs.get("litellm_params")).get("custom_llm_provider")
    return found if isinstance(found, str) and found else None


def _is_estimated(answered: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether LiteLLM itself has counted the tokens, as the provider was not asked to report them in the stream."""
    asked = view(view(kwargs.get("optional_params")).get("stream_options")).get("include_usage")
    usage = plain(plain(answered).get("usage"))
    return not asked and usage.get("prompt_tokens_details") is None


def _times(kwargs: Mapping[str, Any], start: datetime, end: datetime) -> dict[str, Any]:
    first = kwargs.get("completion_start_time") if kwargs.get("stream") else None
    return {
        "created_at": start.astimezone(),  # LiteLLM's times have no zone and are local
        "latency_ms": round((end - start).total_seconds() * 1000, 3),
        "time_to_first_token_ms": None if first is None else round((first - start).total_seconds() * 1000, 3),
    }
