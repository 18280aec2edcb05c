"""What a message of the outbox is, and what may become of an attempt to send it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, SecretStr

if TYPE_CHECKING:
    from collections.abc import Sequence

# A report's picture travels beside its text; the HTML names it so.
IMAGE_NAME: Final = "treering-trend.png"
MOST_FILE_BYTES: Final = 10_000_000
"""Most that the files of an e-mail have together; with the third that base64 adds, mail servers take that."""


def _none_to_empty(value: object) -> object:
    return "" if value is None else value


class ClaimedNotification(BaseModel):
    """A message that was claimed from the outbox. The address and the secret are never shown or logged.

    Attributes:
        notification_id: Its number in the outbox.
        idempotency_key: The same in every attempt, so that a receiver can recognise a repeat.
        attempt: Counts from 1.
        event: `firing`, `escalated`, `reminder`, `acknowledged`, `resolved`, `digest`, `test` or `report`.
        channel_id: Number of the channel; None of a message that is in no outbox.
        channel_name: Name of the channel, for logs.
        kind: `webhook` or `apprise`.
        sealed: Address and secret, encrypted with `TREERING_SECRET_KEY`; None where they came readable.
        target_url: Address to send to; empty while sealed.
        signing_secret: Key of the signature.
        payload: The message itself; its `schema` names its version.
        links: Signed keys of what a click on the message does, by action: `acknowledge`, `silence`.
        taken: Keys of the address's targets that have taken it in an earlier attempt.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    notification_id: int
    idempotency_key: str
    attempt: int
    event: str
    channel_id: int | None = None
    channel_name: str
    kind: str = "webhook"
    sealed: SecretStr | None = None
    target_url: Annotated[SecretStr, BeforeValidator(_none_to_empty)] = SecretStr("")
    signing_secret: Annotated[SecretStr, BeforeValidator(_none_to_empty)] = SecretStr("")
    payload: dict[str, JsonValue]
    links: dict[str, str] = Field(default_factory=dict)
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class MailFile:
    """A file that is attached to an e-mail.

    Attributes:
        name: Its name.
        mime: Its media type.
        content: Its bytes.
    """

    name: str
    mime: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        error: Why it failed, without address or secret; None when the receiver has taken the message.
        is_final: Whether trying again cannot help.
        is_refused: Whether the receiver does not know the address or the key (any more): retried for an hour only.
        retry_after_s: How long the receiver asks to wait before the next attempt, in seconds.
        taken: Of an attempt that failed: keys of the targets that have taken the message all the same, now or before.
    """

    error: str | None = None
    is_final: bool = False
    is_refused: bool = False
    retry_after_s: float | None = None
    taken: tuple[str, ...] = ()


def target_key(*parts: str) -> str:
    """Return what a target of an address is remembered by; nothing of the address can be read from it."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def join_outcomes(outcomes: Sequence[Outcome]) -> Outcome:
    """Return how an attempt at several targets ended: it failed where one did, and is over where none can succeed."""
    failures = [outcome for outcome in outcomes if outcome.error is not None]
    if not failures:
        return Outcome()
    waits = [outcome.retry_after_s for outcome in failures if outcome.retry_after_s is not None]
    error = str(failures[0].error)
    return Outcome(
        error if len(outcomes) == 1 else f"{len(failures)} of {len(outcomes)} targets: {error}",
        is_final=all(outcome.is_final for outcome in failures),
        is_refused=all(outcome.is_refused or outcome.is_final for outcome in failures)
        and any(outcome.is_refused for outcome in failures),
        retry_after_s=max(waits, default=None),
    )


class Notifier(Protocol):
    """Sends one kind of message."""

    async def send(self, notification: ClaimedNotification) -> Outcome:
        """Try once to send, within a bounded time, and tell how it ended instead of raising."""
