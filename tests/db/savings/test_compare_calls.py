"""Calls beside their neighbours, against a comparison of every call with every other one."""

from __future__ import annotations

import hashlib
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from tests.support.calm_traffic import block_positions
from tests.support.events import NOON, store, usage_event

if TYPE_CHECKING:
    from tests.support.doors import Door

MIDNIGHT = NOON.replace(hour=0)
POSITIONS = [*block_positions(2**40)]
IDLE = (timedelta(minutes=5), timedelta(minutes=10), timedelta(hours=1))


class Call(NamedTuple):
    """A call: when, by which model, how many tokens, and its hashes."""

    event_id: str
    at: datetime
    model: str
    tokens: int
    hashes: tuple[str, ...]


def make_calls(rng: random.Random) -> list[tuple[Call, dict[str, Any]]]:
    """Sessions of few and many turns, some minutes apart, over instructions of different lengths; some start over."""
    made = []
    for session in range(60):
        instruction, fixed = rng.choice([("tutor", 3), ("tutor", 5), ("review", 9)])
        model, feature = rng.choice(["gpt-4o", "gpt-4.1"]), rng.choice(["chat", "search"])
        hashes = [f"{instruction}-{number}" for number in range(fixed)]
        at = MIDNIGHT - timedelta(minutes=90) + timedelta(minutes=rng.uniform(0, 400))
        for turn in range(rng.choice([1, 1, 2, 5, 12])):
            if rng.random() < 0.1:  # the history was summarised
                hashes = hashes[:fixed]
            hashes = [*hashes, *(f"{session}-{turn}-{number}" for number in range(rng.randrange(3)))]
            size = POSITIONS[len(hashes) - 1]
            data = b"".join(hashlib.sha256(text.encode()).digest()[:4] for text in hashes)
            # A few prompts are stored without hashes.
            event = usage_event(
                model=model, feature=feature, created_at=at, prompt_tokens=size // 4, completion_tokens=10,
                session_id=None if session % 5 == 0 else f"s{session}", status="cancelled" if turn == 3 else "ok",
                prompt_blocks=None if rng.random() < 0.05 else "\\x" + (size.to_bytes(4) + data).hex(),
            )  # fmt: skip
            if event["prompt_blocks"]:
                made.append((Call(str(event["event_id"]), at, model, size // 4, tuple(hashes)), event))
            at += timedelta(minutes=rng.choice([0.2, 1, 3, 4.9, 6, 11, 70]), milliseconds=rng.randrange(1000))
    return made


def shared(call: Call, others: list[Call], idle: timedelta, *, later: bool = False) -> int:
    """Tokens of the longest beginning that one of the others has, at most so long before or after."""
    longest = 0
    for other in others:
        gap = other.at - call.at if later else call.at - other.at
        if other is call or other.model != call.model or not timedelta(0) < gap <= idle:
            continue
        common = 0
        for mine, theirs in zip(call.hashes, other.hashes, strict=False):
            if mine != theirs:
                break
            common += 1
        longest = max(longest, common)
    return POSITIONS[longest - 1] // 4 if longest else 0


def test_beginnings_are_those_that_comparing_each_call_with_every_other_one_finds(direct: Door) -> None:
    made = make_calls(random.Random(15))
    store(direct.service(), *(event for _, event in made))
    calls = [call for call, _ in made]
    expected = {
        call.event_id: (*(shared(call, calls, idle) for idle in IDLE), shared(call, calls, IDLE[1], later=True))
        for call in calls
        if call.at >= MIDNIGHT
    }
    with psycopg.connect(direct.database.superuser_url) as connection:
        rows = connection.execute(
            "select event_id::text, coalesce(shared_5, 0), coalesce(shared_10, 0), coalesce(shared_60, 0),"
            " coalesce(kept, 0) from observability_internal.compare_calls(%s, %s) where is_measured",
            [MIDNIGHT, MIDNIGHT + timedelta(days=1)],
        ).fetchall()
    assert {row[0]: row[1:] for row in rows} == expected
    assert len(expected) > 150
    assert len(set(expected.values())) > 30
