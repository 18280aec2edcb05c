"""Answers of Google's Gemini API and of Vertex AI, as JSON or as the objects of google-genai."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from ingest.tracking.answer import Answer
from ingest.tracking.makers.words import RATE_LIMIT, error_inside, error_kind, finish_reason
from ingest.tracking.usage import view
from pricing.reported import Report

_PARTS = ("text", "functionCall", "function_call", "executableCode", "executable_code")


class GeminiAnswer(Answer):
    """What a model of Google's generates; each chunk of a stream tells the tokens until then."""

    maker = "google"
    ends_with_usage = False

    __slots__ = ("_grounded",)

    def __init__(self) -> None:
        super().__init__()
        self._grounded: list[Any] = []
        self.has_other_parts = True  # their vocabulary is not at hand: what is counted here is an estimate

    def report(self, operation: str) -> dict[str, Any]:  # noqa: ARG002 -- the same for all
        """What it was grounded with, which costs something."""
        return {"candidates": self._grounded} if self._grounded else {}

    def name_error(self, error: BaseException) -> str | None:
        """The status of an error; a limit by the day is a quota that is used up."""
        status = getattr(error, "status", None)
        kind = error_kind(status, getattr(error, "details", None)) if isinstance(status, str) else None
        return RATE_LIMIT if kind is None and getattr(error, "code", None) == 429 else kind

    def add_chunk(self, chunk: Any) -> bool:
        """Take a chunk; nothing of it is for this library alone."""
        self.last_at = perf_counter()
        count = len(self.texts)
        self._add(chunk)
        if self.first_token_at is None and len(self.texts) > count:
            self.first_token_at = self.last_at
        return False

    def add_whole(self, answer: Any) -> None:
        """Take an answer that was not streamed: a generation, or embeddings."""
        self._add(answer)
        report = Report(answer, [])
        for embedding in report.items("embeddings"):
            self._add_input(embedding.under("statistics"))
        for prediction in report.items("predictions"):
            self._add_input(prediction.under("embeddings").under("statistics"))
        self.is_complete = self.error_type is None

    def _add(self, chunk: Any) -> None:
        report = Report(chunk, [])
        for name, field in (("model_version", "model"), ("response_id", "response_id")):
            value = report.get(name)
            if isinstance(value, str) and value:
                setattr(self, field, value)
        usage = report.get("usage_metadata")
        if usage is not None:
            self.usage = usage
        if report.get("error") is not None:
            self.error_type = error_inside(report.get("error"))
        for candidate in report.items("candidates"):
            self._add_candidate(candidate)
        blocked = finish_reason(report.under("prompt_feedback").get("block_reason"))
        if blocked is not None:
            self.finish_reasons.append("content_filter")
            self.is_complete = True

    def _add_candidate(self, candidate: Report) -> None:
        for part in candidate.under("content").items("parts"):
            for name in _PARTS:
                value = part.get(name)
                if value:
                    self.texts.append(value if isinstance(value, str) else str(view(value)))
        reason = finish_reason(candidate.get("finish_reason"))
        if reason is not None:
            self.finish_reasons.append(reason)
            self.is_complete = True
        grounding = candidate.get("grounding_metadata")
        if grounding is not None:
            self._grounded = [{"grounding_metadata": grounding}]

    def _add_input(self, statistics: Report) -> None:
        """Add the tokens of one text that was embedded, which Vertex AI alone reports."""
        count = statistics.count("token_count")
        if count is not None:
            before = self.usage["prompt_tokens"] if isinstance(self.usage, dict) else 0
            self.usage = {"prompt_tokens": before + count, "completion_tokens": 0}
