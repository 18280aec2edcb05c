"""Calls that need not be made: each saves all that it cost.

Which calls these are is judged in SQL (`observability_internal.judge_neighbours`), call by call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.savings.states import Waste

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.savings.states import ListPrices, State


def remove_superseded(states: Sequence[State], prices: ListPrices) -> None:
    """Billed attempts that a later attempt of the same request replaced.

    Saved: their whole cost. A call is one of them where another of its `request_group_id` and prompt has a higher
    `attempt`; without a prompt hash only where it did not succeed. Source: the provider bills what it generated,
    whether or not the client waited (https://platform.openai.com/docs/guides/rate-limits).
    """
    del prices
    _remove(states, Waste.SUPERSEDED)


def remove_failed(states: Sequence[State], prices: ListPrices) -> None:
    """Failed calls that were billed and that no later attempt replaced.

    Saved: their whole cost; they gave no answer.
    """
    del prices
    _remove(states, Waste.FAILED)


def remove_repeated(states: Sequence[State], prices: ListPrices) -> None:
    """Calls with exactly the prompt of an earlier one, within six hours: the answer could have been kept.

    Saved: their whole cost. Same `prompt_hash`, provider, model and operation after a call that succeeded; not within a
    minute in the same session, where somebody asked for another answer, nor within the time that the call itself took,
    as several answers to one prompt are asked for side by side. Low: those within one hour only. Assumes that
    the answer may be the same.
    """
    del prices
    for state in states:
        bit = Waste.REPEATED_WITHIN_AN_HOUR if state.scenario == "low" else Waste.REPEATED
        if state.fact.waste & bit:
            state.is_removed = True


def remove_embedded_again(states: Sequence[State], prices: ListPrices) -> None:
    """Texts that the same model had embedded before: a vector does not change, so it can be kept.

    Saved: their whole cost. Same `prompt_hash` and model at any time in the 60 days before.
    """
    del prices
    _remove(states, Waste.EMBEDDED_AGAIN)


def remove_cancelled(states: Sequence[State], prices: ListPrices) -> None:
    """Calls that the caller cancelled and that were billed all the same.

    Saved: their whole cost, where they are not begun; low: their output alone, where they are ended in time, because
    the prompt is billed when it is read.
    """
    del prices
    for state in states:
        if state.fact.waste & Waste.CANCELLED and not state.is_removed:
            if state.scenario == "low":
                state.change(completion=0, reasoning=0)
            else:
                state.is_removed = True


def _remove(states: Sequence[State], bit: Waste) -> None:
    for state in states:
        if state.fact.waste & bit:
            state.is_removed = True
