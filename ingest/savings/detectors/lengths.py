"""Prompts and answers that are longer than their own feature's are: what a limit would save.

A limit may change answers, so each of these needs an evaluation before it is money.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.savings.states import ListPrices, State


def limit_output(states: Sequence[State], prices: ListPrices) -> None:
    """Answers far longer than usual, cut by `max_output_tokens`.

    Saved: visible output beyond four times the median of the same feature and model on that day, for models with 20
    answers or more.
    """
    del prices
    for state in states:
        if state.is_priced and state.fact.excess_output_tokens:
            state.change(completion=state.usage.completion_tokens - state.fact.excess_output_tokens)


def limit_reasoning(states: Sequence[State], prices: ListPrices) -> None:
    """Reasoning far longer than the answer, at a lower `reasoning_effort`.

    Saved: reasoning beyond twice the visible output, call by call.
    """
    del prices
    for state in states:
        excess = min(state.fact.excess_reasoning_tokens, state.usage.reasoning_tokens)
        if state.is_priced and excess:
            state.change(
                completion=state.usage.completion_tokens - excess, reasoning=state.usage.reasoning_tokens - excess
            )


def limit_history(states: Sequence[State], prices: ListPrices) -> None:
    """Sessions whose prompts grow with every turn, kept short by a summary.

    Saved: input beyond 8,000 tokens and beyond four times the session's first prompt, cached and uncached in the same
    proportion as before.
    """
    del prices
    for state in states:
        usage = state.usage
        excess = min(state.fact.excess_prompt_tokens, usage.prompt_tokens)
        if state.is_priced and excess:
            left = usage.prompt_tokens - excess
            state.change(
                prompt=left,
                cached=usage.cached_tokens * left // usage.prompt_tokens,
                written=usage.cache_write_tokens * left // usage.prompt_tokens,
                written_1h=usage.cache_write_1h_tokens * left // usage.prompt_tokens,
            )


def stay_below_long_context(states: Sequence[State], prices: ListPrices) -> None:
    """Inputs just above a threshold from which the whole call costs more, cut to it.

    Saved: the call's cost less that of the threshold's tokens at the lower price, where the input is at most half as
    long again as the threshold. Source: the long-context bands of the price book.
    """
    for state in states:
        fact, usage = state.fact, state.usage
        here = prices.band(fact.provider, state.model, state.tier, state.above)
        threshold = 0 if here is None else here.above_tokens
        if not state.is_priced or not fact.calls * threshold < usage.prompt_tokens <= fact.calls * threshold * 3 // 2:
            continue
        kept = fact.calls * threshold
        state.above = threshold - 1
        state.change(prompt=kept, cached=usage.cached_tokens * kept // usage.prompt_tokens)
