"""One vocabulary for what makers call the ends of answers and their errors: that of OpenAI's API."""

from __future__ import annotations

from typing import Any, Final

from ingest.tracking.usage import view

RATE_LIMIT: Final = "rate_limit_exceeded"
QUOTA: Final = "insufficient_quota"
CONTEXT_LENGTH: Final = "context_length_exceeded"
OVERLOADED: Final = "overloaded"

_FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "finish": "stop",
    "finished": "stop",
    "complete": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "image_safety": "content_filter",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_ERRORS: Final = {
    # Anthropic: https://docs.anthropic.com/en/api/errors
    "rate_limit_error": RATE_LIMIT,
    "billing_error": QUOTA,
    "overloaded_error": OVERLOADED,
    # Google: https://ai.google.dev/gemini-api/docs/troubleshooting
    "RESOURCE_EXHAUSTED": RATE_LIMIT,
    "UNAVAILABLE": OVERLOADED,
    # Bedrock: https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html
    "throttlingexception": RATE_LIMIT,
    "toomanyrequestsexception": RATE_LIMIT,
    "servicequotaexceededexception": QUOTA,
    "serviceunavailableexception": OVERLOADED,
    "modelnotreadyexception": OVERLOADED,
}
_WORDS: Final = (
    ("credit balance", QUOTA),
    ("perday", QUOTA),  # the id of a quota of Google's
    ("tokens per day", QUOTA),
    ("prompt is too long", CONTEXT_LENGTH),
    ("input is too long", CONTEXT_LENGTH),
    ("too many input tokens", CONTEXT_LENGTH),
    ("input token count", CONTEXT_LENGTH),
    ("exceed context limit", CONTEXT_LENGTH),
    ("maximum context length", CONTEXT_LENGTH),
)
_LONGEST_KIND: Final = 60


def finish_reason(reason: Any) -> str | None:
    """Return why an answer ended, in OpenAI's words where there is one; None where it has not ended."""
    said = getattr(reason, "value", reason)
    if not isinstance(said, str) or not said or said.endswith("_UNSPECIFIED"):
        return None
    word = said.lower()
    return _FINISH_REASONS.get(word, word)


def error_kind(kind: Any, details: Any = None) -> str | None:
    """Return the kind of an error: a limit, a quota, a length in OpenAI's words, else the maker's own name.

    Args:
        kind: What the maker calls it.
        details: What else it said; looked through and never kept.
    """
    said = str(details).lower() if details is not None else ""
    for words, meaning in _WORDS:
        if words in said:
            return meaning
    if not isinstance(kind, str) or not kind:
        return None
    known = _ERRORS.get(kind) or _ERRORS.get(kind.lower())
    return known or (kind if len(kind) <= _LONGEST_KIND and kind.isascii() and " " not in kind else None)


def error_inside(error: Any) -> str:
    """Return the kind of an error that came inside an answer."""
    parts = view(error)
    kind = parts.get("type") or parts.get("status") or parts.get("code")
    if isinstance(kind, int):
        kind = f"http_{kind}"
    return error_kind(kind, parts.get("message")) or "provider_error"
