"""Where the same work would have cost less: computed from what was recorded and from the price book.

A suggestion says what it assumes and what it rests on. Where there is too little to rest on, there is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict

from pricing.errors import PricingError
from pricing.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pricing.book import PriceBook
    from pricing.rates import Rates

__all__ = ["Evidence", "Group", "Prefixes", "Suggestion", "headline", "suggest"]

# Fewer calls, or fewer days, say more about chance than about the month to come.
MIN_REQUESTS: Final = 200
MIN_DAYS: Final = 3
# Above this share of calls with guessed tokens or guessed prices the figures are guesses too.
MAX_GUESSED_SHARE: Final = Decimal("0.1")
MIN_SAVED_PER_MONTH: Final = Decimal(1)
# A difference below this is within what averages over calls of different lengths get wrong.
MIN_CHEAPER_BY: Final = Decimal("0.05")

# OpenAI caches by itself, from 1,024 tokens on: https://platform.openai.com/docs/guides/prompt-caching
_CACHES_BY_ITSELF: Final = frozenset({"openai", "azure"})
_SHORTEST_CACHED_PREFIX: Final = 1024
_LOW_CACHED_SHARE: Final = Decimal("0.1")
_REACHABLE_CACHED_SHARE: Final = Decimal("0.5")
_MIN_MISSED_SHARE: Final = Decimal("0.2")

_SAME_TRAFFIC: Final = "Traffic continues as in the period examined."
_SHORTEST_COUNTED: Final = (
    "Only the first 1,024 tokens of each repeated prefix are counted, the shortest prefix that is cached. Prefix "
    "lengths are not recorded, so the saving may be larger."
)
_PREFIX_FOUND: Final = (
    "A prefix that repeats after 2 seconds to 5 minutes is found in the cache: put the fixed part first and send "
    "calls that share it with the same prompt_cache_key."
)
_HALF_IS_SAME: Final = (
    "Half of each prompt is the same from call to call and comes first. Record prefix_hash to measure this instead "
    "of assuming it."
)
_CLOSE_TOGETHER: Final = "Calls with the same prefix come within minutes of each other."

_DAYS_A_MONTH: Final = 30
_PER_MTOK: Final = Decimal(1_000_000)
_CENT: Final = Decimal("0.01")
_SNAPSHOT: Final = re.compile(r"(?P<family>.+)-(?P<day>20\d{2}-\d{2}-\d{2})")
_MANY_REQUESTS: Final = 2_000
_MANY_DAYS: Final = 7


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class Group(_Document):
    """What one feature used of one model."""

    provider: str
    model: str
    feature: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    cost: Decimal
    unpriced_requests: int
    fallback_requests: int
    estimated_requests: int
    days: int

    @property
    def is_thin(self) -> bool:
        """Whether there is too little to conclude anything from."""
        guessed = self.unpriced_requests + self.fallback_requests + self.estimated_requests
        return self.requests < MIN_REQUESTS or self.days < MIN_DAYS or guessed > MAX_GUESSED_SHARE * self.requests


class Prefixes(_Document):
    """How often one feature's prompts of one model began in the same way shortly after each other."""

    provider: str
    model: str
    feature: str
    requests: int
    repeats: int
    missed: int
    prefixes: int


class Evidence(_Document):
    """Document of `get_savings_evidence`."""

    from_time: datetime
    to_time: datetime
    sample_from_time: datetime
    sample_to_time: datetime
    groups: tuple[Group, ...]
    prefixes: tuple[Prefixes, ...]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something to change, and what it would save.

    Attributes:
        kind: "cheaper_snapshot" (another dated version of the same model) or "missed_caching".
        provider: Provider of the calls.
        model: Model that answered them.
        feature: Feature that made them; None where it is about all features.
        replacement: Model to use instead, for "cheaper_snapshot".
        saved_per_month: US dollars in 30 days, at the pace of the period looked at, rounded to cents.
        confidence: "high" and "medium" rest on what was measured (on much or on less), "low" also on an assumption
            about the prompts.
        assumptions: What must hold for the figure to come true, as sentences.
        evidence: The figures that it was computed from, by name.
    """

    kind: Literal["cheaper_snapshot", "missed_caching"]
    provider: str
    model: str
    feature: str | None
    replacement: str | None
    saved_per_month: Decimal
    confidence: Literal["high", "medium", "low"]
    assumptions: tuple[str, ...]
    evidence: Mapping[str, int | Decimal]


def suggest(evidence: Evidence, book: PriceBook) -> list[Suggestion]:
    """Return the suggestions that the evidence supports, largest saving first. Pure: the clock is the evidence's."""
    found = [*_cheaper_snapshots(evidence, book), *_missed_caching(evidence, book)]
    worth = [suggestion for suggestion in found if suggestion.saved_per_month >= MIN_SAVED_PER_MONTH]
    return sorted(
        worth, key=lambda suggestion: (-suggestion.saved_per_month, suggestion.model, suggestion.feature or "")
    )


def headline(suggestion: Suggestion) -> str:
    """Write what to do as a sentence."""
    where = f" in {suggestion.feature}" if suggestion.feature else ""
    if suggestion.kind == "cheaper_snapshot":
        return f"Use {suggestion.replacement} instead of {suggestion.model}{where}"
    return f"Enable prompt caching for {suggestion.model}{where}"


def _cheaper_snapshots(evidence: Evidence, book: PriceBook) -> Iterator[Suggestion]:
    for group in _by_model(evidence.groups):
        if group.is_thin:
            continue
        priced = {name: _average_cost(group, name, evidence, book) for name in _siblings(group, book)}
        costs = [(cost, name) for name, cost in priced.items() if cost is not None]
        now = _average_cost(group, group.model, evidence, book)
        if not costs or not now:
            continue
        cost, name = min(costs)
        cheaper_by = 1 - cost / now
        if cheaper_by < MIN_CHEAPER_BY:
            continue
        yield Suggestion(
            "cheaper_snapshot",
            group.provider,
            group.model,
            None,
            name,
            _per_month(group.cost * cheaper_by, evidence.from_time, evidence.sample_to_time),
            "high" if group.requests >= _MANY_REQUESTS and group.days >= _MANY_DAYS else "medium",
            (
                f"{name} answers as well as {group.model} and with as many tokens: try it before you switch.",
                "Discounts and service tiers stay in the same proportion.",
                _SAME_TRAFFIC,
            ),
            {"requests": group.requests, "cost": group.cost, "cheaper_by": cheaper_by.quantize(Decimal("0.0001"))},
        )


def _siblings(group: Group, book: PriceBook) -> Iterator[str]:
    """Yield the newer snapshots of the model's family, and the family's own name, which the provider keeps current."""
    own = _SNAPSHOT.fullmatch(group.model)
    family, day = (own["family"], own["day"]) if own else (group.model, "")
    for name in book.models(group.provider):
        other = _SNAPSHOT.fullmatch(name)
        if name != group.model and (name == family or (other and other["family"] == family and other["day"] > day)):
            yield name


def _average_cost(group: Group, model: str, evidence: Evidence, book: PriceBook) -> Decimal | None:
    """Return the list price of the group's average call, None where the book cannot tell."""
    calls = group.requests
    try:
        return book.price(
            model,
            TokenUsage(
                group.prompt_tokens // calls,
                group.completion_tokens // calls,
                group.cached_tokens // calls,
                group.cache_write_tokens // calls,
                reasoning_tokens=group.reasoning_tokens // calls,
                audio_input_tokens=group.audio_input_tokens // calls,
                audio_output_tokens=group.audio_output_tokens // calls,
            ),
            provider=group.provider,
            at=evidence.sample_to_time,
        ).total
    except PricingError:
        return None


def _missed_caching(evidence: Evidence, book: PriceBook) -> Iterator[Suggestion]:
    hashed = {(row.provider, row.model, row.feature): row for row in evidence.prefixes}
    for group in evidence.groups:
        average_prompt = group.prompt_tokens // group.requests if group.requests else 0
        if group.is_thin or group.provider not in _CACHES_BY_ITSELF or average_prompt < _SHORTEST_CACHED_PREFIX:
            continue
        rates = _rates(group, average_prompt, evidence, book)
        if rates is None or rates.input is None or rates.cached_input is None or rates.cached_input >= rates.input:
            continue
        seen = hashed.get((group.provider, group.model, group.feature))
        # Where hashes were recorded they decide: prompts that never begin alike cannot be cached.
        found = _assumed_caching(group, rates, evidence) if seen is None else _measured_caching(seen, rates, evidence)
        if found is not None:
            yield found


def _measured_caching(seen: Prefixes, rates: Rates, evidence: Evidence) -> Suggestion | None:
    assert rates.input is not None
    assert rates.cached_input is not None
    if seen.requests < MIN_REQUESTS or seen.missed < _MIN_MISSED_SHARE * seen.requests:
        return None
    saved = seen.missed * (rates.input - rates.cached_input)
    if rates.cache_write is not None:
        # One call has to write what the others read, and that costs more than plain input.
        saved -= (seen.requests - seen.repeats) * max(rates.cache_write - rates.input, Decimal(0))
    return Suggestion(
        "missed_caching",
        seen.provider,
        seen.model,
        seen.feature or None,
        None,
        _per_month(saved * _SHORTEST_CACHED_PREFIX / _PER_MTOK, evidence.sample_from_time, evidence.sample_to_time),
        "high" if seen.missed >= _MANY_REQUESTS else "medium",
        (
            _SHORTEST_COUNTED,
            _PREFIX_FOUND,
            _SAME_TRAFFIC,
        ),
        {"requests": seen.requests, "repeats": seen.repeats, "missed": seen.missed, "prefixes": seen.prefixes},
    )


def _assumed_caching(group: Group, rates: Rates, evidence: Evidence) -> Suggestion | None:
    assert rates.input is not None
    assert rates.cached_input is not None
    share = Decimal(group.cached_tokens) / group.prompt_tokens
    # Where writing costs extra, what would be written is not known without hashes.
    if share >= _LOW_CACHED_SHARE or (rates.cache_write is not None and rates.cache_write > rates.input):
        return None
    tokens = _REACHABLE_CACHED_SHARE * group.prompt_tokens - group.cached_tokens
    return Suggestion(
        "missed_caching",
        group.provider,
        group.model,
        group.feature or None,
        None,
        _per_month(
            tokens * (rates.input - rates.cached_input) / _PER_MTOK, evidence.from_time, evidence.sample_to_time
        ),
        "low",
        (
            _HALF_IS_SAME,
            _CLOSE_TOGETHER,
            _SAME_TRAFFIC,
        ),
        {"requests": group.requests, "prompt_tokens": group.prompt_tokens, "cached_tokens": group.cached_tokens},
    )


def _rates(group: Group, average_prompt: int, evidence: Evidence, book: PriceBook) -> Rates | None:
    try:
        return book.explain(
            group.model, provider=group.provider, at=evidence.sample_to_time, input_tokens=average_prompt
        ).band
    except PricingError:
        return None


def _by_model(groups: Iterable[Group]) -> Iterator[Group]:
    """Yield one group for each provider and model, the features together."""
    together: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        together.setdefault((group.provider, group.model), []).append(group)
    for parts in together.values():
        sums = {
            name: sum(getattr(part, name) for part in parts)
            for name in Group.model_fields
            if name not in ("provider", "model", "feature", "days")
        }
        # Features may be used on the same days: the most of one is certain, the sum is not.
        yield parts[0].model_copy(update=sums | {"feature": "", "days": max(part.days for part in parts)})


def _per_month(saved: Decimal, start: datetime, end: datetime) -> Decimal:
    days = Decimal(int((end - start).total_seconds())) / 86_400
    return (saved * _DAYS_A_MONTH / days).quantize(_CENT) if days > 0 else Decimal(0)
