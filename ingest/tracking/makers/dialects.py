"""Tells by its shape whose answer something is: a whole one, or a chunk of a stream."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from ingest.tracking.answer import Answer
from ingest.tracking.makers.bedrock_answers import CONVERSE_EVENTS, ConverseAnswer, InvokeAnswer
from ingest.tracking.makers.gemini import GeminiAnswer
from ingest.tracking.makers.messages import EVENTS, MessageAnswer
from ingest.tracking.usage import plain, view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.tracking.call import Call

_GEMINI: Final = ("usage_metadata", "usageMetadata", "candidates", "prompt_feedback", "promptFeedback")
_HELPER_EVENTS: Final = frozenset({"text", "thinking", "citation", "signature", "input_json", "compaction"})
_FIELDS: Final = ("data:", "event:", "id:", "retry:", ":")
_LONGEST_FIELD: Final = 6


def dialect_of(value: Any) -> type[Answer] | None:
    """Return the kind of answer that `value` is or is a part of; None where nothing tells."""
    seen = view(value)
    if not seen:
        return None
    kind = seen.get("type")
    if not isinstance(kind, str):
        kind = None
    if "choices" in seen or seen.get("object") == "response" or (kind or "").startswith("response."):
        return Answer
    if kind in EVENTS or kind in _HELPER_EVENTS or (kind == "message" and "content" in seen):
        return MessageAnswer
    if any(name in seen for name in _GEMINI):
        return GeminiAnswer
    if not CONVERSE_EVENTS.isdisjoint(seen) or ("output" in seen and "stopReason" in seen):
        return ConverseAnswer
    if isinstance(view(seen.get("chunk")).get("bytes"), bytes):
        return InvokeAnswer
    if kind == "error" and "error" in seen:
        return MessageAnswer
    return _other(seen, value)


def _other(seen: Mapping[str, Any], value: Any) -> type[Answer] | None:
    if "embeddings" in seen and "usage" not in seen and "meta" not in seen:
        return GeminiAnswer
    known = {**plain(value), **seen}
    return Answer if any(known.get(name) is not None for name in ("usage", "x_groq", "error")) else None


class DumpedAnswer(Answer):
    """An answer of OpenAI's API in objects of another library, which keep parts of it where only they know."""

    __slots__ = ()

    def add_chunk(self, chunk: Any) -> bool:
        """Take a chunk as a dictionary."""
        return super().add_chunk(chunk.model_dump() if hasattr(chunk, "model_dump") else chunk)


class UnknownAnswer(Answer):
    """An answer whose kind the first chunk that tells it decides; until then only text is collected.

    Args:
        call: The call whose answer this is, to be replaced by one of the kind found.
    """

    maker = ""
    is_unknown = True

    __slots__ = ("_call", "_found", "_is_complete")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._found: Answer | None = None
        super().__init__()
        self.has_other_parts = True

    @property
    def is_complete(self) -> bool:
        """Whether the provider said that the answer ended."""
        return self._found.is_complete if self._found is not None else self._is_complete

    @is_complete.setter
    def is_complete(self, value: bool) -> None:
        if self._found is not None:
            self._found.is_complete = value
        else:
            self._is_complete = value

    def may_be_body(self, piece: str) -> bool:
        """Whether what has come so far begins as a body of server-sent events does."""
        self.last_at = perf_counter()
        if piece:
            self.texts.append(piece)
            self.first_token_at = self.first_token_at or self.last_at
        head = "".join(self.texts[:_LONGEST_FIELD]).lstrip("\ufeff\r\n")[:_LONGEST_FIELD]
        return any(head.startswith(name) or name.startswith(head) for name in _FIELDS)

    def add_chunk(self, chunk: Any) -> bool:
        """Take a chunk of whatever it is."""
        kind = dialect_of(chunk)
        if kind is None:
            self.last_at = perf_counter()
            return False
        is_foreign = kind is Answer and type(chunk).__module__.partition(".")[0] not in ("openai", "builtins")
        found = self._found = self._call.answer = DumpedAnswer() if is_foreign else kind()
        self._call.provider = self._call.provider or found.maker
        return found.add_chunk(chunk)
