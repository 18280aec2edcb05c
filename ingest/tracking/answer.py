"""What is known about an answer so far, chunk by chunk: counts, model, tier, finish reason, text to be counted."""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any

from ingest.tracking.background_responses import Background, read_background
from ingest.tracking.usage import extras, plain, view

_KIND = re.compile(r"[A-Za-z0-9_.:-]{1,60}")
# Where choices ended for different reasons, the one that says most about waste.
_REASONS = ("error", "length", "content_filter", "tool_calls", "function_call")
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
_LAST_EVENTS = {"response.completed": "ok", "response.incomplete": "ok", "response.failed": "error"}
# The last events of streams that are neither chats nor responses: pictures, transcriptions, speech.
_LAST_OF_OTHERS = (
    *("image_generation.completed", "image_edit.completed"),
    *("transcript.text.done", "speech.audio.done"),
)
_INCOMPLETE = {"max_output_tokens": "length", "max_tokens": "length"}


class Answer:
    """Collects what a provider of OpenAI's API returns; the text is kept only for counting and never recorded.

    Other APIs have answers of their own; see `ingest.tracking.makers`.

    Attributes:
        usage: The last usage object that was not null.
        model: Model that answered.
        response_id: The provider's id of the answer.
        service_tier: Tier that served it.
        finish_reasons: Why each choice ended.
        items: Items of an answer of the Responses API, in which calls of tools are counted.
        tools: The tools that such an answer was asked with.
        maker: Who made the API; whose models they are, where nothing else tells.
        is_unknown: Whether nothing has told yet whose answer it is.
        ends_with_usage: Whether usage comes with the end alone.
        names_events: Whether frames of its streams name their event.
        texts: What was delivered.
        has_other_parts: Whether anything other than text was delivered.
        background: What a response says of itself that is made in the background.
        error_type: Kind of error that came inside the answer.
        is_complete: Whether the provider said that the answer ended.
        is_cancelled: Whether the provider said that it was cancelled.
        first_token_at: When the first token came (`perf_counter`).
        last_at: When the last chunk came.
    """

    maker = "openai"
    is_unknown = False
    ends_with_usage = True
    names_events = False

    __slots__ = (
        "background",
        "error_type",
        "finish_reasons",
        "first_token_at",
        "has_other_parts",
        "is_cancelled",
        "is_complete",
        "items",
        "last_at",
        "model",
        "response_id",
        "service_tier",
        "texts",
        "tools",
        "usage",
    )

    def __init__(self) -> None:
        self.usage: Any = None
        self.model: str | None = None
        self.response_id: str | None = None
        self.service_tier: str | None = None
        self.finish_reasons: list[str] = []
        self.items: list[Any] = []
        self.tools: Any = None
        self.texts: list[str] = []
        self.has_other_parts = False
        self.background: Background | None = None
        self.error_type: str | None = None
        self.is_complete = False
        self.is_cancelled = False
        self.first_token_at: float | None = None
        self.last_at: float | None = None

    @property
    def finish_reason(self) -> str | None:
        """The reason that stands for all choices."""
        reasons = self.finish_reasons
        return next((reason for reason in _REASONS if reason in reasons), reasons[-1] if reasons else None)

    @property
    def is_over(self) -> bool:
        """Whether a stream that ends now has ended as its provider meant it to; True where nothing tells."""
        has_usage = self.usage is not None and self.ends_with_usage
        return self.is_complete or has_usage or bool(self.error_type) or self.is_cancelled or self.is_unknown

    @property
    def is_partial(self) -> bool:
        """Whether usage tells the input alone so far."""
        return False

    def report(self, operation: str) -> dict[str, Any]:
        """What of the answer tells calls of tools that cost something."""
        kind = "chat.completion" if operation == "chat" else None
        return {"object": kind, "output": self.items, "tools": self.tools}

    def name_error(self, error: BaseException) -> str | None:  # noqa: ARG002 -- other makers' answers know theirs
        """The maker's name of an error that its client raised; None where its class says enough."""
        return None

    def may_be_body(self, piece: str) -> bool:  # noqa: ARG002 -- what this is of sends events alone
        """Whether text may be a piece of a body of server-sent events, and not the answer's own text."""
        return True

    def add_chunk(self, chunk: Any) -> bool:
        """Take a chunk of any stream; says whether it carries usage and nothing for the reader."""
        self.last_at = perf_counter()
        seen = chunk if type(chunk) is dict else view(chunk)
        if "choices" in seen:
            return self._add_chat_chunk(chunk, seen)
        kind = seen.get("type")
        if kind is not None:
            self._add_event(str(kind), chunk, seen)
        else:
            self._add_error(chunk, seen)
            if seen.get("usage") is not None:
                self.usage = seen["usage"]
        return False

    def add_whole(self, answer: Any) -> None:
        """Take an answer that was not streamed."""
        seen = plain(answer)  # an older library has no name for usage
        self._add_head(seen)
        if seen.get("usage") is not None:
            self.usage = seen["usage"]
        self._add_error(answer, seen)
        if "output" in seen and seen.get("object") == "response":
            self._add_response(seen)
            return
        if self.usage is None and "text" in seen and seen.get("duration") is not None:
            self.usage = {"type": "duration", "seconds": seen["duration"]}  # a verbose transcription
        for choice in seen.get("choices") or ():
            parts = view(choice)
            if parts.get("finish_reason"):
                self.finish_reasons.append(str(parts["finish_reason"]))
            if isinstance(parts.get("text"), str):
                self.texts.append(parts["text"])
            self._add_delta(parts.get("message"))
        self.is_complete = self.error_type is None

    def _add_chat_chunk(self, chunk: Any, seen: Any) -> bool:
        if not self.model or not self.response_id:
            self._add_head(seen)
        usage = seen.get("usage")
        tier = seen.get("service_tier")
        if tier is not None:
            self.service_tier = str(tier)
        rest = seen if seen is chunk else chunk.__pydantic_extra__ if hasattr(chunk, "__pydantic_extra__") else None
        if rest:
            if usage is None and "x_groq" in rest:
                usage = plain(rest["x_groq"]).get("usage")
            if rest.get("error"):
                self._add_error(chunk, seen)
        if usage is not None:
            self.usage = usage
        choices = seen["choices"]
        if not choices:
            return usage is not None and not self.error_type
        for choice in choices:
            self._add_choice(choice if type(choice) is dict else view(choice))
        return False

    def _add_choice(self, parts: Any) -> None:
        reason = parts.get("finish_reason")
        if reason is not None:
            self.finish_reasons.append(str(reason))
            self.is_complete = True
        delta = parts if "text" in parts else parts.get("delta")
        if delta is None:
            return
        text = parts["text"] if delta is parts else (delta if type(delta) is dict else view(delta)).get("content")
        if type(text) is str and text:
            self.texts.append(text)
        elif not self._add_delta(delta):
            return
        if self.first_token_at is None:
            self.first_token_at = self.last_at

    def _add_delta(self, delta: Any) -> bool:
        """Take a message or a part of one; says whether it delivered anything."""
        parts = {**view(delta), **extras(delta)}
        texts = [parts.get(name) for name in _TEXTS[:3]]
        if not texts[2]:
            texts[2] = parts.get("reasoning")
        functions = [view(tool).get("function") for tool in parts.get("tool_calls") or ()]
        for function in (*functions, parts.get("function_call")):
            called = view(function) if function is not None else {}
            texts += [called.get("name"), called.get("arguments")]
        found = [text for text in texts if isinstance(text, str) and text]
        self.texts += found
        if parts.get("audio"):
            self.has_other_parts = True
            return True
        return bool(found)

    def _add_head(self, seen: Any) -> None:
        for name, field in (("model", "model"), ("id", "response_id"), ("service_tier", "service_tier")):
            value = seen.get(name)
            if isinstance(value, str) and value:
                setattr(self, field, value)

    def _add_event(self, kind: str, chunk: Any, seen: Any) -> None:
        """Take an event of the Responses API."""
        if kind.endswith(".delta"):
            text = seen.get("delta")
            if isinstance(text, str) and text:
                if "audio" in kind:
                    self.has_other_parts = True
                else:
                    self.texts.append(text)
                if self.first_token_at is None:
                    self.first_token_at = self.last_at
            return
        if kind == "error":
            self._add_error({"error": plain(chunk)}, {})
            return
        if kind == "response.output_item.done":
            self.items.append(seen.get("item"))
            return
        if kind in _LAST_OF_OTHERS:
            self.usage = seen.get("usage") or self.usage
            self.is_complete = self.has_other_parts = True
        if kind.endswith(".partial_image") and self.first_token_at is None:
            self.first_token_at = self.last_at
        response = seen.get("response")
        if response is not None:
            parts = plain(response)
            self._add_head(parts)
            self.background = read_background(parts)
            self.tools = parts.get("tools") or self.tools
            if parts.get("usage") is not None:
                self.usage = parts["usage"]
            if kind in _LAST_EVENTS or kind == "response.cancelled":
                self.texts = self.texts or []
                self._add_response(parts, is_streamed=True)

    def _add_response(self, parts: Any, *, is_streamed: bool = False) -> None:
        status = parts.get("status")
        self.background = read_background(parts)
        kinds = set()
        self.tools = parts.get("tools") or self.tools
        self.items = list(parts.get("output") or self.items)
        for item in self.items:
            entry = view(item)
            kinds.add(str(entry.get("type")))
            if not is_streamed:
                self._add_item(entry)
        if status == "failed":
            self._add_error(parts, parts)
            self.error_type = self.error_type or "response_failed"
        elif status == "cancelled":
            self.is_cancelled = True
        elif status == "incomplete":
            details = parts.get("incomplete_details")
            reason = str(view(details).get("reason") if details is not None else "incomplete")
            self.finish_reasons.append(_INCOMPLETE.get(reason, reason))
        elif status == "completed":
            is_call = any(kind.endswith("_call") and kind.startswith(("function", "custom")) for kind in kinds)
            self.finish_reasons.append("tool_calls" if is_call else "stop")
        self.is_complete = self.error_type is None

    def _add_item(self, entry: Any) -> None:
        texts = [entry.get("name"), entry.get("arguments")]
        texts += [view(part).get("text") for part in entry.get("content") or ()]
        self.texts += [text for text in texts if isinstance(text, str)]

    def _add_error(self, chunk: Any, seen: Any) -> None:
        error = seen.get("error") or extras(chunk).get("error")
        if error is not None and error is not False:
            self.error_type = error_kind(error) or "provider_error"


def error_kind(error: Any) -> str | None:
    """The name of a provider's error, where it is a name; its message is never kept."""
    parts = plain(error) if not isinstance(error, str) else {}
    for name in ("code", "type"):
        value = parts.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return f"http_{value}"
        if isinstance(value, str) and _KIND.fullmatch(value):
            return value
    return None
