"""Hourly histories whose truth is known: the demo's, and made of the recorded traces."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.local.demo_traffic import SELF_HOSTED, is_cost_spike, is_error_burst, usage_events
from ingest.notices import Notices
from ingest.ops.traces import Mapping, TracedCall, open_trace
from ingest.prices.costing import Costing
from pricing import calculate_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HOUR = timedelta(hours=1)
START = datetime(2026, 4, 1, tzinfo=UTC)
END = datetime(2026, 11, 1, tzinfo=UTC)
SEEDS = (1, 2, 3)
# Of these nothing was ever tuned.
OTHER_SEEDS = (7, 8, 9)

_TRACES = Path(__file__).parents[3] / "shared/data"
_MINUTES = 60

# An office's product: quiet nights and weekends. The traces themselves are of one hour each.
_BY_HOUR = (2, 1, 1, 1, 1, 2, 4, 10, 30, 60, 80, 90, 80, 85, 95, 100, 90, 70, 45, 30, 20, 12, 8, 4)
_BY_WEEKDAY = (1.0, 1.05, 1.02, 0.98, 0.85, 0.25, 0.2)


@dataclass
class History:
    """Hours of one history: spend in US dollars by hour for each series, and the hours of what is built in.

    `user_days` is what each day of each user came to, in US dollars.
    """

    name: str
    series: dict[str, list[float]] = field(default_factory=dict)
    labels: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    user_days: list[float] = field(default_factory=list)


def hours() -> list[datetime]:
    """Start of each hour of every history."""
    return [START + HOUR * number for number in range((END - START) // HOUR)]


@cache
def demo(seed: int) -> History:
    """The demo's traffic: spend, calls and errors by hour, with the spikes and bursts it has on purpose."""
    count = len(hours())
    totals = {name: [0.0] * count for name in ("spend", "requests", "errors")}
    user_days: dict[tuple[object, int], float] = {}
    costing = Costing(None, Notices())
    for event in usage_events(START, END, seed=seed):
        number = (datetime.fromisoformat(str(event["created_at"])) - START) // HOUR
        if event["provider"] != SELF_HOSTED.provider:
            costing.apply(event)
            cost = float(str(event["estimated_cost"]))
            totals["spend"][number] += cost
            user_day = (event["user_id"], number // 24)
            user_days[user_day] = user_days.get(user_day, 0.0) + cost
        totals["requests"][number] += 1
        totals["errors"][number] += event["status"] == "error"
    spikes, bursts = windows(is_cost_spike), windows(is_error_burst)
    labels = {"spend": spikes, "errors": bursts, "requests": sorted(spikes + bursts)}
    return History(f"demo {seed}", totals, labels, list(user_days.values()))


def traced(name: str, file: str, layout: str, seed: int, weekly_growth: float) -> History:
    """A history made of a trace: each hour takes minutes of it at random, as many as its load asks for."""
    rng = random.Random(f"{name}:{seed}:{weekly_growth}")
    minutes = _cost_by_minute(file, layout)
    spend = []
    for number, hour in enumerate(hours()):
        load = _BY_HOUR[hour.hour] / 100 * _BY_WEEKDAY[hour.weekday()] * (1 + weekly_growth) ** (number / 168)
        # The day as a whole is busier or quieter than usual, by some 15 percent.
        load *= random.Random(f"{name}:{seed}:{hour.date()}").lognormvariate(0, 0.15)
        spend.append(load * sum(rng.choices(minutes, k=_MINUTES)))
    return History(f"{name} {seed}", {"spend": spend})


def traces(seeds: Sequence[int] = SEEDS) -> list[History]:
    """Histories of both traces, level and growing by 3 percent a week."""
    sources = (
        ("azure", "azure_llm_conv_2023.csv.gz", "azure"),
        ("mooncake", "mooncake_conversation.jsonl.gz", "mooncake"),
    )
    return [traced(*source, seed, growth) for source in sources for seed in seeds for growth in (0.0, 0.03)]


def windows(is_labelled: Callable[[datetime], bool]) -> list[tuple[datetime, datetime]]:
    """Runs of labelled hours; the mean of the last hours may tell two hours later."""
    found: list[tuple[datetime, datetime]] = []
    for hour in hours():
        if is_labelled(hour):
            if found and hour - found[-1][1] <= 3 * HOUR:
                found[-1] = (found[-1][0], hour + 2 * HOUR)
            else:
                found.append((hour, hour + 2 * HOUR))
    return found


@cache
def _cost_by_minute(file: str, layout: str) -> list[float]:
    costs: dict[int, float] = {}
    first: datetime | None = None
    for call in open_trace(_TRACES / file, layout).calls(Mapping()):
        assert isinstance(call, TracedCall)
        first = first or call.created_at
        arguments = call.arguments
        cost = calculate_cost(str(arguments["model"]), arguments["prompt_tokens"], arguments["completion_tokens"]).total
        assert cost is not None
        minute = (call.created_at - first) // timedelta(minutes=1)
        costs[minute] = costs.get(minute, 0.0) + float(cost)
    return list(costs.values())
