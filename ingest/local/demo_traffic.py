"""Realistic usage of an imaginary tutoring product, generated from a seed.

The traffic is one endless stream: every hour of the calendar has calls of its own, which depend on the seed and the
hour alone. So the same hour made again gives the same calls with the same ids, however far "now" has moved on. Things
worth finding are built in: an error burst every nine days, a cost spike every fifteen, a feature that misses the
provider's prompt cache, cancelled streams, guessed token counts, a model without a price, and what
`ingest.local.demo_waste` plants for the plan of savings.
"""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from ingest.local.demo_waste import planted_calls, prompt_blocks
from ingest.record.event_id import derive_event_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    Event = dict[str, JsonValue]

ENVIRONMENT = "demo"
DEFAULT_SEED = 20_261_123
USERS = 40
CALLS_PER_BUSY_HOUR = 52.0

# Days counted from 1970; all three periods fit several times into 90 days.
ERROR_BURST_EVERY_DAYS = 9
COST_SPIKE_EVERY_DAYS = 15
SEASON_DAYS = 120

_BURST_HOURS = (14, 15)
_SPIKE_HOURS = range(9, 13)
_SPIKE_CALLS_PER_HOUR = 12
_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Share of the busiest hour's traffic, by hour of the day in UTC: a product used in the afternoon and evening.
_BY_HOUR = (
    0.30, 0.20, 0.13, 0.09, 0.07, 0.09, 0.16, 0.30, 0.48, 0.62, 0.70, 0.74,
    0.76, 0.82, 0.92, 1.00, 0.98, 0.93, 0.90, 0.88, 0.80, 0.68, 0.52, 0.40,
)  # fmt: skip
_BY_WEEKDAY = (1.0, 1.05, 1.04, 1.0, 0.86, 0.42, 0.50)


@dataclass(frozen=True, slots=True)
class Model:
    """How fast a model answers.

    Attributes:
        name: What the provider calls it.
        provider: Who serves it.
        first_token_ms: Median time to the first token.
        per_token_ms: Median time for each further token.
        context_tokens: Most tokens that a prompt and its answer may have together.
        reasoning_ratio: Hidden reasoning tokens per visible one.
    """

    name: str
    provider: str
    first_token_ms: float
    per_token_ms: float
    context_tokens: int
    reasoning_ratio: float = 0.0


GPT_4O = Model("gpt-4o", "openai", 420, 13, 128_000)
GPT_4O_MINI = Model("gpt-4o-mini", "openai", 310, 8, 128_000)
GPT_41 = Model("gpt-4.1", "openai", 460, 12, 1_047_576)
O4_MINI = Model("o4-mini", "openai", 900, 7, 200_000, reasoning_ratio=2.4)
EMBEDDING = Model("text-embedding-3-small", "openai", 70, 0, 8_192)
FINE_TUNE = Model("ft:gpt-4o-mini-2024-07-18:living-tree:tutor:Bd4kQ2", "openai", 340, 9, 128_000)
SELF_HOSTED = Model("guardian-8b", "self-hosted", 90, 16, 8_192)


@dataclass(frozen=True, slots=True)
class Feature:
    """What a feature of the product asks of the models.

    Attributes:
        name: Name of the feature.
        share: Share of all calls.
        models: Models with the share of each.
        prefix_tokens: Length of the part that all prompts share; the provider may cache it.
        prompt_tokens: Median length of the rest of the prompt.
        completion_tokens: Median length of the answer; 0 for embeddings.
        cache_hit_rate: How often the shared part is found in the provider's cache.
        streamed: Whether answers are streamed.
        operation: chat or embeddings.
        route: Route of the backend that serves it.
    """

    name: str
    share: float
    models: tuple[tuple[Model, float], ...]
    prefix_tokens: int
    prompt_tokens: int
    completion_tokens: int
    route: str
    cache_hit_rate: float = 0.0
    streamed: bool = False
    operation: Literal["chat", "embeddings"] = "chat"


CHAT = Feature(
    "chat", 0.36, ((GPT_4O, 0.45), (GPT_4O_MINI, 0.45), (GPT_41, 0.10)), 1408, 620, 210, "/api/chat",
    cache_hit_rate=0.72, streamed=True,
)  # fmt: skip
SUMMARIZE = Feature("summarize", 0.11, ((GPT_41, 0.6), (GPT_4O_MINI, 0.4)), 256, 5200, 340, "/api/summaries")
FEATURES = (
    CHAT,
    SUMMARIZE,
    # Its calls go to whichever machine is free, without a `prompt_cache_key`: 4,600 equal tokens are never cached.
    Feature(
        "tutor", 0.14, ((O4_MINI, 0.3), (FINE_TUNE, 0.2), (GPT_4O, 0.5)), 4608, 480, 260, "/api/tutor",
        streamed=True,
    ),
    Feature("search-rerank", 0.12, ((GPT_4O_MINI, 1.0),), 1152, 1900, 36, "/api/search", cache_hit_rate=0.55),
    Feature("moderation", 0.12, ((SELF_HOSTED, 1.0),), 320, 180, 6, "/api/chat"),
    Feature("embeddings", 0.15, ((EMBEDDING, 1.0),), 0, 420, 0, "/api/documents", operation="embeddings"),
)  # fmt: skip

_USER_IDS = [f"demo_user_{number:02d}" for number in range(1, USERS + 1)]
# A few people do most of the work (Zipf's law, as in most products).
_USER_WEIGHTS = [1 / rank**0.9 for rank in range(1, USERS + 1)]
_SPIKE_USER_ID = _USER_IDS[6]


def usage_events(start: datetime, end: datetime, *, seed: int = DEFAULT_SEED) -> Iterator[Event]:
    """Make the LLM calls from `start` (included) to `end` (excluded), oldest first, without cost.

    Returns:
        Events with the keys that `observability.record_usage` takes.
    """
    for hour in _hours(start, end):
        yield from _within(_usage_of_hour(hour, seed), start, end)


def route_events(start: datetime, end: datetime, *, seed: int = DEFAULT_SEED) -> Iterator[Event]:
    """Make the HTTP requests from `start` (included) to `end` (excluded), oldest first.

    Returns:
        Events with the keys that `observability.record_performance` takes.
    """
    for hour in _hours(start, end):
        yield from _within(_routes_of_hour(hour, seed), start, end)


def is_error_burst(at: datetime) -> bool:
    """Whether the provider has an incident at this time."""
    return _day_number(at) % ERROR_BURST_EVERY_DAYS == 4 and at.hour in _BURST_HOURS


def is_cost_spike(at: datetime) -> bool:
    """Whether a costly batch runs at this time."""
    return _day_number(at) % COST_SPIKE_EVERY_DAYS == 8 and at.hour in _SPIKE_HOURS


def _hours(start: datetime, end: datetime) -> Iterator[datetime]:
    hour = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while hour < end:
        yield hour
        hour += _HOUR


def _within(events: list[tuple[datetime, Event]], start: datetime, end: datetime) -> Iterator[Event]:
    for created_at, event in sorted(events, key=lambda item: item[0]):
        if start <= created_at < end:
            yield event


def _usage_of_hour(hour: datetime, seed: int) -> list[tuple[datetime, Event]]:
    rng = random.Random(f"usage:{seed}:{hour.isoformat()}")  # noqa: S311 -- repeatable on purpose
    load = _load(hour)
    calls: list[tuple[datetime, Event]] = []
    for number in range(_poisson(rng, CALLS_PER_BUSY_HOUR * load)):
        (feature,) = rng.choices(FEATURES, [feature.share for feature in FEATURES])
        (user_id,) = rng.choices(_USER_IDS, _USER_WEIGHTS)
        calls += _call_with_retries(rng, feature, user_id, hour, f"{seed}:{hour.isoformat()}:{number}", load)
    if is_cost_spike(hour):
        for number in range(_SPIKE_CALLS_PER_HOUR):
            key = f"{seed}:{hour.isoformat()}:spike:{number}"
            calls.append(_call(rng, SUMMARIZE, _SPIKE_USER_ID, _moment(rng, hour), key, load, model=GPT_4O, scale=9.0))
    return [*calls, *planted_calls(hour, seed, ENVIRONMENT, load)]


def _call_with_retries(
    rng: random.Random, feature: Feature, user_id: str, hour: datetime, key: str, load: float
) -> list[tuple[datetime, Event]]:
    created_at = _moment(rng, hour)
    error_rate = 0.45 if is_error_burst(hour) else 0.008
    calls = []
    for attempt in range(1, 4):
        is_error = rng.random() < error_rate
        calls.append(
            _call(rng, feature, user_id, created_at, f"{key}:{attempt}", load, attempt=attempt, is_error=is_error)
        )
        if not is_error:
            break
        created_at += timedelta(seconds=rng.uniform(0.5, 2.0) * 2**attempt)
    if len(calls) > 1:
        for _, event in calls:
            event["request_group_id"] = hashlib.sha256(key.encode()).hexdigest()[:16]
    return calls


def _call(
    rng: random.Random,
    feature: Feature,
    user_id: str,
    created_at: datetime,
    key: str,
    load: float,
    *,
    model: Model | None = None,
    scale: float = 1.0,
    attempt: int = 1,
    is_error: bool = False,
) -> tuple[datetime, Event]:
    if model is None:
        (model,) = rng.choices([one for one, _ in feature.models], [share for _, share in feature.models])
    fresh_tokens = round(_around(rng, feature.prompt_tokens * scale, 0.7))
    prompt_tokens = feature.prefix_tokens + fresh_tokens
    is_cancelled = feature.streamed and not is_error and rng.random() < 0.02
    visible_tokens = round(_around(rng, feature.completion_tokens, 0.6)) if feature.completion_tokens else 0
    if is_cancelled:
        visible_tokens = round(visible_tokens * rng.uniform(0.05, 0.8))
    reasoning_tokens = round(visible_tokens * model.reasoning_ratio * _around(rng, 1.0, 0.4))
    completion_tokens = visible_tokens + reasoning_tokens
    prompt_tokens = min(prompt_tokens, model.context_tokens - completion_tokens)
    is_cached = rng.random() < feature.cache_hit_rate and model.provider == "openai"
    event: Event = {
        "event_id": str(derive_event_id(created_at, f"demo:{key}")),
        "created_at": created_at.isoformat(),
        "user_id": user_id,
        "session_id": f"{user_id}-{created_at:%m%d}-{created_at.hour // 3}" if feature is CHAT else None,
        "feature": feature.name,
        "environment": ENVIRONMENT,
        "provider": model.provider,
        "model": model.name,
        "operation": feature.operation,
        "attempt": attempt,
        "streamed": feature.streamed,
        "status": "ok",
        "finish_reason": None if feature.operation == "embeddings" else "stop",
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        # Providers cache in steps of 128 tokens.
        "cached_tokens": feature.prefix_tokens // 128 * 128 if is_cached else 0,
        "reasoning_tokens": reasoning_tokens,
        "usage_source": "reported",
        "prefix_hash": hashlib.sha256(feature.name.encode()).hexdigest()[:32] if feature.prefix_tokens else None,
        "prefix_tokens": feature.prefix_tokens or None,
        "prompt_hash": hashlib.sha256(key.encode()).hexdigest()[:32],
        "prompt_blocks": prompt_blocks(feature.name, key, feature.prefix_tokens, prompt_tokens),
    }
    event |= _timing(rng, model, feature, completion_tokens, load)
    if is_error:
        event |= _failure(rng, is_burst=is_error_burst(created_at))
    elif is_cancelled:
        # The usage chunk was not awaited, so the tokens were counted here.
        event |= {"status": "cancelled", "finish_reason": None, "usage_source": "tokenizer", "cached_tokens": 0}
    elif model is SELF_HOSTED and rng.random() < 0.3:
        event["usage_source"] = "heuristic"
    return created_at, event


def _timing(rng: random.Random, model: Model, feature: Feature, completion_tokens: int, load: float) -> Event:
    slowdown = 1 + 0.35 * load
    first_token_ms = _around(rng, model.first_token_ms * slowdown, 0.35)
    latency_ms = first_token_ms + _around(rng, model.per_token_ms * slowdown, 0.2) * completion_tokens
    return {
        "latency_ms": round(latency_ms, 1),
        "time_to_first_token_ms": round(first_token_ms, 1) if feature.streamed else None,
    }


def _failure(rng: random.Random, *, is_burst: bool) -> Event:
    kinds = {"RateLimitError": 0.6, "InternalServerError": 0.4} if is_burst else {
        "RateLimitError": 0.3, "APITimeoutError": 0.3, "InternalServerError": 0.2, "BadRequestError": 0.2,
    }  # fmt: skip
    (error_type,) = rng.choices(list(kinds), list(kinds.values()))
    return {
        "status": "error",
        "error_type": error_type,
        "finish_reason": None,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "prefix_tokens": None,
        "prompt_blocks": None,
        "reasoning_tokens": 0,
        "latency_ms": 30_000.0 if error_type == "APITimeoutError" else round(_around(rng, 180, 0.5), 1),
        "time_to_first_token_ms": None,
    }


def _routes_of_hour(hour: datetime, seed: int) -> list[tuple[datetime, Event]]:
    rng = random.Random(f"routes:{seed}:{hour.isoformat()}")  # noqa: S311 -- repeatable on purpose
    load = _load(hour)
    requests: list[tuple[datetime, Event]] = []
    for number in range(_poisson(rng, CALLS_PER_BUSY_HOUR * 0.5 * load)):
        created_at = _moment(rng, hour)
        is_page = rng.random() < 0.4
        if is_page:
            method, route, latency_ms = "GET", rng.choice(["/api/conversations", "/api/profile"]), _around(rng, 28, 0.6)
            first_byte_ms = latency_ms * 0.9
        else:
            (feature,) = rng.choices(FEATURES, [feature.share for feature in FEATURES])
            (model,) = rng.choices([one for one, _ in feature.models], [share for _, share in feature.models])
            method, route = "POST", feature.route
            first_byte_ms = 25 + _around(rng, model.first_token_ms * (1 + 0.35 * load), 0.35)
            latency_ms = first_byte_ms + _around(rng, model.per_token_ms * max(feature.completion_tokens, 1), 0.6)
        is_error = rng.random() < (0.3 if is_error_burst(hour) and not is_page else 0.004)
        (user_id,) = rng.choices(_USER_IDS, _USER_WEIGHTS)
        requests.append((created_at, {
            "event_id": str(derive_event_id(created_at, f"demo-route:{seed}:{hour.isoformat()}:{number}")),
            "created_at": created_at.isoformat(),
            "environment": ENVIRONMENT,
            "route": route,
            "method": method,
            "status_code": 502 if is_error else 200,
            "error_type": "BadGateway" if is_error else None,
            "user_id": user_id,
            "latency_ms": round(latency_ms, 1),
            "time_to_first_byte_ms": round(first_byte_ms, 1),
            "sample_weight": 4.0 if is_page else 1.0,
        }))  # fmt: skip
    return requests


def _load(hour: datetime) -> float:
    season = 1 + 0.2 * math.sin(2 * math.pi * _day_number(hour) / SEASON_DAYS)
    return _BY_HOUR[hour.hour] * _BY_WEEKDAY[hour.weekday()] * season


def _day_number(at: datetime) -> int:
    return (at - _EPOCH).days


def _moment(rng: random.Random, hour: datetime) -> datetime:
    return hour + timedelta(milliseconds=rng.randrange(3_600_000))


def _around(rng: random.Random, median: float, sigma: float) -> float:
    return median * math.exp(rng.gauss(0, sigma))


def _poisson(rng: random.Random, mean: float) -> int:
    # Knuth's method; the means here stay below 80.
    limit, count, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        count += 1
        product *= rng.random()
    return count
