"""Calls that nobody waits for, on a tier that costs less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.savings.states import Waste

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.savings.states import ListPrices, State

_DEFAULT: Final = frozenset({"", "default", "standard", "auto"})
BATCH: Final = "batch"


def leave_priority(states: Sequence[State], prices: ListPrices) -> None:
    """Calls on the priority tier that are neither streamed nor part of a session, on the default tier.

    Saved: the difference of both tiers' prices for the same tokens.
    Source: https://platform.openai.com/docs/guides/priority-processing.
    """
    for state in states:
        if state.fact.waste & Waste.HURRIED and state.is_priced:
            _move(state, "", prices)


def send_as_batch(states: Sequence[State], prices: ListPrices) -> None:
    """Jobs that nobody waits for, as a batch.

    Saved: the difference of the prices for the same tokens; flex processing costs the same where a model has it. A job
    is what one feature asks of one model on a day, neither streamed nor in a session, when it has 20 calls or more, in
    at most a tenth of the day's five minutes, two or more in each on average; and when each user made ten of them or
    more, or there are ten or more in each of the five minutes: people make few each, and not all at once. Assumes
    that an answer within 24 hours will do.
    Source: https://platform.openai.com/docs/guides/batch.
    """
    for state in states:
        if state.fact.waste & Waste.JOB and state.is_priced and state.tier in _DEFAULT:
            _move(state, BATCH, prices)


def _move(state: State, tier: str, prices: ListPrices) -> None:
    before, cost = state.tier, state.list_cost(prices)
    state.tier = tier
    after = state.list_cost(prices)
    if after is None or cost is None or after >= cost:
        state.tier = before
