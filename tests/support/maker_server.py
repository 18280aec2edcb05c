"""A server on loopback that answers as Anthropic, Google and Amazon Bedrock do, each in its own protocol."""

from __future__ import annotations

import binascii
import json
import struct
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tests.support.openai_server import OpenAIServer, Reply, answer_as_openai, document, events, frames

if TYPE_CHECKING:
    from collections.abc import Iterable

WORDS = ("Water", " your", " living", " tree", ".")
CLAUDE = "claude-sonnet-4-5-20250929"
# Of 129 input tokens, 100 were read from the cache and 8 written to it.
CLAUDE_USAGE = {"input_tokens": 21, "cache_creation_input_tokens": 8, "cache_read_input_tokens": 100,
                "output_tokens": 5, "service_tier": "standard"}  # fmt: skip
GEMINI = "gemini-2.5-flash"
# Thoughts are output: 5 + 7.
GEMINI_USAGE = {"promptTokenCount": 21, "cachedContentTokenCount": 8, "candidatesTokenCount": 5,
                "thoughtsTokenCount": 7, "totalTokenCount": 33}  # fmt: skip
BEDROCK = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
BEDROCK_USAGE = {"inputTokens": 21, "outputTokens": 5, "totalTokens": 134, "cacheReadInputTokens": 100,
                 "cacheWriteInputTokens": 8}  # fmt: skip
REQUEST_ID = {"x-amzn-requestid": "request-1"}
TOKEN_HEADERS = {
    **REQUEST_ID,
    "x-amzn-bedrock-input-token-count": "21",
    "x-amzn-bedrock-output-token-count": "5",
}


class MakerServer(OpenAIServer):
    """Answers by the path that is asked."""

    def __init__(self, *script: Reply) -> None:
        super().__init__(*script)
        self.answer = self._answer_as_maker

    @property
    def root(self) -> str:
        """Address without a path."""
        return self.url.removesuffix("/v1")

    def _answer_as_maker(self, path: str, body: dict[str, Any]) -> Reply:
        name = unquote(path)
        if path.endswith("/v1/messages"):
            return Reply(events(message_events())) if body.get("stream") else document(message())
        if name.endswith("/count_tokens"):
            return document({"input_tokens": 21})
        if ":" in name and "/models/" in name:
            return _answer_as_gemini(name.rpartition(":")[2], name)
        if path.startswith("/model/"):
            return _answer_as_bedrock(name)
        return answer_as_openai(path, body)


def message(**fields: Any) -> dict[str, Any]:
    """Make a whole message of Anthropic's."""
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE,
        "content": [{"type": "text", "text": "Water your living tree."}],
        "stop_reason": "end_turn", "stop_sequence": None, "usage": CLAUDE_USAGE, **fields,
    }  # fmt: skip


def message_events(*, usage: dict[str, Any] | None = None, reason: str = "end_turn") -> list[dict[str, Any]]:
    """Make the events of a message: the first tells one token of output, the last but one all of them."""
    start = message(content=[], stop_reason=None, usage={**CLAUDE_USAGE, "output_tokens": 1})
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in WORDS
    ]
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None},
         "usage": usage or {"output_tokens": 5}},
        {"type": "message_stop"},
    ]  # fmt: skip


def tool_events() -> list[dict[str, Any]]:
    """Make the events of a message that calls a tool."""
    start, *_, stop = message_events()
    call = {"type": "tool_use", "id": "toolu_1", "name": "water", "input": {}}
    parts = ('{"ml"', ": 50}")
    return [
        start,
        {"type": "content_block_start", "index": 0, "content_block": call},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": part}}
          for part in parts),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
         "usage": {"output_tokens": 30}},
        stop,
    ]  # fmt: skip


def generation(text: str | None = None, *, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """Make an answer of Gemini's, whole or a chunk of one."""
    candidate: dict[str, Any] = {"index": 0}
    if text is not None:
        candidate["content"] = {"role": "model", "parts": [{"text": text}]}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": GEMINI, "responseId": "resp_g1", **fields}


def generation_chunks() -> list[dict[str, Any]]:
    """Make the chunks of an answer: each tells the tokens until then."""
    counts = [{**GEMINI_USAGE, "candidatesTokenCount": number} for number in range(1, len(WORDS) + 1)]
    chunks = [generation(word, usageMetadata=count) for word, count in zip(WORDS, counts, strict=True)]
    chunks[-1]["candidates"][0]["finishReason"] = "STOP"
    return chunks


def _answer_as_gemini(method: str, path: str) -> Reply:
    if method == "streamGenerateContent":
        return Reply(frames(generation_chunks(), done=False))
    if method == "generateContent":
        return document(generation("Water your living tree.", finish="STOP", usageMetadata=GEMINI_USAGE))
    if method == "countTokens":
        return document({"totalTokens": 21})
    if method == "predict" and "/projects/" in path:
        statistics = {"token_count": 7, "truncated": False}
        return document({"predictions": [{"embeddings": {"values": [0.25, -0.5], "statistics": statistics}}]})
    return document({"embeddings": [{"values": [0.25, -0.5]}]})


def event_frames(parts: Iterable[dict[str, Any]]) -> tuple[bytes, ...]:
    """Encode events as Amazon's event stream does, one of a name and a document each."""
    return tuple(event_frame(name, value) for part in parts for name, value in part.items())


def event_frame(name: str, value: Any, kind: str = "event") -> bytes:
    """Encode one event: lengths, CRC, headers, JSON, CRC."""
    label = ":event-type" if kind == "event" else ":exception-type"
    headers = b"".join(
        struct.pack("!B", len(key)) + key.encode() + struct.pack("!BH", 7, len(text)) + text.encode()
        for key, text in ((":message-type", kind), (label, name), (":content-type", "application/json"))
    )
    payload = json.dumps(value).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack("!I", binascii.crc32(prelude))
    rest = headers + payload
    return prelude + rest + struct.pack("!I", binascii.crc32(prelude + rest))


def converse_events() -> list[dict[str, Any]]:
    """Make the events of an answer of `converse_stream`."""
    return [
        {"messageStart": {"role": "assistant"}},
        *({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": word}}} for word in WORDS),
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": BEDROCK_USAGE, "metrics": {"latencyMs": 12}}},
    ]


def converse_answer() -> dict[str, Any]:
    """Make an answer of `converse`."""
    content = [{"text": "Water your living tree."}]
    return {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn",
            "usage": BEDROCK_USAGE, "metrics": {"latencyMs": 12}}  # fmt: skip


def chunk_frames(parts: Iterable[dict[str, Any]]) -> tuple[bytes, ...]:
    """Encode the events of a model's own API as `invoke_model_with_response_stream` passes them on."""
    encoded = (binascii.b2a_base64(json.dumps(part).encode(), newline=False).decode() for part in parts)
    return tuple(event_frame("chunk", {"bytes": text}) for text in encoded)


def event_reply(pieces: tuple[bytes, ...], **options: Any) -> Reply:
    """Make an answer that is an event stream."""
    return Reply(pieces, content_type="application/vnd.amazon.eventstream", **options)


def _answer_as_bedrock(path: str) -> Reply:
    if path.endswith("/converse-stream"):
        return event_reply(event_frames(converse_events()), headers=REQUEST_ID)
    if path.endswith("/converse"):
        return document(converse_answer(), 200, **REQUEST_ID)
    if path.endswith("/invoke-with-response-stream"):
        return event_reply(chunk_frames(message_events()))
    return document(message(), 200, **TOKEN_HEADERS)
