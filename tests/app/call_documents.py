"""What the database in memory answers about single calls, by keyset pages and with every filter."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ingest.documents.calls import Call
from ingest.errors import InvalidArgumentError, PermissionDeniedError
from pricing import PriceBook

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

ERRORS: Final = ("RateLimitError", "APITimeoutError", "BadRequestError")
_RATES: Final = {
    "gpt-4o": ("openai", "2.50", "1.25", "10.00", "treering:openai/gpt-4o@2024-10-02"),
    "gpt-4o-mini": ("openai", "0.15", "0.075", "0.60", "treering:openai/gpt-4o-mini@2024-07-18"),
    "claude-sonnet-4-5": ("anthropic", "3.00", "0.30", "15.00", "genai:anthropic/claude-sonnet-4-5"),
}


def one_call(number: int, rng: random.Random, moment: datetime) -> Json:
    """One call as `get_events` returns it."""
    model = rng.choices([*_RATES, "our-own-7b"], [5, 5, 2, 1])[0]
    provider, price_in, price_cached, price_out, price_id = _RATES.get(model, ("self-hosted", "0", "0", "0", None))
    prompt, completion = rng.randrange(60, 4000), rng.randrange(10, 700)
    cached = prompt // 3 if number % 3 == 0 else 0
    cost = (
        (prompt - cached) * Decimal(price_in) + cached * Decimal(price_cached) + completion * Decimal(price_out)
    ) / 10**6
    status = rng.choices(["ok", "error", "cancelled"], [90, 6, 4])[0]
    is_priced = price_id is not None
    return {
        "event_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "created_at": moment.isoformat(),
        "received_at": (moment + timedelta(seconds=1)).isoformat(),
        "user_id": rng.choice(["user_2kf81maria", "user_9xq33tom", "user_7yy02lin", "local-ops"]),
        "session_id": f"sess_{number // 4:04d}" if number % 5 else None,
        "feature": rng.choice(["chat", "summarize", "search", None]),
        "environment": "production",
        "provider": provider,
        "model": model,
        "operation": "chat",
        "status": status,
        "error_type": rng.choice(ERRORS) if status == "error" else None,
        "finish_reason": "stop" if status == "ok" else None,
        "streamed": True,
        "service_tier": "default",
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cached_tokens": cached,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "audio_input_tokens": 0,
        "audio_output_tokens": 0,
        "max_output_tokens": None,
        "usage_source": "reported" if status == "ok" else "tokenizer",
        "estimated_cost": format(cost, "f") if is_priced else None,
        "cost_source": "priced" if is_priced else "unpriced",
        "price_id": price_id,
        "provider_cost": None,
        "request_fees": None,
        "latency_ms": rng.uniform(300, 9000),
        "time_to_first_token_ms": rng.uniform(120, 900) if status == "ok" else None,
        "request_group_id": None,
        "attempt": 1,
        "response_id": f"chatcmpl-{number:06d}",
        "prompt_hash": None,
        "prefix_hash": "9f2c1e77aa01b3d4",
        "metadata": rng.choice([{"plan": "pro", "seats": 5}, {"plan": "free", "beta": True}, None]),
    }


def some_calls(count: int = 130) -> list[Json]:
    """Calls of the last hours, newest first; the newest is one of gpt-4o, of 150 and 50 tokens."""
    rng = random.Random(11)
    now = datetime.now(UTC)
    calls = [one_call(number, rng, now - timedelta(minutes=2 + number * 3)) for number in range(count)]
    calls[0] |= {"model": "gpt-4o", "provider": "openai", "prompt_tokens": 150, "completion_tokens": 50}
    calls[0] |= {"cached_tokens": 0, "estimated_cost": "0.0007", "cost_source": "priced", "status": "ok"}
    calls[0] |= {"error_type": None, "session_id": "sess_first", "user_id": "user_2kf81maria", "price_id": "customer:2"}
    return calls


def matches(call: Json, filters: Json) -> bool:
    names = (
        "provider",
        "model",
        "feature",
        "environment",
        "operation",
        "status",
        "error_type",
        "session_id",
        "user_id",
    )
    wanted = filters.get("metadata", {})
    out = filters.get("not", {})
    return (
        all((call[name] or "") in filters[name] for name in names if filters.get(name))
        and all((call[name] or "") not in out[name] for name in names if out.get(name))
        and wanted.items() <= (call["metadata"] or {}).items()
    )


def ranked(calls: list[Json], filters: Json) -> list[Json]:
    """What is in the ranges, in the order that is asked for; no cost is in none."""
    figures: dict[str, Callable[[Json], Any]] = {
        "cost": lambda call: Decimal(call["estimated_cost"] or -1),
        "latency": lambda call: call["latency_ms"],
        "tokens": lambda call: call["prompt_tokens"] + call["completion_tokens"],
    }
    for name, figure in {"cost": "cost", "latency_ms": "latency", "tokens": "tokens"}.items():
        low, high = filters.get(f"min_{name}"), filters.get(f"max_{name}")
        if low or high:
            span = Decimal(low or 0), Decimal(high or "Infinity")
            calls = [call for call in calls if span[0] <= figures[figure](call) <= span[1]]
    order = filters.get("order")
    return sorted(calls, key=figures[str(order)], reverse=True) if order else calls


@dataclass
class CallAnswers:
    """Answers of `get_events`, as a part of `FakeDatabase`; refuses what the database refuses."""

    access: str = "ops"
    is_empty: bool = False
    newest_event_at: datetime | None = None
    has_demo_data: bool = True
    most_metadata: timedelta = timedelta(days=7)

    def __post_init__(self) -> None:
        self.single_calls = some_calls()

    def refuse(self, arguments: Json) -> None:
        """Raise what the database raises."""
        filters = arguments.get("filters") or {}
        for name in ("cost", "latency_ms", "tokens"):
            low, high = filters.get(f"min_{name}"), filters.get(f"max_{name}")
            if low and high and Decimal(low) > Decimal(high):
                raise InvalidArgumentError(f"min_{name} is above max_{name}", sqlstate="22023")
        if self.access == "member" and filters.get("user_id"):
            raise PermissionDeniedError("members see their own calls only", sqlstate="42501")
        if filters.get("metadata") and "from_time" in arguments:
            span = datetime.fromisoformat(arguments["to_time"]) - datetime.fromisoformat(arguments["from_time"])
            if span > self.most_metadata:
                raise InvalidArgumentError("a filter by metadata reads raw calls: at most 7 days", sqlstate="22023")

    def _get_call_context(self, event_id: str, created_at: str) -> Json:
        del created_at
        place = next((index for index, call in enumerate(self.single_calls) if call["event_id"] == event_id), 0)
        return {
            "calls": 412,
            "median_cost": "0.0000064",
            "median_prompt_tokens": 30,
            "median_completion_tokens": 48,
            "session_calls": 4,
            "session_cost": "0.0123",
            "session_place": place % 4 + 1,
        }

    def _get_events(self, from_time: str, to_time: str, filters: Json) -> Json:
        start, end = datetime.fromisoformat(from_time), datetime.fromisoformat(to_time)
        if self.access == "member":
            filters = filters | {"user_id": ["local-ops"]}
        found = [
            call
            for call in ([] if self.is_empty else self.single_calls)
            if start <= datetime.fromisoformat(call["created_at"]) < end and matches(call, filters)
        ]
        found = ranked(found, filters)
        if cursor := filters.get("cursor"):
            place = [index for index, call in enumerate(found) if call["event_id"] == cursor.partition("|")[2]]
            found = found[place[0] + 1 :] if place else []
        size = int(filters["limit"])
        has_costs = bool({"min_cost", "max_cost"} & filters.keys()) and not cursor
        apart = {name: value for name, value in filters.items() if name not in ("min_cost", "max_cost")}
        page = found[:size]
        newest = self.newest_event_at
        return {
            "access": self.access,
            "events": page,
            "next_cursor": f"{page[-1]['created_at']}|{page[-1]['event_id']}" if len(found) > size else None,
            "newest_event_at": newest.isoformat() if newest and not page else None,
            "without_cost": sum(
                call["estimated_cost"] is None and matches(call, apart)
                for call in ([] if self.is_empty else self.single_calls)
            )
            if has_costs
            else None,
            "has_demo_data": self.has_demo_data,
            "options": {
                "models": [*_RATES, "our-own-7b"],
                "providers": ["anthropic", "openai", "self-hosted"],
                "features": ["chat", "search", "summarize"],
                "environments": ["production"],
                "operations": ["chat"],
                "error_types": list(ERRORS),
            },
        }


def call(**fields: Any) -> Call:
    return Call.model_validate(
        {
            "event_id": "0190c1d2-0000-7000-8000-000000000001",
            "created_at": datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC),
            "user_id": "user_a",
            "model": "gpt-4o",
            "provider": "openai",
            "prompt_tokens": 150,
            "completion_tokens": 50,
            "estimated_cost": "0.000875",
            "cost_source": "priced",
            "price_id": PriceBook.default().explain("gpt-4o").price_id,
            **fields,
        }
    )
