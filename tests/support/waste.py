"""Traffic with planted waste in known amounts: what each kind costs is worked out here, call by call, by plain sums.

Every kind has a feature of its own, so that all at once cost what each costs alone. Noise is that of real traffic:
lengths are log-normal, times are those of a day, some calls fail unbilled.
"""

from __future__ import annotations

import hashlib
import math
import random
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median_low
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.support.calm_traffic import add_calm_traffic, block_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import JsonValue

    Event: TypeAlias = dict[str, JsonValue]

START: Final = datetime(2026, 10, 1, tzinfo=UTC)
DAYS: Final = 10

# US dollars a million tokens: uncached input, cached input, cache write, one-hour write, output.
RATES: Final = {
    ("gpt-4o", ""): ("2.5", "1.25", "2.5", "2.5", "10"),
    ("gpt-4o", "priority"): ("4.25", "2.125", "4.25", "4.25", "17"),
    ("gpt-4o", "batch"): ("1.25", "1.25", "1.25", "1.25", "5"),
    ("gpt-4o-2024-05-13", ""): ("5", "5", "5", "5", "15"),
    ("gpt-4-turbo", ""): ("10", "10", "10", "10", "30"),
    ("gpt-4o-mini", ""): ("0.15", "0.075", "0.15", "0.15", "0.6"),
    ("gpt-4.1", ""): ("2", "0.5", "2", "2", "8"),
    ("gpt-4.1-mini", ""): ("0.4", "0.1", "0.4", "0.4", "1.6"),
    ("o4-mini", ""): ("1.1", "0.275", "1.1", "1.1", "4.4"),
    ("text-embedding-3-large", ""): ("0.13", "0.13", "0.13", "0.13", "0"),
    ("claude-sonnet-4-5", ""): ("3", "0.3", "3.75", "6", "15"),
    ("gemini-2.5-pro", ""): ("1.25", "0.125", "1.25", "1.25", "10"),
    ("gemini-2.5-pro", "long"): ("2.5", "0.25", "2.5", "2.5", "15"),
}


def usd(
    model: str,
    prompt: int,
    completion: int,
    *,
    tier: str = "",
    cached: int = 0,
    written: int = 0,
    hour: int = 0,
) -> Decimal:
    """What a call costs, by hand; `hour` is part of `written`."""
    fresh, read, write, long_write, output = (Decimal(rate) for rate in RATES[model, tier])
    amount = (prompt - cached - written) * fresh + cached * read + (written - hour) * write + hour * long_write
    return (amount + completion * output) / 1_000_000


@dataclass
class Simulation:
    """Calls of one environment, and what they waste.

    Attributes:
        environment: Name of it; nothing is shared with another one.
        scale: How many times the smallest amount of traffic.
        with_hashes: Whether hashes of beginnings are recorded.
        events: The calls.
        truth: US dollars by kind and feature.
    """

    environment: str
    scale: int = 1
    with_hashes: bool = True
    events: list[Event] = field(default_factory=list)
    truth: defaultdict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"waste:{self.environment}:{self.scale}")

    def length(self, middle: float, sigma: float = 0.5) -> int:
        """A log-normal number of tokens."""
        return max(1, round(middle * math.exp(self.rng.gauss(0, sigma))))

    def times(self, count: int, *, begin_hour: int = 0, hours: int = 24) -> Iterator[datetime]:
        """So many times on each day, in order."""
        for day in range(DAYS):
            begin = START + timedelta(days=day, hours=begin_hour)
            yield from sorted(begin + timedelta(seconds=self.rng.uniform(0, hours * 3600 - 1)) for _ in range(count))

    def hash(self, *parts: object) -> str:
        """A hash that no other environment has."""
        return hashlib.sha256(repr((self.environment, *parts)).encode()).hexdigest()[:32]

    def call(
        self, at: datetime, feature: str, model: str, prompt: int, completion: int, **fields: JsonValue
    ) -> Decimal:
        """Add a call and return its cost."""

        def number(name: str) -> int:
            value = fields.get(name, 0)
            assert isinstance(value, int)
            return value

        tier = str(fields.get("service_tier") or "")
        hour = number("cache_write_1h_tokens")
        fields.pop("cache_write_1h_tokens", None)
        if hour:
            fields["usage_details"] = {"cache_write_1h_tokens": hour}
        price_tier = "long" if model.startswith("gemini") and prompt > 200_000 else tier
        cost = usd(
            model, prompt, completion, tier=price_tier, cached=number("cached_tokens"),
            written=number("cache_write_tokens"), hour=hour,
        )  # fmt: skip
        makers = {"claude": "anthropic", "gemini": "google"}
        self.events.append(
            {
                "event_id": str(uuid.UUID(int=self.rng.getrandbits(128))),
                "created_at": at.isoformat(),
                "user_id": f"user_{self.rng.randrange(20)}",
                "environment": self.environment,
                "feature": feature,
                "provider": makers.get(model.partition("-")[0], "openai"),
                "model": model,
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "estimated_cost": str(cost),
                "cost_source": "priced",
                "prompt_hash": self.hash(feature, self.rng.random()),
                **fields,
            }
        )
        return cost

    def waste(self, kind: str, feature: str, amount: Decimal) -> None:
        """Note what need not have been paid."""
        self.truth[kind, feature] += amount

    def blocks(self, beginning: object, shared: int, prompt: int) -> str | None:
        """Hashes of a prompt of which `shared` tokens are those of everybody with this beginning."""
        if not self.with_hashes or prompt < 1024:
            return None
        own, found = self.rng.random(), [(prompt * 4).to_bytes(4).hex()]
        for position in block_positions(prompt * 4):
            key = (beginning, position) if position <= shared * 4 else (own, position)
            found.append(self.hash("block", *key)[:8])
        return "\\x" + "".join(found)


def billed_retries(sim: Simulation) -> None:
    """Attempts that timed out after the provider had answered."""
    for number, at in enumerate(sim.times(14 * sim.scale)):
        prompt, completion, group = sim.length(1500), sim.length(400), sim.hash("group", number)
        text = sim.hash("retried", number)
        if sim.rng.random() < 0.5:
            lost = sim.call(
                at, "extract", "gpt-4o", prompt, completion, status="error", error_type="ReadTimeout",
                request_group_id=group, attempt=1, prompt_hash=text,
            )  # fmt: skip
            sim.waste("billed_retries", "extract", lost)
        sim.call(
            at + timedelta(seconds=40), "extract", "gpt-4o", prompt, completion, request_group_id=group, attempt=2,
            prompt_hash=text,
        )  # fmt: skip


def billed_errors(sim: Simulation) -> None:
    """Streams that break and are not tried again."""
    for at in sim.times(20 * sim.scale):
        fails = sim.rng.random() < 0.4
        cost = sim.call(
            at, "voice", "gpt-4o", sim.length(1200), sim.length(300), streamed=True,
            status="error" if fails else "ok",
        )  # fmt: skip
        if fails:
            sim.waste("billed_errors", "voice", cost)


def duplicates(sim: Simulation) -> None:
    """The same question from different people, some minutes later."""
    for number, at in enumerate(sim.times(12 * sim.scale, begin_hour=1, hours=20)):
        prompt, completion, text = sim.length(900), sim.length(300), sim.hash("question", number)
        sim.call(at, "faq", "gpt-4o", prompt, completion, prompt_hash=text)
        for again in range(sim.rng.randrange(3)):
            later = at + timedelta(minutes=10 + 15 * again + sim.rng.uniform(0, 10))
            sim.waste("duplicates", "faq", sim.call(later, "faq", "gpt-4o", prompt, completion, prompt_hash=text))


def embedded_again(sim: Simulation) -> None:
    """All documents embedded anew every day."""
    for document in range(6 * sim.scale):
        tokens = sim.length(200_000)
        for day in range(DAYS):
            at = START + timedelta(days=day, hours=1, seconds=document * 1000 % 70_000)
            cost = sim.call(
                at, "index", "text-embedding-3-large", tokens, 0, operation="embeddings",
                prompt_hash=sim.hash("document", document), session_id=f"{sim.environment}-{day}-{document}",
            )  # fmt: skip
            if day:
                sim.waste("embedded_again", "index", cost)


def cancelled(sim: Simulation) -> None:
    """Answers that nobody waited for to the end."""
    for at in sim.times(25 * sim.scale):
        stops = sim.rng.random() < 0.3
        cost = sim.call(
            at, "draft", "gpt-4o", sim.length(1800), sim.length(500), streamed=True,
            status="cancelled" if stops else "ok",
        )  # fmt: skip
        if stops:
            sim.waste("cancelled", "draft", cost)


def priority_tier(sim: Simulation) -> None:
    """Background work on the dear tier, spread over the day."""
    for at in sim.times(12 * sim.scale):
        prompt, completion = sim.length(1000), sim.length(200)
        cost = sim.call(at, "tagging", "gpt-4o", prompt, completion, service_tier="priority")
        sim.waste("priority_tier", "tagging", cost - usd("gpt-4o", prompt, completion))


def batch(sim: Simulation) -> None:
    """A nightly job."""
    for at in sim.times(30 * sim.scale, begin_hour=2, hours=1):
        prompt, completion = sim.length(2500), sim.length(300)
        cost = sim.call(at, "nightly-summaries", "gpt-4o", prompt, completion, user_id="jobs")
        sim.waste("batch", "nightly-summaries", cost - usd("gpt-4o", prompt, completion, tier="batch"))


def shared_beginnings(sim: Simulation) -> None:
    """A long instruction that is never cached, because something that varies stands before it in the request."""
    shared, last = 2304, None
    for at in sim.times(150 * sim.scale, begin_hour=8, hours=10):
        prompt = shared + sim.length(400)
        extra: Event = {} if sim.with_hashes else {"prefix_hash": sim.hash("tutor"), "prefix_tokens": shared}
        extra["prompt_blocks"] = sim.blocks("tutor", shared, prompt)
        sim.call(at, "tutor", "gpt-4o", prompt, sim.length(150), streamed=True, **extra)
        if last is not None and at - last <= timedelta(minutes=10):
            sim.waste("shared_beginnings", "tutor", shared * Decimal("1.25") / 1_000_000)
        last = at


def session_turns(sim: Simulation) -> None:
    """Conversations that are appended to and never read from the cache."""
    for number, begin in enumerate(sim.times(6 * sim.scale, begin_hour=7, hours=14)):
        at, before = begin, 0
        for _ in range(sim.rng.randrange(3, 9)):
            prompt, completion = (before or 1400) + sim.length(120), sim.length(250)
            sim.call(
                at, "coach", "gpt-4.1", prompt, completion, streamed=True, session_id=f"{sim.environment}-c{number}"
            )
            if before >= 1024:
                sim.waste("session_turns", "coach", before // 128 * 128 * Decimal("1.5") / 1_000_000)
            before, at = prompt + completion, at + timedelta(seconds=sim.rng.uniform(20, 240))


def unread_cache(sim: Simulation) -> None:
    """Everything is written to the cache and hardly anything comes again."""
    for at in sim.times(20 * sim.scale):
        prompt, completion = sim.length(3000), sim.length(200)
        written = prompt * 9 // 10
        cost = sim.call(at, "review", "claude-sonnet-4-5", prompt, completion, cache_write_tokens=written)
        sim.waste("unread_cache", "review", cost - usd("claude-sonnet-4-5", prompt, completion))


def cache_lifetime(sim: Simulation) -> None:
    """Writes for an hour of what comes again within three minutes and then not that day."""
    for number, begin in enumerate(sim.times(5 * sim.scale)):
        beginning = sim.hash("plan", number)
        for turn in range(4):
            written = 6000 if turn == 0 else 0
            sim.call(
                begin + timedelta(seconds=150 * turn), "planner", "claude-sonnet-4-5", 6400, 250,
                cached_tokens=0 if turn == 0 else 6000, cache_write_tokens=written, cache_write_1h_tokens=written,
                prefix_hash=beginning, prefix_tokens=6000, streamed=True,
            )  # fmt: skip
        sim.waste("cache_lifetime", "planner", 6000 * Decimal("2.25") / 1_000_000)


def cheaper_snapshot(sim: Simulation) -> None:
    """The first snapshot of gpt-4o, at twice the price of today's."""
    for at in sim.times(18 * sim.scale):
        prompt, completion = sim.length(900), sim.length(250)
        cost = sim.call(at, "translate", "gpt-4o-2024-05-13", prompt, completion)
        sim.waste("cheaper_snapshot", "*", cost - usd("gpt-4o", prompt, completion))


def long_answers(sim: Simulation) -> None:
    """A few answers that do not end."""
    by_day: defaultdict[int, list[int]] = defaultdict(list)
    for at in sim.times(40 * sim.scale):
        output = sim.length(200, 0.3) if sim.rng.random() > 0.05 else sim.length(9000, 0.3)
        sim.call(at, "story", "gpt-4o", sim.length(300), output, streamed=True)
        by_day[at.day].append(output)
    for outputs in by_day.values():
        limit = 4 * median_low(outputs)
        sim.waste("long_answers", "story", sum(max(one - limit, 0) for one in outputs) * Decimal(10) / 1_000_000)


def long_reasoning(sim: Simulation) -> None:
    """Much thought for short answers."""
    for at in sim.times(20 * sim.scale):
        visible = sim.length(150)
        reasoning = round(visible * sim.rng.uniform(3, 9))
        sim.call(
            at, "grade", "o4-mini", sim.length(800), visible + reasoning, reasoning_tokens=reasoning, streamed=True
        )
        sim.waste("long_reasoning", "grade", (reasoning - 2 * visible) * Decimal("4.4") / 1_000_000)


def long_history(sim: Simulation) -> None:
    """Sessions that grow by a document a turn, uncached and ten minutes apart."""
    for number, begin in enumerate(sim.times(2 * sim.scale, begin_hour=7, hours=10)):
        first = prompt = sim.length(2500, 0.2)
        for turn in range(8):
            at = begin + timedelta(minutes=61 * turn)
            sim.call(at, "research", "gpt-4.1", prompt, 300, streamed=True, session_id=f"{sim.environment}-r{number}")
            excess = max(prompt - max(8000, 4 * first), 0)
            # The session is followed for six hours of a day.
            if at.date() == begin.date() and turn <= 5:
                sim.waste("long_history", "research", excess * Decimal(2) / 1_000_000)
            prompt += sim.length(5000, 0.2)
            if turn == 5:
                break


def long_context(sim: Simulation) -> None:
    """Prompts a little above the threshold."""
    for at in sim.times(3 * sim.scale):
        prompt, completion = sim.rng.randrange(205_000, 260_000), sim.length(400)
        cost = sim.call(at, "contracts", "gemini-2.5-pro", prompt, completion, streamed=True)
        sim.waste("long_context", "contracts", cost - usd("gemini-2.5-pro", 200_000, completion))


def smaller_model(sim: Simulation) -> None:
    """Easy work for large models: the smaller one counts the same tokens, or by another tokenizer 0.82 to 1 of them."""
    for at in sim.times(15 * sim.scale):
        prompt, completion = sim.length(2500), sim.length(40)
        cost = sim.call(at, "classify", "gpt-4.1", prompt, completion, streamed=True)
        sim.waste("smaller_model", "classify", cost - usd("gpt-4.1-mini", prompt, completion))
        prompt, completion = sim.length(1000), sim.length(40)
        cost = sim.call(at, "route", "gpt-4-turbo", prompt, completion, streamed=True)
        share = sim.rng.uniform(0.82, 1)
        fewer = usd("gpt-4o", round(prompt * share), round(completion * share))
        sim.waste("smaller_model", "route", cost - fewer)


KINDS: Final[dict[str, Callable[[Simulation], None]]] = {
    plant.__name__: plant
    for plant in (
        billed_retries, billed_errors, duplicates, embedded_again, cancelled, priority_tier, batch, shared_beginnings,
        session_turns, unread_cache, cache_lifetime, cheaper_snapshot, long_answers, long_reasoning, long_history,
        long_context, smaller_model,
    )
}  # fmt: skip


def simulate(environment: str, *kinds: str, scale: int = 1, with_hashes: bool = True) -> Simulation:
    """Make clean traffic and plant these kinds in it."""
    sim = Simulation(environment, scale, with_hashes)
    add_calm_traffic(sim)
    for kind in kinds:
        KINDS[kind](sim)
    return sim
