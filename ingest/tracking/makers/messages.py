"""Answers of Anthropic's Messages API, whoever serves it."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Final

from ingest.tracking.answer import Answer
from ingest.tracking.makers.words import error_inside, error_kind, finish_reason
from ingest.tracking.usage import plain, view

_DELTAS: Final = ("text", "partial_json", "thinking")
EVENTS: Final = frozenset(
    {"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"}
    | {"message_stop", "ping"}
)


class MessageAnswer(Answer):
    """A message, whole or in events.

    Its first event tells the input's tokens and a first guess of the output's, its last but one the output's.
    """

    maker = "anthropic"
    ends_with_usage = False
    names_events = True

    __slots__ = ("_is_counted",)

    def __init__(self) -> None:
        super().__init__()
        self._is_counted = False
        self.has_other_parts = True  # no vocabulary of theirs is public: what is counted here is an estimate

    @property
    def is_partial(self) -> bool:
        """Whether usage tells the input alone so far."""
        return not self._is_counted

    def report(self, operation: str) -> dict[str, Any]:  # noqa: ARG002 -- searches are in usage
        """Nothing that usage does not say."""
        return {}

    def name_error(self, error: BaseException) -> str | None:
        """The kind that Anthropic names in the body of an error."""
        body = view(getattr(error, "body", None))
        inner = view(body.get("error"))
        return error_kind(inner.get("type"), inner.get("message")) if inner else None

    def add_chunk(self, chunk: Any) -> bool:
        """Take an event of a stream; nothing of it is for this library alone."""
        self.last_at = perf_counter()
        seen = view(chunk)
        kind = seen.get("type")
        if kind == "content_block_delta":
            self._add_block(view(seen.get("delta")), _DELTAS)
        elif kind == "content_block_start":
            self._add_block(view(seen.get("content_block")), ("text", "name"))
        elif kind == "message_start":
            message = view(seen.get("message"))
            self._add_head(message)
            self._add_usage(message.get("usage"))
        elif kind == "message_delta":
            self._add_end(view(seen.get("delta")))
            usage = seen.get("usage")
            self._add_usage(usage)
            self._is_counted = usage is not None
        elif kind == "message_stop":
            self.is_complete = self.error_type is None
        elif kind == "error":
            self.error_type = error_inside(seen.get("error"))
        return False

    def add_whole(self, answer: Any) -> None:
        """Take a message that was not streamed."""
        seen = view(answer)
        self._add_head(seen)
        for block in seen.get("content") or ():
            self._add_block(view(block), ("text", "thinking", "name", "input"))
        self._add_end(seen)
        self._add_usage(seen.get("usage"))
        self._is_counted = True
        if seen.get("type") == "error":
            self.error_type = error_inside(seen.get("error"))
        self.is_complete = self.error_type is None

    def _add_block(self, parts: Any, names: tuple[str, ...]) -> None:
        found = [str(parts[name]) for name in names if parts.get(name)]
        self.texts += found
        if found and self.first_token_at is None:
            self.first_token_at = self.last_at

    def _add_end(self, parts: Any) -> None:
        reason = finish_reason(parts.get("stop_reason"))
        if reason is not None:
            self.finish_reasons.append(reason)
            self.is_complete = self.error_type is None

    def _add_usage(self, usage: Any) -> None:
        """Later figures replace earlier ones; what only the first event says stays."""
        if usage is not None:
            known = {name: value for name, value in plain(usage).items() if value is not None}
            self.usage = {**(self.usage or {}), **known}
