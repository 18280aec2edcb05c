"""One request to a service's API."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ingest.alerts.exchange import judge
from ingest.alerts.notification import target_key

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.alerts.exchange import Answer
    from ingest.alerts.notification import Outcome

# What Slack's Web API answers with status 200 where another attempt cannot help before somebody acts.
_REFUSED: Final = frozenset(
    ("account_inactive", "channel_not_found", "invalid_auth", "is_archived", "missing_scope", "not_authed",
     "not_in_channel", "token_expired", "token_revoked")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a service's API.

    Attributes:
        url: Where to; never shown or logged, many carry their key in it.
        document: The body, sent as JSON.
        method: HTTP method.
        headers: Beside the content type; never shown or logged.
        is_optional: Whether the service may answer 404, because what the call changes has ended meanwhile.
        target: Which of several targets of the same address it is for: a channel, a chat, a topic.
        follows: Whether it makes sense only after the call before has been taken.
    """

    url: str = field(repr=False)
    document: dict[str, JsonValue]
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    is_optional: bool = False
    target: str = ""
    follows: bool = False

    @property
    def key(self) -> str:
        """What it is remembered by once it has been taken."""
        return target_key(self.method, self.url, self.target)

    @property
    def content(self) -> bytes:
        """The body as sent."""
        return json.dumps(self.document, separators=(",", ":")).encode()

    def judge(self, answer: Answer) -> Outcome:
        """Tell what the service's answer means for the message."""
        if self.is_optional and answer.status == 404:
            return judge(200)
        document = answer.document
        retry_after_s = answer.retry_after_s
        if retry_after_s is None:
            retry_after_s = _named_wait(document)
        if 200 <= answer.status < 300 and document.get("ok") is False:  # Slack, Telegram
            reason = str(document.get("error") or "refused")[:100]
            if reason == "ratelimited":
                return judge(429, retry_after_s, reason)
            return judge(403 if reason in _REFUSED else 400, retry_after_s, reason)
        return judge(answer.status, retry_after_s)


def _named_wait(document: dict[str, JsonValue]) -> float | None:
    parameters = document.get("parameters")  # Telegram names it there, Discord beside the message
    named = parameters.get("retry_after") if isinstance(parameters, dict) else document.get("retry_after")
    return float(named) if isinstance(named, int | float) and named >= 0 else None


def shorten(text: str, length: int) -> str:
    """Cut a text to what a field of a service holds, with an ellipsis where something is missing."""
    return text if len(text) <= length else text[: length - 1] + "…"
