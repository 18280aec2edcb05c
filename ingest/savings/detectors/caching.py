"""Input that the provider's prompt cache could give, and caching that costs more than it saves."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

from ingest.savings.states import Waste
from pricing.rates import sum_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ingest.savings.states import ListPrices, State


def cache_shared_beginnings(states: Sequence[State], prices: ListPrices) -> None:
    """Beginnings of prompts that calls share, measured by hashes, read from the cache.

    Saved: tokens of the longest beginning that another call had within the cache's idle life, in steps of 128 and from
    1,024 on, less those that were cached, at the difference of uncached and cached input; less what writing costs,
    where the provider charges for it. Idle life: low 5, expected 10, high 60 minutes. Nothing for calls that go as a
    batch. Source: https://platform.openai.com/docs/guides/prompt-caching.
    """
    _cache(states, prices, measured=True)


def cache_session_turns(states: Sequence[State], prices: ListPrices) -> None:
    """What the turn before left in the cache, where no hashes were recorded.

    Saved as for shared beginnings. A turn is taken to begin with the one before and its answer where its prompt is at
    least as long as both: so the history must be appended to, not rewritten.
    """
    _cache(states, prices, measured=False)


def stop_unread_writes(states: Sequence[State], prices: ListPrices) -> None:
    """Caching that loses money: writing costs more than reading gives back.

    Saved: cost of the input as it was, less cost of the same input uncached, for each feature and model for which that
    is above zero. Source: https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching (writes 1.25 times).
    """

    def uncached(state: State) -> None:
        state.change(cached=0, written=0, written_1h=0)

    _where_cheaper(
        [state for state in states if state.is_priced], prices, uncached, lambda s: s.usage.cache_write_tokens
    )


def shorten_lifetimes(states: Sequence[State], prices: ListPrices) -> None:
    """One-hour writes whose prompt came again within five minutes, or not within the hour, as five-minute writes.

    Saved: the difference of both writes' prices (2 and 1.25 times the input). A read extends the life by five minutes.
    """

    def shorter(state: State) -> None:
        state.change(written_1h=state.usage.cache_write_1h_tokens - state.fact.short_lived_tokens)

    _where_cheaper([state for state in states if state.is_priced], prices, shorter, lambda s: s.fact.short_lived_tokens)


def _cache(states: Sequence[State], prices: ListPrices, *, measured: bool) -> None:
    def cached(state: State) -> None:
        fact, usage = state.fact, state.usage
        missed = {"low": fact.missed_5_tokens, "expected": fact.missed_10_tokens, "high": fact.missed_60_tokens}
        found = min(usage.cached_tokens + missed[state.scenario], usage.prompt_tokens)
        band = prices.band(fact.provider, state.model, state.tier, state.above)
        written = usage.cache_write_tokens
        if band is not None and band.per_token[2] != band.per_token[0]:  # a write costs more than the input itself
            written = min(written + fact.first_tokens, usage.prompt_tokens - found)
        state.change(cached=found, written=written)

    chosen = [
        state
        for state in states
        if state.is_priced
        and not (state.fact.waste & Waste.JOB)
        and bool(state.fact.waste & Waste.MEASURED_BEGINNING) == measured
    ]
    _where_cheaper(chosen, prices, cached, lambda state: state.fact.missed_60_tokens)


def _where_cheaper(
    states: Iterable[State],
    prices: ListPrices,
    change: Callable[[State], None],
    concerns: Callable[[State], int],
) -> None:
    """Change the states of each feature and model together, where that makes them cheaper."""
    groups: defaultdict[tuple[str, str, str], list[State]] = defaultdict(list)
    for state in states:
        groups[state.fact.provider, state.fact.model, state.fact.feature].append(state)
    for group in groups.values():
        if not any(map(concerns, group)):
            continue
        kept = [state.usage for state in group]
        before = sum_exactly(state.list_cost(prices) or Decimal(0) for state in group)
        for state in group:
            change(state)
        if sum_exactly(state.list_cost(prices) or Decimal(0) for state in group) >= before:
            for state, usage in zip(group, kept, strict=True):
                state.usage = usage
