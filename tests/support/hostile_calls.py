"""Calls and requests as real ones are at their worst, and a pipeline that has done to them all that it can do.

Everything comes of one seed. Costs are drawn, not computed: what a page has to show is what the rows say.
"""

from __future__ import annotations

import itertools
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from ingest.prices.reprice import RepriceScope
from tests.support.events import condense_all, roll_up_all
from tests.support.repricing import apply

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import JsonValue

    from ingest.database import Database

ZONES: Final = (
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",  # half an hour beside UTC's hours
    "Asia/Kathmandu",  # a quarter of an hour
    "America/New_York",
    "Australia/Lord_Howe",  # its clocks change by half an hour
    "America/Havana",  # its clocks change at midnight
    "Pacific/Kiritimati",  # 14 hours ahead
)
USERS: Final = ("user_ada", "user_bob", "user_ünï", "o'brien", 'user "q"', "user_eve", "user_gone", "u" * 200)
TENANTS: Final = (None, None, "acme", "globex", "it's 100%", "user_ada")
TAGS: Final = (None, None, {"plan": "pro"}, {"plan": "free", "team": "search"}, {"team": "it's"})
FEATURES: Final = (None, "chat", "search", 'Ärger, "quoted"', "batch")
MODELS: Final = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("openai", "o3"),
    ("azure", "gpt-4o"),  # the same name at another provider
    ("anthropic", "claude-sonnet-4"),
    ("google", "gemini-2.5-flash"),
    ("ollama", "llama-local"),
    ("openai", "text-embedding-3-small"),
    ("openai", "mystery"),
    ("router", "any/model"),
    ("openai", "ft:gpt-4o:acme"),
)
METADATA: Final = (None, None, {"plan": "pro"}, {"plan": "pro", "seats": 5, "beta": True}, {"plan": "free"})
ROUTES: Final = (("GET", "/chat/{id}"), ("POST", "/chat/{id}"), ("POST", "/search"), ("GET", "/health"))
ERASED: Final = "user_gone"
_SESSIONS: Final = (None, "s1", "s2", "it's s3")
_PRICE: Final[dict[str, JsonValue]] = {
    "model": "gpt-4o-mini",
    "valid_from": "2026-01-01T00:00:00Z",
    "rates": {"input": "0.15", "cached_input": "0.07", "output": "0.6"},
    "source": "contract",
}
_ERRORS: Final = ("RateLimitError", "Timeout", None)


def edges_of(days: Iterable[datetime], zones: Sequence[str] = ZONES) -> list[datetime]:
    """Moments at and beside the midnights of the zones on these days and the changes of their clocks."""
    found: list[datetime] = []
    step = timedelta(microseconds=1)
    for day in days:
        for zone in map(ZoneInfo, zones):
            midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
            found += [midnight - step, midnight, midnight + step]
            hours = [midnight + timedelta(minutes=30 * n) for n in range(48)]
            for before, after in itertools.pairwise(hours):
                if before.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
                    found += [after + timedelta(minutes=15 * n) + step * k for n in range(-6, 7) for k in (-1, 0)]
    return found


class HostileCalls:
    """Makes calls and requests of one seed.

    Attributes:
        random: Where every choice comes from.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def call(self, created_at: datetime) -> dict[str, Any]:
        """One call at a moment."""
        draw = self.random
        provider, model = draw.choice(MODELS)
        status = draw.choices(("ok", "error", "cancelled"), (80, 14, 6))[0]
        prompt = 0 if status == "error" and draw.random() < 0.7 else draw.choice((0, 1, 150, draw.randrange(200_000)))
        completion = 0 if status == "error" or model.startswith("text-emb") else draw.randrange(3000)
        latency = self._latency()
        first = latency * draw.random() if latency is not None and draw.random() < 0.5 else None
        source, cost = self._cost(model, status)
        return {
            "event_id": str(uuid.UUID(int=draw.getrandbits(128), version=4)),
            "created_at": created_at.isoformat(),
            "user_id": draw.choice(USERS),
            "tenant_id": draw.choice(TENANTS),
            "tags": draw.choice(TAGS),
            "session_id": draw.choice(_SESSIONS),
            "feature": draw.choice(FEATURES),
            "environment": draw.choice(("production", "production", "staging")),
            "provider": provider,
            "model": model,
            "operation": "embedding" if model.startswith("text-emb") else "chat",
            "status": status,
            "error_type": draw.choice(_ERRORS) if status == "error" else None,
            "streamed": first is not None,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "cached_tokens": draw.choice((0, prompt // 2, prompt)),
            "cache_write_tokens": 0,
            "reasoning_tokens": draw.choice((0, completion // 3, completion)),
            "audio_input_tokens": draw.choice((0, 0, 0, prompt // 4)),
            "audio_output_tokens": draw.choice((0, 0, 0, completion // 4)),
            "usage_source": draw.choice(("reported", "reported", "reported", "tokenizer", "heuristic")),
            "estimated_cost": cost,
            "cost_source": source,
            "provider_cost": cost if source == "provider" else None,
            "request_fees": draw.choice((None, None, None, "0.01")),
            "latency_ms": latency,
            "time_to_first_token_ms": first,
            "metadata": draw.choice(METADATA),
        }

    def request(self, created_at: datetime) -> dict[str, Any]:
        """One HTTP request at a moment."""
        draw = self.random
        method, route = draw.choice(ROUTES)
        return {
            "event_id": str(uuid.UUID(int=draw.getrandbits(128), version=4)),
            "created_at": created_at.isoformat(),
            "route": route,
            "method": method,
            "environment": draw.choice(("production", "staging")),
            "status_code": draw.choice((200, 200, 200, 404, 500, 503)),
            "error_type": draw.choice((None, None, None, "ClientDisconnect")),
            "user_id": draw.choice((None, "user_ada")),
            "latency_ms": self._latency() or 1.5,
            "sample_weight": draw.choice((1, 1, 10, 1 / 0.3)),
        }

    def _latency(self) -> float | None:
        draw = self.random
        usual = draw.lognormvariate(6.5, 1.2)
        return draw.choice((None, 0.0, 1.0, 999_999.5, *(usual,) * 12))

    def _cost(self, model: str, status: str) -> tuple[str, str | None]:
        draw = self.random
        if model == "mystery":
            return draw.choice((("unpriced", None), ("fallback", "0.0213"), ("fallback", "0")))
        if model == "llama-local":
            return draw.choice((("unpriced", None), ("priced", "0")))
        if model == "any/model":
            return draw.choice((("provider", f"{draw.uniform(0.0001, 0.3):.9f}"), ("fallback", "0.001")))
        if status == "error":
            return "priced", draw.choice(("0", "0", "0.000125"))
        if draw.random() < 0.03:
            return "provider", f"-{draw.uniform(0.01, 2):.6f}"  # a refund
        if draw.random() < 0.04:
            return "unpriced", None
        return "priced", draw.choice(("0.00000015", f"{draw.uniform(0.0001, 0.2):.10f}", f"{draw.uniform(0.5, 9):.4f}"))


def fill(database: Database, calls: list[dict[str, Any]], requests: list[dict[str, Any]], *, seed: int) -> None:
    """Record calls and requests out of order and late, with everything that may happen to them in between.

    The coarse levels then hold most of them, some of the buckets wait to be condensed again, one model was priced anew
    and one person was erased after the roll-up.
    """
    shuffled = random.Random(seed).sample(calls, len(calls))
    first, late = len(shuffled) * 7 // 10, len(shuffled) * 9 // 10
    database.call("ensure_partitions")
    for part in (shuffled[:first], shuffled[first:late]):
        _record(database, part)
        _ask(database, "record_performance", requests[:: 2 if part is shuffled[:first] else 1])
        roll_up_all(database)
        condense_all(database)
    moments = sorted(call["created_at"] for call in calls)
    begin, end = (datetime.fromisoformat(moments[len(moments) * n // 5]) for n in (1, 4))
    database.call("add_price", price=_PRICE)
    apply(database, RepriceScope(begin, end, models=("gpt-4o-mini", "o3")))
    erased: Any = None
    while erased is None or not erased["is_done"]:
        erased = database.call("forget_user", user_id=ERASED, max_rows=100)
    _record(database, shuffled[late:])
    roll_up_all(database)


def _record(database: Database, calls: list[dict[str, Any]]) -> None:
    for start in range(0, len(calls), 500):
        _ask(database, "record_usage", calls[start : start + 500])


def _ask(database: Database, function: str, events: list[dict[str, Any]]) -> None:
    database.call(function, events=events)
