"""Answers of OpenAI's two APIs, each asked for by Python's client and by the `ai` package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tests.support.openai_server import Reply, chunk, completion, document, events, frames

Mode = Literal["generate", "stream", "cancel"]

_TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "water", "arguments": '{"tree":"oak"}'},
}


@dataclass(frozen=True)
class Answered:
    """An answer and how it is asked for.

    Attributes:
        name: What it shows.
        api: chat or responses.
        mode: At once, streamed, or streamed and left after the first word.
        reply: What the server sends.
    """

    name: str
    api: Literal["chat", "responses"]
    mode: Mode
    reply: Reply


def _usage(prompt: int, completion: int, **details: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": details.get("cached", 0),
            "audio_tokens": details.get("audio_input", 0),
        },
        "completion_tokens_details": {
            "reasoning_tokens": details.get("reasoning", 0),
            "audio_tokens": details.get("audio_output", 0),
        },
    }


_CHAT: dict[str, dict[str, Any]] = {
    "plain": {"usage": _usage(21, 5)},
    "cached": {"usage": _usage(2000, 5, cached=1920)},
    "reasoning": {"usage": _usage(21, 705, reasoning=640), "model": "o3-2025-04-16"},
    "audio": {"usage": _usage(121, 55, audio_input=100, audio_output=40), "model": "gpt-4o-audio-preview-2024-12-17"},
    "flex": {"usage": _usage(21, 5), "service_tier": "flex"},
    "length": {"usage": _usage(21, 100), "finish": "length"},
    "filtered": {"usage": _usage(21, 1), "finish": "content_filter"},
    "tools": {"usage": _usage(58, 17), "finish": "tool_calls"},
}


def _chat(mode: Mode, name: str, *, usage: dict[str, Any], finish: str = "stop", **head: Any) -> Answered:
    calls = [_TOOL_CALL] if finish == "tool_calls" else None
    head = {"id": f"chatcmpl-{mode}-{name}", **head}
    if mode == "generate":
        message = {"role": "assistant", "content": None if calls else "Water your living tree.", "tool_calls": calls}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return Answered(
            f"chat {mode} {name}", "chat", mode, document(completion(choices=[choice], usage=usage, **head))
        )
    extra = {**head, "usage": None}
    first = chunk("Water", **extra)
    if calls:
        first["choices"][0]["delta"] = {"tool_calls": [{"index": 0, **_TOOL_CALL}]}
    last = chunk(**{**head, "choices": [], "usage": usage})
    reply = Reply(frames([first, chunk(" your tree.", **extra), chunk(finish=finish, **extra), last]))
    return Answered(f"chat {mode} {name}", "chat", mode, reply)


def _response(mode: Mode, name: str, *, status: str = "completed", **fields: Any) -> Answered:
    text = {"type": "output_text", "text": "Water your living tree.", "annotations": []}
    item: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    if name == "tools":
        call = {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "water"}
        item = {**call, "arguments": '{"tree":"oak"}'}
    whole: dict[str, Any] = {
        "id": f"resp_{mode}_{name}",
        "object": "response",
        "created_at": 1764000000,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **fields,
    }
    if mode == "generate":
        return Answered(f"responses {mode} {name}", "responses", mode, document(whole))
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    place: dict[str, Any] = {"output_index": 0, "item_id": item["id"]}
    delta = {**place, "type": "response.output_text.delta", "content_index": 0, "delta": "Water", "logprobs": []}
    if name == "tools":
        delta = {**place, "type": "response.function_call_arguments.delta", "delta": item["arguments"]}
    empty: dict[str, Any] = {"arguments": ""} if name == "tools" else {"content": []}
    opened = {**item, "status": "in_progress", **empty}
    sent: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        delta,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": f"response.{status}", "response": whole},
    ]
    numbered: list[dict[str, Any]] = [{**event, "sequence_number": number} for number, event in enumerate(sent)]
    return Answered(f"responses {mode} {name}", "responses", mode, Reply(events(numbered)))


def _response_usage(prompt: int, completion: int, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }


_RESPONSES: dict[str, dict[str, Any]] = {
    "plain": {"usage": _response_usage(30, 12)},
    "cached": {"usage": _response_usage(3000, 12, cached=2816)},
    "reasoning": {"usage": _response_usage(30, 412, reasoning=384), "model": "o4-mini-2025-04-16"},
    "flex": {"usage": _response_usage(30, 12), "service_tier": "flex"},
    "incomplete": {"usage": _response_usage(30, 100), "status": "incomplete"},
    "tools": {"usage": _response_usage(61, 18)},
}


def _refusals() -> list[Answered]:
    refused: dict[str, tuple[int, dict[str, Any]]] = {
        "bad request": (400, {"type": "invalid_request_error", "code": None, "param": "messages"}),
        "wrong key": (401, {"type": "invalid_request_error", "code": "invalid_api_key", "param": None}),
        "no such model": (404, {"type": "invalid_request_error", "code": "model_not_found", "param": None}),
        "rate limit": (429, {"type": "requests", "code": "rate_limit_exceeded", "param": None}),
        "server error": (500, {"type": "server_error", "code": None, "param": None}),
    }
    modes: tuple[Mode, ...] = ("generate", "stream")
    return [
        Answered(f"chat {mode} {name}", "chat", mode, document({"error": {"message": "No.", **error}}, status))
        for name, (status, error) in refused.items()
        for mode in modes
    ]


def all_answers() -> list[Answered]:
    """Plain, streamed, with tools, cached, with reasoning, with audio, cut, refused and left: 40 of them."""
    modes: tuple[Mode, ...] = ("generate", "stream")
    answers = [_chat(mode, name, **parts) for mode in modes for name, parts in _CHAT.items()]
    answers += [_response(mode, name, **parts) for mode in modes for name, parts in _RESPONSES.items()]
    answers += _refusals()
    broken = [chunk("Water"), {"error": {"message": "Overloaded.", "type": "server_error", "code": "overloaded"}}]
    answers.append(Answered("chat stream broken", "chat", "stream", Reply(frames(broken, done=False))))
    left = Reply(frames([chunk("Water"), chunk(" your")], done=False), ending="stall")
    answers.append(Answered("chat cancel left", "chat", "cancel", left))
    return answers
