"""Streams that other code opened: what they are of, and the call that stands for each."""

from __future__ import annotations

from types import AsyncGeneratorType, GeneratorType
from typing import Any

from ingest.record import capture
from ingest.tracking import streams
from ingest.tracking.call import Call
from ingest.tracking.emit import report
from ingest.tracking.makers.dialects import UnknownAnswer
from ingest.tracking.makers.messages import MessageAnswer
from ingest.tracking.provider import host_of, provider_at, provider_of, short_name
from ingest.tracking.request import Asked


def source_of(stream: Any) -> Any:
    """Return the stream of a client library behind a helper: Anthropic's message streams and their `text_stream`."""
    try:
        for holder in (stream, _maker_of_generator(stream)):
            raw = getattr(holder, "_raw_stream", None)
            if raw is not None and streams.is_library_stream(raw):
                return raw
    except Exception as error:  # noqa: BLE001 -- a stranger's object may do anything
        report(error)
    return stream


def is_text_of(stream: Any, source: Any) -> bool:
    """Whether a stream is the bare text of `source`."""
    return stream is not source and isinstance(stream, GeneratorType | AsyncGeneratorType)


def call_for(stream: Any, fields: dict[str, Any]) -> Call:
    """The call of a stream: the one it has, or a new one, which is mute where recording is off. Never raises."""
    call = streams.call_of(stream)
    if call is not None:
        call.add_fields(fields)
        return call
    if not capture.is_on():
        return Call("chat", "openai", Asked(), is_streamed=True).mute()
    try:
        return _open(stream, fields).keep()
    except Exception as error:  # noqa: BLE001 -- a fault of ours is not the caller's
        report(error)
        return Call("chat", "openai", Asked(), is_streamed=True, fields=fields)


def _open(stream: Any, fields: dict[str, Any]) -> Call:
    response = getattr(stream, "response", None)
    url = str(response.request.url) if response is not None and hasattr(response, "request") else ""
    path = url.partition("?")[0]
    if not url:
        said = getattr(stream, "custom_llm_provider", None)  # LiteLLM's streams
        provider = short_name(said) if isinstance(said, str) else ""
        model = getattr(stream, "model", None)
        opened = Call(
            "chat",
            provider,
            Asked(model=model) if isinstance(model, str) and model else Asked(),
            is_streamed=True,
            fields=fields,
        )
        opened.answer = UnknownAnswer(opened)
        return opened
    operation = "responses" if path.endswith("/responses") else "chat"
    named = capture.named_hosts()[0]
    if type(stream).__module__.partition(".")[0] == "anthropic":
        provider, answer = provider_at(url, MessageAnswer.maker, named), MessageAnswer()
        opened = Call("chat", provider, Asked(), is_streamed=True, fields=fields, answer=answer)
    else:
        opened = Call(operation, provider_of(url, named=named), Asked(), is_streamed=True, fields=fields)
    opened.host = host_of(url)
    return opened


def _maker_of_generator(stream: Any) -> Any:
    """The object whose method a generator runs."""
    frame = getattr(stream, "gi_frame", None) or getattr(stream, "ag_frame", None)
    return frame.f_locals.get("self") if frame is not None else None
