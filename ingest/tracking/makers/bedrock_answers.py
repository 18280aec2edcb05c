"""Answers of Amazon Bedrock: of its own API, `converse`, and of models' own APIs behind `invoke_model`."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any, Final

from ingest.tracking.answer import Answer
from ingest.tracking.makers.messages import MessageAnswer
from ingest.tracking.makers.words import error_kind, finish_reason
from ingest.tracking.usage import view

CONVERSE_EVENTS: Final = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop"}
)
_METRICS: Final = "amazon-bedrock-invocationMetrics"
_HEADERS: Final = (
    ("inputTokens", "x-amzn-bedrock-input-token-count"),
    ("outputTokens", "x-amzn-bedrock-output-token-count"),
    ("cacheReadInputTokens", "x-amzn-bedrock-cache-read-input-token-count"),
    ("cacheWriteInputTokens", "x-amzn-bedrock-cache-write-input-token-count"),
)
_METRIC_NAMES: Final = (
    ("inputTokens", "inputTokenCount"),
    ("outputTokens", "outputTokenCount"),
    ("cacheReadInputTokens", "cacheReadInputTokenCount"),
    ("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
)
# Where Llama, Titan, Mistral, Cohere and Nova put what they wrote and why they stopped.
_TEXTS: Final = ("generation", "outputText", "text", "completion")
_REASONS: Final = ("stop_reason", "stopReason", "completionReason", "finish_reason")


class _BedrockAnswer(Answer):
    maker = "aws"

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.has_other_parts = True  # whose vocabulary it is, is not known here: what is counted is an estimate

    def report(self, operation: str) -> dict[str, Any]:  # noqa: ARG002 -- nothing to tell
        """Nothing that usage does not say."""
        return {}

    def name_error(self, error: BaseException) -> str | None:
        """The code of an error of botocore."""
        return name_client_error(error)

    def add_metadata(self, answer: Any) -> None:
        """Take what came beside the answer: the id of the request."""
        request_id = view(view(answer).get("ResponseMetadata")).get("RequestId")
        if isinstance(request_id, str) and request_id:
            self.response_id = self.response_id or request_id

    def _add_text(self, text: Any) -> None:
        if text:
            self.texts.append(text if isinstance(text, str) else json.dumps(text, default=str))
            if self.first_token_at is None:
                self.first_token_at = self.last_at

    def _add_reason(self, reason: Any) -> None:
        word = finish_reason(reason)
        if word is not None:
            self.finish_reasons.append(word)
            self.is_complete = True


class ConverseAnswer(_BedrockAnswer):
    """An answer of `converse` or `converse_stream`."""

    __slots__ = ()

    def add_chunk(self, chunk: Any) -> bool:
        """Take an event; nothing of it is for this library alone. What is not parsed yet is none."""
        self.last_at = perf_counter()
        if not isinstance(chunk, dict):
            return False
        for name in ("contentBlockDelta", "contentBlockStart"):
            parts = view(view(chunk.get(name)).get("delta") or view(chunk.get(name)).get("start"))
            self._add_text(parts.get("text"))
            self._add_text(view(parts.get("toolUse")).get("input") or view(parts.get("toolUse")).get("name"))
            self._add_text(view(parts.get("reasoningContent")).get("text"))
        if "messageStop" in chunk:
            self._add_reason(view(chunk["messageStop"]).get("stopReason"))
        if "metadata" in chunk:
            self._add_usage(view(chunk["metadata"]))
        return False

    def add_whole(self, answer: Any) -> None:
        """Take an answer that was not streamed."""
        seen = view(answer)
        self.add_metadata(answer)
        for block in view(view(seen.get("output")).get("message")).get("content") or ():
            parts = view(block)
            self._add_text(parts.get("text"))
            self._add_text(view(parts.get("toolUse")).get("input"))
        self._add_reason(seen.get("stopReason"))
        self._add_usage(seen)
        self.is_complete = True

    def _add_usage(self, parts: Any) -> None:
        if parts.get("usage") is not None:
            self.usage = parts["usage"]
        tier = view(parts.get("serviceTier")).get("type")
        if isinstance(tier, str) and tier:
            self.service_tier = tier


class InvokeAnswer(_BedrockAnswer):
    """An answer of `invoke_model` in a model's own words; Bedrock tells the tokens in headers or in the last event."""

    __slots__ = ("_message",)

    def __init__(self) -> None:
        super().__init__()
        self._message: MessageAnswer | None = None

    @property
    def is_partial(self) -> bool:
        """Whether usage tells the input alone so far."""
        return self._message is not None and self._message.is_partial

    def add_chunk(self, chunk: Any) -> bool:
        """Take an event; nothing of it is for this library alone. What is not parsed yet is none."""
        self.last_at = perf_counter()
        if not isinstance(chunk, dict):
            return False
        piece = view(chunk.get("chunk")).get("bytes") if "chunk" in chunk else None
        seen = json.loads(piece) if isinstance(piece, bytes | str) else chunk
        metrics = view(seen.pop(_METRICS, None)) if _METRICS in seen else {}
        self._add_own(seen, is_whole=False)
        if metrics:
            self.is_complete = True
            if self._message is None or self._message.is_partial:
                self.usage = {name: metrics[key] for name, key in _METRIC_NAMES if metrics.get(key) is not None}
                self._message = None
        return False

    def add_whole(self, answer: Any) -> None:
        """Take the body of an answer that was not streamed."""
        seen = view(answer)
        self._add_own(seen, is_whole=True)
        self.is_complete = True

    def add_headers(self, headers: Any) -> None:
        """Take the counts that Bedrock writes beside the body; what the body says is more exact."""
        found = view(headers)
        counts = {name: int(found[key]) for name, key in _HEADERS if str(found.get(key, "")).isdecimal()}
        self.usage = self.usage or counts or None

    def _add_own(self, seen: Any, *, is_whole: bool) -> None:
        if seen.get("type") is not None and (self._message is not None or "message" in str(seen["type"])):
            self._add_message(seen, is_whole=is_whole)
            return
        if "choices" in seen:
            self._add_choices(seen, is_whole=is_whole)
            return
        for name in _TEXTS:
            self._add_text(seen.get(name))
        nested = [*(seen.get("results") or ()), *(seen.get("outputs") or ()), *(seen.get("generations") or ())]
        for part in map(view, nested):
            for name in _TEXTS:
                self._add_text(part.get(name))
            for name in _REASONS:
                self._add_reason(part.get(name))
        for name in _REASONS:
            self._add_reason(seen.get(name))
        converse = ConverseAnswer()
        converse.last_at = self.last_at
        (converse.add_whole if is_whole else converse.add_chunk)(seen)  # Nova answers as `converse` does
        self._take(converse)
        if "generation_token_count" in seen and seen.get("prompt_token_count") is not None:
            self.usage = {"inputTokens": seen["prompt_token_count"], "outputTokens": seen["generation_token_count"]}

    def _add_message(self, seen: Any, *, is_whole: bool) -> None:
        message = self._message = self._message or MessageAnswer()
        (message.add_whole if is_whole else message.add_chunk)(seen)
        self._take(message)

    def _add_choices(self, seen: Any, *, is_whole: bool) -> None:
        answer = Answer()
        (answer.add_whole if is_whole else answer.add_chunk)(seen)
        self._take(answer)

    def _take(self, part: Answer) -> None:
        """Take over what another answer has read of the same events."""
        self.usage = part.usage or self.usage
        self.response_id = part.response_id or self.response_id
        self.service_tier = part.service_tier or self.service_tier
        self.error_type = part.error_type or self.error_type
        self.is_complete = part.is_complete or self.is_complete
        self.finish_reasons += part.finish_reasons
        part.finish_reasons = []
        for text in part.texts:
            self._add_text(text)
        part.texts = []


def name_client_error(error: BaseException) -> str | None:
    """Return the kind of an error of botocore, in a response or inside a stream."""
    said = view(view(getattr(error, "response", None)).get("Error"))
    return error_kind(said.get("Code"), said.get("Message")) if said else None
