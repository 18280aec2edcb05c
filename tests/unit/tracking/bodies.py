"""Streams as providers send them, each with what must be recorded of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.openai_server import RESPONSE, USAGE, chunk, events, frames


@dataclass(frozen=True)
class Body:
    """A stream and its usage.

    Attributes:
        name: Of the test.
        pieces: Frames.
        expected: Fields of the event.
        path: Which API.
        raises: The error that the client library makes of it.
    """

    name: str
    pieces: tuple[bytes, ...]
    expected: dict[str, Any]
    path: str = "chat"
    raises: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def _counts(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "usage_source": "reported",
        "status": "ok",
        **more,
    }


def _tool(index: int, **function: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "id": "call_1", "type": "function", "function": function}]}


def _choice(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def _response(kind: str, number: int, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "sequence_number": number, "response": {**RESPONSE, **fields}}


def _text(number: int, delta: str) -> dict[str, Any]:
    return {
        "type": "response.output_text.delta", "sequence_number": number, "item_id": "msg_1", "output_index": 0,
        "content_index": 0, "delta": delta, "logprobs": [],
    }  # fmt: skip


_STARTED = _response("response.created", 0, status="in_progress", usage=None, output=[])
_XAI = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 180,
        "completion_tokens_details": {"reasoning_tokens": 150}}  # fmt: skip
_GROQ = {"id": "req_1", "usage": {"queue_time": 0.1, "prompt_tokens": 18, "completion_tokens": 4, "total_tokens": 22}}

BODIES = [
    Body(
        "OpenAI: in a last chunk with empty choices",
        frames([chunk("Hello", usage=None), chunk(finish="stop", usage=None), chunk(choices=[], usage=USAGE)]),
        _counts(21, 5, cached_tokens=8, finish_reason="stop", service_tier="default", model="gpt-4o-2024-08-06"),
    ),
    Body(
        "DeepSeek: in the chunk that ends the choice, cache in fields of its own",
        frames([chunk("Hello"), chunk(finish="stop", usage={
            "prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35, "prompt_cache_hit_tokens": 24,
            "prompt_cache_miss_tokens": 6})]),
        _counts(30, 5, cached_tokens=24),
    ),
    Body(
        "Perplexity: on every chunk, cumulative, with its charge",
        frames([chunk("a", usage={"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}),
                chunk("b", finish="stop", usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11,
                                                 "cost": {"total_cost": 0.00512, "request_cost": 0.005}})]),
        _counts(9, 2, estimated_cost="0.00512", cost_source="provider"),
    ),
    Body("Groq: in x_groq alone", frames([chunk("a"), chunk(finish="stop", x_groq=_GROQ)]), _counts(18, 4)),
    Body(
        "Groq: in x_groq and at the top, counted once",
        frames([chunk("a"), chunk(finish="stop", x_groq=_GROQ, usage=_GROQ["usage"])]),
        _counts(18, 4),
    ),
    Body(
        "before the end, with a later null",
        frames([chunk("a", usage=USAGE), chunk(finish="stop", usage=None), chunk(choices=[], usage=None)]),
        _counts(21, 5),
    ),
    Body(
        "an explicit zero stays",
        frames([chunk(finish="stop"), chunk(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 0,
                                                              "total_tokens": 7})]),
        _counts(7, 0),
    ),
    Body(
        "all zero beside real text, kept and flagged",
        frames([chunk("Hello", finish="stop", usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})]),
        _counts(0, 0, flags=["usage:zero_beside_text"]),
    ),
    Body(
        "the sum alone: the parts are counted",
        frames([chunk("Hello"), chunk(finish="stop", usage={"total_tokens": 24})]),
        _counts(23, 1, usage_source="tokenizer"),
    ),
    Body(
        "xAI: reasoning is left out of the completion",
        frames([chunk("a", finish="stop", usage=_XAI)]),
        _counts(10, 170, reasoning_tokens=150),
    ),
    Body(
        "Gemini: reasoning shows in the sum alone",
        frames([chunk("a", finish="stop", usage={"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 70})]),
        _counts(10, 60, reasoning_tokens=40),
    ),
    Body(
        "Azure's Grok: more cached than prompt",
        frames([chunk("a", finish="stop", usage={"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9,
                                                 "prompt_tokens_details": {"cached_tokens": 163}})]),
        _counts(7, 2, cached_tokens=7, flags=["cached_tokens:above_whole"]),
    ),
    Body(
        "OpenRouter: what it charged",
        frames([chunk("a", finish="stop", model="openai/gpt-4o", usage={
            "prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9, "cost": 0.0000375, "is_byok": False,
            "cost_details": {"upstream_inference_cost": None}})]),
        _counts(7, 2, estimated_cost="0.0000375", cost_source="provider", model="openai/gpt-4o"),
    ),
    Body(
        "OpenRouter: the customer's own key",
        frames([chunk("a", finish="stop", usage={
            "prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9, "cost": 0, "is_byok": True,
            "cost_details": {"upstream_inference_cost": 0.0123}})]),
        _counts(7, 2, estimated_cost="0.0123", cost_source="provider"),
    ),
    Body(
        "Azure: first chunk without choices and model",
        frames([chunk(choices=[], model="", id="", prompt_filter_results=[{"prompt_index": 0}]), chunk("a"),
                chunk(finish="stop"), chunk(choices=[], usage=USAGE)]),
        _counts(21, 5, model="gpt-4o-2024-08-06", response_id="chatcmpl-1"),
    ),
    Body(
        "several choices, one cut short",
        frames([chunk(choices=[_choice(0, {"content": "a"}), _choice(1, {"content": "b"})]),
                chunk(choices=[_choice(0, {}, "length")]), chunk(choices=[_choice(1, {}, "stop")]),
                chunk(choices=[], usage=USAGE)]),
        _counts(21, 5, finish_reason="length"),
    ),
    Body(
        "tool calls",
        frames([chunk(choices=[_choice(0, _tool(0, name="water", arguments=""))]),
                chunk(choices=[_choice(0, _tool(0, arguments='{"ml":50}'))]), chunk(finish="tool_calls"),
                chunk(choices=[], usage=USAGE)]),
        _counts(21, 5, finish_reason="tool_calls"),
    ),
    Body(
        "audio",
        frames([chunk("a", finish="stop"), chunk(choices=[], usage={
            "prompt_tokens": 50, "completion_tokens": 40, "total_tokens": 90,
            "prompt_tokens_details": {"audio_tokens": 30, "cached_tokens": 0},
            "completion_tokens_details": {"audio_tokens": 25, "reasoning_tokens": 0}})]),
        _counts(50, 40, audio_input_tokens=30, audio_output_tokens=25),
    ),
    Body(
        "a tier that is named at the end",
        frames([chunk("a", service_tier="auto"), chunk(finish="stop", service_tier="priority"),
                chunk(choices=[], usage=USAGE, service_tier="priority")]),
        _counts(21, 5, service_tier="priority"),
    ),
    Body(
        "no usage at all",
        frames([chunk("Hello"), chunk(" world"), chunk(finish="stop")]),
        _counts(23, 2, usage_source="tokenizer"),
    ),
    Body("lines that end in CRLF", frames([chunk("a"), chunk(finish="stop", usage=USAGE)], end="\r\n\r\n"),
         _counts(21, 5)),
    Body(
        "an error inside, with usage before it",
        frames([chunk("a", usage=USAGE), {"error": {"message": "secret words", "code": 502}}], done=False),
        _counts(21, 5, status="error", error_type="http_502"),
        raises="APIError",
    ),
    Body(
        "an error inside, without usage",
        frames([chunk("Hello"), {"error": {"message": "secret words", "type": "server_error"}}], done=False),
        _counts(23, 1, status="error", error_type="server_error", usage_source="tokenizer"),
        raises="APIError",
    ),
    Body("an end without an end", frames([chunk("Hello")], done=False),
         _counts(23, 1, status="error", error_type="stream_ended_early", usage_source="tokenizer")),
    Body(
        "Responses: completed",
        events([_STARTED, _text(1, "Water"), _text(2, " it."), _response("response.completed", 3)]),
        _counts(30, 12, cached_tokens=10, cache_write_tokens=4, reasoning_tokens=6, service_tier="flex",
                finish_reason="stop", response_id="resp_1", operation="responses"),
        path="responses",
    ),
    Body(
        "Responses: incomplete",
        events([_STARTED, _text(1, "Water"), _response(
            "response.incomplete", 2, status="incomplete", incomplete_details={"reason": "max_output_tokens"})]),
        _counts(30, 12, finish_reason="length", operation="responses"),
        path="responses",
    ),
    Body(
        "Responses: failed",
        events([_STARTED, _text(1, "Water"), _response(
            "response.failed", 2, status="failed", usage=None, error={"code": "server_error", "message": "secret"})]),
        _counts(15, 1, status="error", error_type="server_error", usage_source="tokenizer", operation="responses"),
        path="responses",
    ),
]  # fmt: skip
