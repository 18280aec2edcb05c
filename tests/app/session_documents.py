"""What the database in memory answers about one session: a chat whose prompt grows with every turn."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tests.app.call_documents import one_call

Json = dict[str, Any]

ABSENT: Final = "no-such-session"
_MOST_POINTS: Final = 200


def chat(session_id: str, count: int) -> list[Json]:
    """Turns of gpt-4o, 40 seconds apart: a prompt of 1,200 tokens that each turn adds 4,255 to, half of it cached."""
    rng = random.Random(4)
    start = datetime.now(UTC) - timedelta(hours=2)
    found = []
    for number in range(count):
        prompt = 1200 + 4255 * number
        cached = prompt // 2 if number else 0
        cost = ((prompt - cached) * Decimal("2.5") + cached * Decimal("1.25") + 300 * 10) / 10**6
        call = one_call(number, rng, start + timedelta(seconds=40 * number))
        call |= {"session_id": session_id, "feature": "chat", "model": "gpt-4o", "provider": "openai"}
        call |= {"user_id": "user_2kf81maria", "status": "ok", "error_type": None, "usage_source": "reported"}
        call |= {"prompt_tokens": prompt, "cached_tokens": cached, "completion_tokens": 300}
        call |= {"estimated_cost": format(cost, "f"), "cost_source": "priced", "price_id": "openai/gpt-4o"}
        found.append(call | {"metadata": {"plan": "pro"}, "latency_ms": 900.0 + prompt / 20})
    return found


@dataclass
class SessionAnswers:
    """Answer of `get_session`, as a part of `FakeDatabase`."""

    access: str = "ops"
    session_length: int = 12
    session_users: tuple[str, ...] = ("user_2kf81maria",)
    session_archived_until: datetime | None = None
    has_session_prices: bool = True
    has_demo_data: bool = True

    def _get_session(self, session_id: str, filters: Json) -> Json:
        calls = [] if session_id == ABSENT else chat(session_id, self.session_length)
        for number, call in enumerate(calls):
            call["user_id"] = self.session_users[number % len(self.session_users)]
            if not self.has_session_prices:
                call |= {"estimated_cost": None, "cost_source": "unpriced", "price_id": None}
        calls = [call for call in calls if filters.get("user_id") in (None, call["user_id"])]
        first, limit = filters["first_turn"], filters["limit"]
        step = -(-len(calls) // _MOST_POINTS) or 1
        until = self.session_archived_until
        return {
            "access": self.access,
            "archived_until": until.isoformat() if until else None,
            "has_demo_data": self.has_demo_data,
            "totals": _totals(calls),
            "points": [_point(calls, place, step) for place in range(0, len(calls), step)],
            "first_turn": first,
            "turns": calls[first - 1 : first - 1 + limit],
        }


def _cost(calls: list[Json]) -> str | None:
    known = [Decimal(call["estimated_cost"]) for call in calls if call["estimated_cost"]]
    return str(sum(known)) if known else None


def _totals(calls: list[Json]) -> Json:
    tokens = {
        name: sum(call[name] for call in calls) for name in ("prompt_tokens", "cached_tokens", "completion_tokens")
    }
    resent = sum(call["prompt_tokens"] + 300 for call in calls[:-1])
    late = calls[len(calls) - -(-len(calls) // 4) :]
    cost, priced = _cost(calls), sum(call["estimated_cost"] is not None for call in calls)
    kinds = {"provider": "openai", "model": "gpt-4o", "requests": priced, "cost": cost, **tokens}
    kinds |= {"resent_cached_tokens": tokens["cached_tokens"], "reasoning_tokens": 0, "cache_write_tokens": 0}
    kinds |= {"resent_uncached_tokens": resent - tokens["cached_tokens"]}
    kinds |= {"audio_input_tokens": 0, "audio_output_tokens": 0}
    return {
        "turns": len(calls),
        "first_at": calls[0]["created_at"] if calls else None,
        "last_at": calls[-1]["created_at"] if calls else None,
        "errors": 0,
        "cancelled": 0,
        **tokens,
        "resent_tokens": resent,
        "cost": cost,
        "fallback_cost": "0",
        "priced_turns": priced,
        "fallback_turns": 0,
        "unpriced_turns": len(calls) - priced,
        "estimated_turns": 0,
        "first_prompt_tokens": calls[0]["prompt_tokens"] if calls else None,
        "last_prompt_tokens": calls[-1]["prompt_tokens"] if calls else None,
        "late_turns": len(late),
        "late_cost": _cost(late),
        "users": sorted({call["user_id"] for call in calls}),
        "user_count": len({call["user_id"] for call in calls}),
        "tenants": ["acme"],
        "features": ["chat"],
        "tags": {"plan": ["pro"]},
        "kinds": [kinds] if cost else [],
    }


def _point(calls: list[Json], place: int, step: int) -> Json:
    some = calls[place : place + step]
    largest = max(some, key=lambda call: int(call["prompt_tokens"]))
    return {
        "first_turn": place + 1,
        "last_turn": place + len(some),
        "first_at": some[0]["created_at"],
        "last_at": some[-1]["created_at"],
        "prompt_tokens": largest["prompt_tokens"],
        "cached_tokens": largest["cached_tokens"],
        "cost": _cost(some),
        "priced_turns": sum(call["estimated_cost"] is not None for call in some),
        "cumulative_cost": _cost(calls[: place + step]),
    }
