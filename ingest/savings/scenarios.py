"""Scenarios: what-ifs that follow from suggestions, that somebody kept, and that are held against what happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ingest.database import fetch
from ingest.documents.what_if import Scenarios
from ingest.savings.reading import read_what_if
from ingest.savings.what_if import LONG_INPUT, LONG_INPUT_TOKENS, Change, chosen_calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ingest.database import Argument, Database
    from ingest.documents.what_if import CallsToPrice, KeptScenario, WhatIfBasis
    from ingest.savings.plan import Suggestion
    from ingest.savings.what_if import WhatIf
    from pricing import PriceBook

_REMOVED: Final = {
    "billed_retries": "superseded",
    "billed_errors": "failed",
    "duplicates": "repeated",
    "embedded_again": "embedded_again",
    "cancelled": "cancelled",
}
_LONGEST: Final = timedelta(days=399)
# Shares are shown and kept with this many decimals.
_STEP: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Question:
    """What a what-if asks.

    Attributes:
        change: What is different.
        filters: Which calls it is about, lists of texts by dimension.
        about: Which judged calls among them; None for all.
    """

    change: Change
    filters: Mapping[str, tuple[str, ...]]
    about: str | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """A kept scenario beside the days since.

    Attributes:
        scenario: What was kept.
        days: Days since that had calls.
        units: Calls of these that were of use.
        cost: US dollars that they cost.
        expected_cost: US dollars of so many units at the cost that the scenario expected of each.
        unchanged_cost: The same at the cost of each when it was kept.
        left: US dollars that the same change would still make of these days; below 0 it saves.
    """

    scenario: KeptScenario
    days: int
    units: int
    cost: Decimal
    expected_cost: Decimal
    unchanged_cost: Decimal
    left: Decimal

    @property
    def unit_cost(self) -> Decimal | None:
        """US dollars for a call that was of use, in the days since; None without any."""
        return self.cost / self.units if self.units else None


def scope_of(suggestion: Suggestion) -> tuple[dict[str, tuple[str, ...]], str | None]:
    """Return which calls a suggestion is about: filters, and what they were judged to be."""
    filters: dict[str, tuple[str, ...]] = {"provider": (suggestion.provider,), "model": (suggestion.model,)}
    if suggestion.feature:
        filters["feature"] = (suggestion.feature,)
    about = {"batch": "job", "priority_tier": "hurried", "long_context": LONG_INPUT}
    return filters, _REMOVED.get(suggestion.kind) or about.get(suggestion.kind)


def change_of(suggestion: Suggestion, basis: WhatIfBasis) -> Change:
    """Return a suggestion's change in the terms of a what-if.

    Args:
        suggestion: One of a plan.
        basis: The calls of its filters, see `scope_of`: shares are parts of what these use now.
    """
    kind = suggestion.kind
    if kind in _REMOVED:
        return Change(calls_share=Decimal(0))
    if kind in ("batch", "priority_tier"):
        return Change(service_tier="batch" if kind == "batch" else "default")
    if suggestion.replacement is not None:
        return Change(model=suggestion.replacement)
    _, about = scope_of(suggestion)
    rows = chosen_calls(basis, about)
    prompt, completion = _total(rows, "prompt_tokens"), _total(rows, "completion_tokens")
    match kind:
        case "unread_cache":
            return Change(cached_share=Decimal(0))
        case "cache_lifetime" if hourly := _total(rows, "cache_write_1h_tokens"):
            return Change(hour_writes_share=_share(hourly - _total(rows, "short_lived_tokens"), hourly))
        case "shared_beginnings" | "session_turns" if prompt:
            found = _total(rows, "cached_tokens") + _total(rows, "missed_10_tokens")
            return Change(cached_share=min(_share(found, prompt), Decimal(1)))
        case "long_answers" | "long_reasoning" if completion:
            excess = "excess_output_tokens" if kind == "long_answers" else "excess_reasoning_tokens"
            return Change(completion_share=_kept(completion - _total(rows, excess), completion))
        case "long_history" if prompt:
            return Change(prompt_share=_kept(prompt - _total(rows, "excess_prompt_tokens"), prompt))
        case "long_context" if prompt:
            below = sum(min(row.prompt_tokens, row.calls * max(row.band, LONG_INPUT_TOKENS)) for row in rows)
            return Change(prompt_share=_kept(below, prompt))
    return Change()


def keep_scenario(database: Database, name: str, question: Question, found: WhatIf) -> int:
    """Keep a what-if under a name and return its number. Analysts and ops.

    Raises:
        InvalidArgumentError: The name is empty or too long, there were no calls, or too many are kept already.
    """
    return fetch(
        database,
        int,
        "save_scenario",
        scenario={
            "name": name,
            "change": dict(question.change.as_texts()),
            "filters": {dimension: list(values) for dimension, values in question.filters.items()},
            "about": question.about,
            "from_day": None if found.first_day is None else found.first_day.isoformat(),
            "to_day": None if found.last_day is None else (found.last_day + timedelta(days=1)).isoformat(),
            "days": found.days,
            "units": found.units,
            "cost": str(found.scope_cost),
            "changed_cost": str(found.scope_cost + found.difference),
        },
    )


def read_scenarios(database: Database) -> tuple[KeptScenario, ...]:
    """Read every kept scenario, the newest first. Analysts and ops."""
    return fetch(database, Scenarios, "get_scenarios").scenarios


def follow(database: Database, scenario: KeptScenario, book: PriceBook, *, now: datetime) -> Followed | None:
    """Ask a scenario's question of the whole UTC days since it was kept.

    Args:
        database: Opened by an analyst, ops, or as service_role.
        scenario: What was kept. Where it is about a model that another one replaces, that one's calls belong to it.
        book: Prices in force.
        now: The time, aware.

    Returns:
        None while there is no such day with calls.
    """
    if now <= scenario.created_at:
        return None
    change = Change.of(scenario.change)
    filters: dict[str, Argument] = {name: list(values) for name, values in scenario.filters.items()}
    for name, new in (("model", change.model), ("provider", change.provider)):
        if new is not None and name in scenario.filters:
            filters[name] = list(dict.fromkeys((*scenario.filters[name], new)))
    since = read_what_if(
        database,
        change,
        from_time=max(scenario.created_at, now - _LONGEST),
        to_time=now,
        filters=filters,
        about=scenario.about,
        book=book,
    )
    if not since.units:
        return None
    return Followed(
        scenario=scenario,
        days=since.days,
        units=since.units,
        cost=since.scope_cost,
        expected_cost=scenario.changed_cost * since.units / scenario.units,
        unchanged_cost=scenario.cost * since.units / scenario.units,
        left=since.difference,
    )


def _total(rows: Sequence[CallsToPrice], name: str) -> int:
    return sum(getattr(row, name) for row in rows)


def _share(part: int, whole: int) -> Decimal:
    return (Decimal(part) / whole).quantize(_STEP)


def _kept(part: int, whole: int) -> Decimal:
    return max(_share(part, whole), _STEP)
