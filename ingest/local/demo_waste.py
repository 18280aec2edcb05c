"""What the imaginary product wastes: planted in known ways, so that the plan of savings has something to find.

Each kind has a feature of its own. As all demo traffic, an hour's calls depend on the seed and the hour alone.
"""

from __future__ import annotations

import hashlib
import math
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from ingest.record.blocks import POSITIONS
from ingest.record.event_id import derive_event_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    Event = dict[str, JsonValue]

PLANTED: Final = {
    "batch": "nightly-digest",
    "cheaper_snapshot": "nightly-digest",
    "duplicates": "help",
    "billed_retries": "extract",
    "priority_tier": "tagging",
    "cancelled": "voice",
    "embedded_again": "index",
    "shared_beginnings": "tutor",
}
"""Kinds of savings and the feature in which each is planted."""

_NIGHT_HOUR: Final = 2
_NIGHT_CALLS: Final = 40
_DOCUMENTS: Final = 140
_BYTES_PER_TOKEN: Final = 4


def planted_calls(hour: datetime, seed: int, environment: str, load: float) -> list[tuple[datetime, Event]]:
    """Make the wasteful calls of an hour.

    Args:
        hour: Beginning of the hour, UTC.
        seed: As for all demo traffic.
        environment: Name of the demo's environment.
        load: Share of the busiest hour's traffic.
    """
    made = _Maker(random.Random(f"waste:{seed}:{hour.isoformat()}"), hour, seed, environment)  # noqa: S311 -- repeatable
    if hour.hour == _NIGHT_HOUR:
        made.nightly_digest()
        made.index()
    made.help(load)
    made.extract(load)
    made.tagging()
    made.voice(load)
    return made.calls


def prompt_blocks(beginning: str, own: str, shared_tokens: int, prompt_tokens: int) -> str | None:
    """Stand in for hashes of a prompt whose first tokens are those of every prompt with this beginning."""
    size = prompt_tokens * _BYTES_PER_TOKEN
    positions = [position for position in POSITIONS if position <= size]
    if not positions:
        return None
    parts = [size.to_bytes(4).hex()]
    for position in positions:
        whose = beginning if position <= shared_tokens * _BYTES_PER_TOKEN else own
        parts.append(hashlib.sha256(f"{whose}:{position}".encode()).hexdigest()[:8])
    return "\\x" + "".join(parts)


class _Maker:
    """Collects the planted calls of one hour."""

    def __init__(self, rng: random.Random, hour: datetime, seed: int, environment: str) -> None:
        self.rng = rng
        self.hour = hour
        self.seed = seed
        self.environment = environment
        self.calls: list[tuple[datetime, Event]] = []

    def nightly_digest(self) -> None:
        """A job for which nobody waits, on a snapshot that was replaced long ago."""
        for at in self._times(_NIGHT_CALLS, minutes=45):
            self._add(at, "nightly-digest", "gpt-4o-2024-05-13", self._around(9000, 0.3), self._around(420, 0.3))

    def index(self) -> None:
        """Every document embedded anew every night, changed or not."""
        for number, at in enumerate(self._times(_DOCUMENTS, minutes=59)):
            size = 4500 + number * 3571 % 3500
            text = hashlib.sha256(f"document:{self.seed}:{number}".encode()).hexdigest()[:32]
            self._add(
                at, "index", "text-embedding-3-large", size, 0, operation="embeddings", prompt_hash=text,
                finish_reason=None, session_id=f"index-{at:%Y%m%d}",
            )  # fmt: skip

    def help(self, load: float) -> None:
        """The same few questions, asked of the model each time."""
        for number, at in enumerate(self._times(self._some(3.2 * load), minutes=50)):
            question = self.rng.randrange(3)
            text = hashlib.sha256(f"question:{self.seed}:{question}:{at:%m%d}{at.hour // 6}".encode()).hexdigest()[:32]
            tokens = 2800 + 150 * question
            self._add(at, "help", "gpt-4o", tokens, self._around(480, 0.3), prompt_hash=text, user=number * 7)

    def extract(self, load: float) -> None:
        """A client that gives up before the answer is there, and asks again."""
        for number, at in enumerate(self._times(self._some(1.25 * load), minutes=55)):
            prompt, completion = self._around(8000, 0.3), self._around(800, 0.3)
            group = hashlib.sha256(f"extract:{self.seed}:{at.isoformat()}:{number}".encode()).hexdigest()[:16]
            is_lost = self.rng.random() < 0.6
            if is_lost:
                self._add(
                    at, "extract", "gpt-4.1", prompt, completion, request_group_id=group, status="error",
                    error_type="ReadTimeout", finish_reason=None, prompt_hash=group, user=number,
                )  # fmt: skip
            self._add(
                at + timedelta(seconds=32), "extract", "gpt-4.1", prompt, completion, request_group_id=group,
                attempt=2 if is_lost else 1, prompt_hash=group, user=number,
            )  # fmt: skip

    def tagging(self) -> None:
        """Background work on the tier for people who wait, all day."""
        for at in self._times(1 + self._some(0.2), minutes=60):
            self._add(at, "tagging", "gpt-4o", self._around(1200, 0.4), self._around(120, 0.4), service_tier="priority")

    def voice(self, load: float) -> None:
        """Answers that are spoken, and often interrupted while they are still being made."""
        for number, at in enumerate(self._times(self._some(1.9 * load), minutes=60)):
            stops = self.rng.random() < 0.35
            self._add(
                at, "voice", "gpt-4o", self._around(2500, 0.4), self._around(600, 0.4), streamed=True, user=number,
                status="cancelled" if stops else "ok", finish_reason=None if stops else "stop",
            )  # fmt: skip

    def _add(
        self, at: datetime, feature: str, model: str, prompt: int, completion: int, user: int = 0, **fields: JsonValue
    ) -> None:
        key = f"demo-waste:{self.seed}:{self.hour.isoformat()}:{len(self.calls)}"
        latency_ms = round(500 + 12.0 * completion + self.rng.uniform(0, 300), 1)
        event: Event = {
            "event_id": str(derive_event_id(at, key)),
            "created_at": at.isoformat(),
            "user_id": f"demo_user_{1 + (user + self.rng.randrange(5)) % 40:02d}" if user else "demo_jobs",
            "feature": feature,
            "environment": self.environment,
            "provider": "openai",
            "model": model,
            "operation": "chat",
            "attempt": 1,
            "streamed": False,
            "status": "ok",
            "finish_reason": "stop",
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "cached_tokens": 0,
            "reasoning_tokens": 0,
            "usage_source": "reported",
            "prompt_hash": hashlib.sha256(key.encode()).hexdigest()[:32],
            "latency_ms": latency_ms,
            "time_to_first_token_ms": None,
            **fields,
        }
        self.calls.append((at, event))

    def _times(self, count: int, *, minutes: int) -> Iterator[datetime]:
        yield from sorted(
            self.hour + timedelta(milliseconds=self.rng.randrange(minutes * 60_000)) for _ in range(count)
        )

    def _around(self, middle: float, sigma: float) -> int:
        return round(middle * math.exp(self.rng.gauss(0, sigma)))

    def _some(self, mean: float) -> int:
        return int(mean) + (self.rng.random() < mean % 1)
