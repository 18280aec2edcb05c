"""Records calls of models from OpenTelemetry's spans: `BatchSpanProcessor(TreeringSpanExporter())`.

Read are the conventions of `gen_ai.*` up to 1.36, 1.37 to 1.41 and those of their own repository since
(https://github.com/open-telemetry/semantic-conventions-genai), and OpenInference's `llm.*`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ingest.record import capture
from ingest.record.context import CONTEXT_FIELDS, check_context, current_fields, merge
from ingest.tracking.emit import report
from ingest.tracking.makers.words import finish_reason
from ingest.tracking.provider import short_name
from ingest.tracking.response import NO_USAGE_FLAG, record_answer
from ingest.tracking.usage import read_usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

# Tools, agents and workflows contain calls of models, which have spans of their own.
_OPERATIONS: Final = {
    "chat": "chat",
    "generate_content": "chat",
    "text_completion": "completions",
    "embeddings": "embeddings",
}
_KINDS: Final = {"LLM": "chat", "EMBEDDING": "embeddings"}
_NAMES: Final = {
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "model": ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "embedding.model_name"),
    "response_id": ("gen_ai.response.id",),
    "service_tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
    "user_id": ("enduser.id", "user.id"),
    "session_id": ("gen_ai.conversation.id", "session.id"),
}
_COUNTS: Final = {
    "prompt_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "completion_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
    "total_tokens": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"),
}
_INPUT: Final = {
    "cached_tokens": (
        *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        *("gen_ai.usage.input_tokens.cached", "llm.token_count.prompt_details.cache_read"),
    ),
    "cache_write_tokens": (
        *("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
        *("gen_ai.usage.cache_creation_input_tokens", "llm.token_count.prompt_details.cache_write"),
    ),
    "audio_tokens": ("llm.token_count.prompt_details.audio",),
}
_OUTPUT: Final = {
    "reasoning_tokens": (
        *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
        *("gen_ai.usage.output_tokens.reasoning", "llm.token_count.completion_details.reasoning"),
    ),
    "audio_tokens": ("llm.token_count.completion_details.audio",),
}
_OWN: Final = "treering."
_TAGS: Final = "treering.tags."
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TreeringSpanExporter(SpanExporter):
    """An exporter that records the span of each call of a model and leaves all others alone.

    A span is recorded once, however often it is exported; so is an answer that `track` or a callback records as well,
    where the span tells the provider's id of it (`gen_ai.response.id`). User and session come from `enduser.id` or
    `user.id`, `gen_ai.conversation.id` or `session.id`; attributes such as `treering.feature`, `treering.tenant_id` and
    `treering.tags.plan` say the rest.

    Args:
        **fields: As of `usage_context`, for every call, under what its span says.

    Raises:
        TypeError: A field is none of `usage_context`.
    """

    def __init__(self, **fields: Any) -> None:
        check_context(fields)
        self._fields = fields

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Record the calls of models among `spans`."""
        if capture.is_on():
            for span in spans:
                try:
                    self._record(span)
                except Exception as error:  # noqa: BLE001 -- a fault of ours is not the pipeline's
                    report(error)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing waits here: events are in the journal."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what was recorded."""
        return capture.flush(timeout_millis / 1000)

    def _record(self, span: ReadableSpan) -> None:
        attributes = span.attributes or {}
        operation = _operation_of(attributes)
        if operation is None or span.context is None or span.start_time is None:
            return
        known = {name: _first(attributes, *names) for name, names in _NAMES.items()}
        provider = short_name(str(known["provider"] or "openai"))
        started_at = _EPOCH + timedelta(microseconds=span.start_time // 1000)
        error = attributes.get("error.type") or (None if span.status.is_ok or span.status.is_unset else "error")
        measured = {
            "model": str(known["model"] or "unknown"),
            "provider": provider,
            "operation": operation,
            "streamed": bool(attributes.get("gen_ai.request.stream")),
            "status": "error" if error else "ok",
            "error_type": error,
            "finish_reason": _reason(attributes),
            "latency_ms": None if span.end_time is None else (span.end_time - span.start_time) / 1e6,
            "time_to_first_token_ms": _milliseconds(attributes.get("gen_ai.response.time_to_first_chunk")),
            "max_output_tokens": attributes.get("gen_ai.request.max_tokens"),
            "service_tier": known["service_tier"],
            "created_at": started_at,
        }
        told = {name: known[name] for name in ("user_id", "session_id") if known[name] is not None}
        told |= {name: attributes[_OWN + name] for name in CONTEXT_FIELDS if _OWN + name in attributes}
        tags = {name.removeprefix(_TAGS): value for name, value in attributes.items() if name.startswith(_TAGS)}
        if tags:
            told["tags"] = tags
        said = merge(merge(self._fields, current_fields()), told)
        response_id = str(known["response_id"]) if known["response_id"] else None
        if response_id is None:
            from ingest.record.event_id import derive_event_id

            key = f"span:{span.context.trace_id:032x}:{span.context.span_id:016x}"
            said["event_id"] = derive_event_id(started_at, key)
        record_answer(measured, _count(attributes, measured), said, response_id)


def _operation_of(attributes: Mapping[str, Any]) -> str | None:
    """What a span is of; None where it is no call of a model."""
    name = attributes.get("gen_ai.operation.name")
    if name is not None:
        return _OPERATIONS.get(str(name))
    kind = attributes.get("openinference.span.kind")
    if kind is not None:
        return _KINDS.get(str(kind).upper())
    is_asked = "gen_ai.request.model" in attributes and "gen_ai.system" in attributes
    return "chat" if is_asked and _first(attributes, *_COUNTS["prompt_tokens"]) is not None else None


def _count(attributes: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    """What was used; where nothing tells, the cost is unknown, or none where the call failed."""
    usage = _read(attributes, _COUNTS)
    usage |= {"prompt_tokens_details": _read(attributes, _INPUT)}
    usage |= {"completion_tokens_details": _read(attributes, _OUTPUT)}
    counted = read_usage(usage, provider=measured["provider"], model=measured["model"], operation=measured["operation"])
    counted = counted or {}
    counted.pop("total_tokens", None)
    if "prompt_tokens" in counted:
        return counted
    unknown: dict[str, Any] = {"prompt_tokens": 0, "completion_tokens": 0}
    if measured["status"] == "error":
        return unknown
    return {**unknown, "usage_source": "heuristic", "flags": [NO_USAGE_FLAG]}


def _read(attributes: Mapping[str, Any], names: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    found = {name: _first(attributes, *aliases) for name, aliases in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def _first(attributes: Mapping[str, Any], *names: str) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) not in (None, "")), None)


def _reason(attributes: Mapping[str, Any]) -> str | None:
    reasons = attributes.get("gen_ai.response.finish_reasons") or ()
    return finish_reason(reasons if isinstance(reasons, str) else next(iter(reasons), None))


def _milliseconds(seconds: Any) -> float | None:
    return round(seconds * 1000, 3) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None
