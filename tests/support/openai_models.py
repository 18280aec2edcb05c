"""A server's answers as a model gives them: a tool is called once where one is offered, then comes the text."""

from __future__ import annotations

import json
from typing import Any

from tests.support.openai_server import RESPONSE, USAGE, WORDS, Reply, chunk, completion, document, events, frames

ARGUMENTS = '{"plant":"fern"}'  # every tool of the tests takes this
TEXT = "".join(WORDS)


def answer_as_model(path: str, body: dict[str, Any], text: str = TEXT) -> Reply:
    """Answer a chat completion or a response, streamed or not."""
    words = WORDS if text == TEXT else (text,)
    if path.endswith("/responses"):
        return _response(body, words)
    name = _tool_to_call(body)
    if body.get("stream"):
        return _chat_stream(body, name, words)
    if name is None:
        return document(completion(text))
    function = {"name": name, "arguments": ARGUMENTS}
    message = {"role": "assistant", "content": None,
               "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}  # fmt: skip
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
    return document(completion(choices=[choice]))


def _tool_to_call(body: dict[str, Any]) -> str | None:
    tools = [tool.get("function", tool) for tool in body.get("tools") or ()]
    said = [*(body.get("messages") or ()), *(body["input"] if isinstance(body.get("input"), list) else ())]
    has_result = any(part.get("role") == "tool" or part.get("type") == "function_call_output" for part in said)
    return str(tools[0]["name"]) if tools and not has_result else None


def _chat_stream(body: dict[str, Any], name: str | None, words: tuple[str, ...]) -> Reply:
    asks = bool((body.get("stream_options") or {}).get("include_usage"))
    extra: dict[str, Any] = {"usage": None} if asks else {}
    if name is None:
        chunks = [chunk(word, **extra) for word in words]
    else:
        function = {"name": name, "arguments": ARGUMENTS}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        delta = {"role": "assistant", "content": None, "tool_calls": [call]}
        chunks = [chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}], **extra)]
    chunks.append(chunk(finish="stop" if name is None else "tool_calls", **extra))
    if asks:
        chunks.append(chunk(choices=[], usage=USAGE))
    return Reply(frames(chunks))


def _response(body: dict[str, Any], words: tuple[str, ...]) -> Reply:
    name = _tool_to_call(body)
    item: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "".join(words), "annotations": []}],
    }  # fmt: skip
    if name is not None:
        item = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": name, "arguments": ARGUMENTS,
                "status": "completed"}  # fmt: skip
    whole = {**RESPONSE, "service_tier": "default", "output": [item], "tools": body.get("tools") or []}
    if not body.get("stream"):
        return document(whole)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    parts: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    empty: dict[str, Any] = {**item, "status": "in_progress"}
    empty["content" if name is None else "arguments"] = [] if name is None else ""
    parts.append({"type": "response.output_item.added", "output_index": 0, "item": empty})
    where = {"item_id": item["id"], "output_index": 0}
    if name is None:
        part = {"type": "output_text", "text": "", "annotations": []}
        parts.append({"type": "response.content_part.added", **where, "content_index": 0, "part": part})
        kind = "response.output_text.delta"
        parts += [{"type": kind, **where, "content_index": 0, "delta": word, "logprobs": []} for word in words]
        text = item["content"][0]["text"]
        kind = "response.output_text.done"
        parts.append({"type": kind, **where, "content_index": 0, "text": text, "logprobs": []})
        part = item["content"][0]
        parts.append({"type": "response.content_part.done", **where, "content_index": 0, "part": part})
    else:
        parts.append({"type": "response.function_call_arguments.delta", **where, "delta": ARGUMENTS})
        kind = "response.function_call_arguments.done"
        parts.append({"type": kind, **where, "name": name, "arguments": ARGUMENTS})
    parts.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    parts.append({"type": "response.completed", "response": whole})
    return Reply(events(json.loads(json.dumps({**each, "sequence_number": at})) for at, each in enumerate(parts)))
