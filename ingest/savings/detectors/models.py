"""The same calls, answered by another model of the same maker."""

from __future__ import annotations

import re
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pricing.rates import sum_exactly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ingest.savings.states import ListPrices, State

# A difference below this is not worth a change of model.
_MIN_CHEAPER_BY: Final = Decimal("0.05")
_SNAPSHOT: Final = re.compile(r"(?P<family>.+)-(?P<day>20\d{2}-\d{2}-\d{2})")

# Smaller models of the same maker and generation, which have the same tokenizer: the same text is as many tokens.
# https://platform.openai.com/docs/models, https://docs.anthropic.com/en/docs/about-claude/models,
# https://ai.google.dev/gemini-api/docs/models
SMALLER: Final = {
    "gpt-4o": "gpt-4o-mini",
    "gpt-4.1": "gpt-4.1-mini",
    "gpt-4.1-mini": "gpt-4.1-nano",
    "gpt-5": "gpt-5-mini",
    "gpt-5-mini": "gpt-5-nano",
    "o3": "o4-mini",
    "claude-opus-4-5": "claude-sonnet-4-5",
    "claude-sonnet-4-5": "claude-haiku-4-5",
    "gemini-2.5-pro": "gemini-2.5-flash",
    "gemini-2.5-flash": "gemini-2.5-flash-lite",
}

# GPT-4 and GPT-3.5 count with cl100k_base, the newer ones with o200k_base, which needs fewer tokens: 24 of 27 in
# OpenAI's English example, 28 of 34 in its Italian one, the fewest of the Western European ones
# (https://openai.com/index/hello-gpt-4o/, "Language tokenization"). Low is the same number, high the fewest.
RECOUNTED: Final = {"gpt-4": "gpt-4o", "gpt-4-turbo": "gpt-4o", "gpt-3.5-turbo": "gpt-4o-mini"}
_FEWEST: Final = Decimal("0.82")


def use_cheaper_snapshot(states: Sequence[State], prices: ListPrices) -> None:
    """A cheaper dated version of the same model, newer than the one in use, or the name that the maker keeps current.

    Saved: the difference of the list prices for the same tokens, from 5 % on. Assumes that it answers as well.
    """
    for group in _by_model(states):
        _replace(group, prices, _siblings(group[0], prices))


def use_smaller_model(states: Sequence[State], prices: ListPrices) -> None:
    """A smaller model of the same maker, by feature: what it would cost, not whether it will do.

    Saved: the difference of the list prices for the same tokens; where the tokenizer differs, for 0.82 to 1.00 times
    the tokens. Needs an evaluation: the outcome signals stand beside it.
    """
    for group in _by_feature(states):
        smaller = SMALLER.get(_family(group[0].model))
        if smaller is not None:
            _replace(group, prices, [smaller])
            continue
        other = RECOUNTED.get(_family(group[0].model))
        if other is not None:
            _replace(group, prices, [other], recounted=True)


def _replace(group: Sequence[State], prices: ListPrices, names: Iterable[str], *, recounted: bool = False) -> None:
    old, usages = group[0].model, [state.usage for state in group]
    now = _list_cost(group, prices)
    best: tuple[Decimal, str] | None = None
    for name in names:
        for state in group:
            state.model = name
        cost = _list_cost(group, prices)
        if cost is not None and (best is None or (cost, name) < best):
            best = cost, name
    chosen = best is not None and now is not None and best[0] <= now * (1 - _MIN_CHEAPER_BY)
    for state, usage in zip(group, usages, strict=True):
        state.model = best[1] if chosen and best is not None else old
        if chosen and recounted and state.scenario != "low":
            share = _FEWEST if state.scenario == "high" else (1 + _FEWEST) / 2
            state.change(prompt=int(usage.prompt_tokens * share), completion=int(usage.completion_tokens * share))


def _list_cost(group: Sequence[State], prices: ListPrices) -> Decimal | None:
    costs = [state.list_cost(prices) for state in group]
    return None if None in costs else sum_exactly(cost for cost in costs if cost is not None)


def _siblings(state: State, prices: ListPrices) -> Iterator[str]:
    """Yield the newer snapshots of the model's family, and the family's own name."""
    own = _SNAPSHOT.fullmatch(state.model)
    family, day = (own["family"], own["day"]) if own else (state.model, "")
    for name in prices.book.models(state.fact.provider):
        other = _SNAPSHOT.fullmatch(name)
        if name != state.model and (
            name == family or (other and other["family"] == family and (not day or other["day"] > day))
        ):
            yield name


def _family(model: str) -> str:
    dated = _SNAPSHOT.fullmatch(model)
    return dated["family"] if dated else re.sub(r"-20\d{6}$", "", model)


def _by_model(states: Iterable[State]) -> Iterator[list[State]]:
    groups: defaultdict[tuple[str, str], list[State]] = defaultdict(list)
    for state in states:
        if state.is_priced:
            groups[state.fact.provider, state.model].append(state)
    yield from groups.values()


def _by_feature(states: Iterable[State]) -> Iterator[list[State]]:
    groups: defaultdict[tuple[str, str, str], list[State]] = defaultdict(list)
    for state in states:
        if state.is_priced:
            groups[state.fact.provider, state.model, state.fact.feature].append(state)
    yield from groups.values()
