"""`record_response`: records an answer that is at hand already, whoever asked for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ingest.notices import Notices
from ingest.record import capture
from ingest.record.context import check_fields, current_fields, merge
from ingest.tracking import seen
from ingest.tracking.emit import emit, report
from ingest.tracking.makers.dialects import dialect_of
from ingest.tracking.makers.gemini import GeminiAnswer
from ingest.tracking.provider import short_name
from ingest.tracking.usage import plain, read_usage, view
from pricing.names import maker_of

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

    from ingest.tracking.answer import Answer

_NOTICES = Notices()
_CREATED = ("created", "created_at", "create_time", "createTime")
NO_USAGE_FLAG = "usage:unknown"


def record_response(response: Any, **fields: Any) -> uuid.UUID | None:
    """Record an answer of a model that is at hand, with what it says it used.

    An answer is recorded once: what `track`, a callback or an earlier call of this function has recorded is left out,
    by the provider's id of the answer. Across processes the time of the answer belongs to that too: OpenAI and Vertex
    AI write it into the answer, for others pass `created_at`.

    Args:
        response: An answer of OpenAI's API (chat, responses, embeddings, …), Anthropic's `Message` or an item of the
            results of a batch, an answer of google-genai, of Bedrock's `converse`, of LiteLLM, or any of these as a
            dictionary.
        **fields: Arguments of `record_usage`, such as `user_id`; they win over what the answer says.

    Returns:
        The event's id; None where nothing was recorded: the answer is recorded already, it is a failure of a batch,
        which costs nothing, nobody knows what it is, or recording is off.

    Raises:
        TypeError: A field is not an argument of `record_usage`.
    """
    check_fields(fields)
    if not capture.is_on():
        return None
    try:
        return _record(response, fields)
    except Exception as error:  # noqa: BLE001 -- a fault of ours is not the caller's
        report(error)
        return None


def _record(response: Any, fields: dict[str, Any]) -> uuid.UUID | None:
    result = view(view(response).get("result")) if "custom_id" in view(response) else {}  # an item of a batch
    if result.get("type", "succeeded") != "succeeded":
        return None
    answered = result.get("message", response)
    kind = dialect_of(answered)
    if kind is None:
        _NOTICES.warn("record_response", f"record_response does not know what a {type(response).__name__} is")
        return None
    answer = kind()
    answer.add_whole(answered)
    said = merge(current_fields(), fields)
    measured = _describe(answered, answer)
    counted = _count(answer, {**measured, **{name: value for name, value in said.items() if value is not None}})
    if result:
        counted["service_tier"] = "batch"
    return record_answer(measured, counted, said, answer.response_id)


def record_answer(
    measured: dict[str, Any], counted: dict[str, Any], said: Mapping[str, Any], response_id: str | None
) -> uuid.UUID | None:
    """Record what is known of an answer by who was told of it, unless it is recorded already.

    Args:
        measured: What was measured, as arguments of `record_usage`; its `created_at` may be None.
        counted: What was used, as `read_usage` returns it.
        said: What the product says of the call.
        response_id: The provider's id of the answer.

    Returns:
        The event's id; None where the answer is recorded already.
    """
    from ingest.record.event_id import derive_event_id, new_id, resolve_identity  # most of `import ingest` otherwise

    known = said.get("response_id") or response_id
    if known is not None and not seen.told_of(str(known)):
        return None
    identity = resolve_identity(None, said.get("created_at") or measured.get("created_at"))
    made_at = datetime.now(UTC) if identity is None else datetime.fromisoformat(identity[1])
    event_id = said.get("event_id") or (new_id() if known is None else derive_event_id(made_at, f"answer:{known}"))
    fields = {"user_id": None, "attempt": 1, **measured, "response_id": response_id}
    emit(fields, counted, {**said, "event_id": event_id, "created_at": made_at})
    return event_id if not isinstance(event_id, str) else None


def _describe(answered: Any, answer: Answer) -> dict[str, Any]:
    everything = plain(answered)
    hidden = view(everything.get("_hidden_params") or getattr(answered, "_hidden_params", None))
    gateway = hidden.get("custom_llm_provider")  # LiteLLM's
    model = answer.model or _model_of(everything)
    maker = maker_of(model) if answer.maker == "openai" and model is not None else None
    error = answer.error_type
    described = {
        "model": model or "unknown",
        "provider": short_name(gateway) if isinstance(gateway, str) else maker or answer.maker,
        "operation": _operation_of(everything, answer),
        "status": "error" if error else "cancelled" if answer.is_cancelled else "ok",
        "error_type": error,
        "finish_reason": answer.finish_reason,
        "created_at": next((everything[name] for name in _CREATED if everything.get(name) is not None), None),
    }
    if answer.service_tier is not None:
        described["service_tier"] = answer.service_tier
    return described


def _model_of(everything: Mapping[str, Any]) -> str | None:
    model = everything.get("model")
    return model if isinstance(model, str) and model else None


def _operation_of(everything: Mapping[str, Any], answer: Answer) -> str:
    if everything.get("object") == "response":
        return "responses"
    if isinstance(answer, GeminiAnswer) and "embeddings" in everything:
        return "embeddings"
    data = everything.get("data")
    first = view(data[0]) if isinstance(data, list | tuple) and data else {}
    if "embedding" in first or "embeddings" in everything:
        return "embeddings"
    return "completions" if everything.get("object") == "text_completion" else "chat"


def _count(answer: Answer, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the answer used; where it does not say, its cost is unknown."""
    trusted = frozenset(capture.named_hosts()[1])
    operation, provider = str(fields["operation"]), str(fields["provider"])
    counted = (
        read_usage(
            answer.usage,
            provider=provider,
            model=str(fields["model"]),
            operation=operation,
            answer=answer.report(operation),
            is_cost_trusted=provider in trusted,
        )
        or {}
    )
    total = counted.pop("total_tokens", None)
    if "prompt_tokens" in counted or "prompt_tokens" in fields:
        return counted
    if total is not None and operation == "embeddings":
        return {**counted, "prompt_tokens": total, "completion_tokens": 0}
    flags = [*counted.get("flags", ()), NO_USAGE_FLAG]
    return {**counted, "prompt_tokens": 0, "completion_tokens": 0, "usage_source": "heuristic", "flags": flags}
