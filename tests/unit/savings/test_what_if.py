"""What a change means for tokens, bands and money, without a database."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from ingest.documents.what_if import CallsToPrice, WhatIfBasis
from ingest.savings.kinds import KINDS
from ingest.savings.plan import Suggestion
from ingest.savings.scenarios import change_of, scope_of
from ingest.savings.states import Waste
from ingest.savings.what_if import Change, price_anew
from pricing import PriceBook

BOOK = PriceBook.default()


def row(**fields: Any) -> CallsToPrice:
    return CallsToPrice.model_validate(
        {
            "provider": "openai", "model": "gpt-4o", "service_tier": "", "band": 0, "waste": 0, "calls": 100,
            "prompt_tokens": 1_000_000, "completion_tokens": 100_000, "cached_tokens": 0, "cache_write_tokens": 0,
            "cache_write_1h_tokens": 0, "reasoning_tokens": 0, "cost": "3.5", "excess_prompt_tokens": 0,
            "excess_output_tokens": 0, "excess_reasoning_tokens": 0, "missed_10_tokens": 0, "short_lived_tokens": 0,
        }
        | fields
    )  # fmt: skip


def basis(*rows: CallsToPrice) -> WhatIfBasis:
    return WhatIfBasis(
        access="ops", from_time=datetime(2026, 11, 1, tzinfo=UTC), to_time=datetime(2026, 11, 11, tzinfo=UTC),
        cost=Decimal(10), days=(date(2026, 11, 1),), calls=rows, uncertain=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"cached_share": Decimal("1.1")}, {"prompt_share": Decimal(0)}, {"calls_share": Decimal(-1)},
        {"hour_writes_share": Decimal(2)}, {"completion_share": Decimal(11)}, {"provider": "anthropic"},
        {"cached_share": Decimal("nan")}, {"prompt_share": Decimal("snan")},
    ],
)  # fmt: skip
def test_a_change_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|needs a model"):
        Change(**wrong)


def test_a_change_is_read_as_it_was_written_and_later_fields_are_left_out() -> None:
    change = Change(model="gpt-4o-mini", service_tier="batch", cached_share=Decimal("0.25"))
    assert change.as_texts() == {"model": "gpt-4o-mini", "service_tier": "batch", "cached_share": "0.25"}
    assert Change.of({**change.as_texts(), "from_the_future": "1"}) == change


def test_a_discount_applies_to_the_alternative_too() -> None:
    # 100 calls at list price are 3.50 $; 2.80 $ were paid. gpt-4o-mini: 0.15 + 0.06 = 0.21 $ at list price.
    found = price_anew(basis(row(cost="2.8")), Change(model="gpt-4o-mini"), BOOK)
    assert found.changed_cost == Decimal("0.168")


def test_shorter_prompts_leave_the_long_context_price() -> None:
    # Gemini 2.5 Pro: 2.50 $ a million above 200,000 tokens, 1.25 $ below; output 15 and 10 $.
    long = row(
        provider="google", model="gemini-2.5-pro", band=200_000, calls=10, prompt_tokens=2_500_000,
        completion_tokens=100_000, cost="7.75",
    )  # fmt: skip
    found = price_anew(basis(long), Change(prompt_share=Decimal("0.5")), BOOK)
    assert found.changed_cost == Decimal("1.5625") + 1
    assert price_anew(basis(long), Change(prompt_share=Decimal(1)), BOOK).difference == 0


def test_judged_calls_alone_are_changed_and_the_unit_of_work_stays() -> None:
    repeated = row(waste=int(Waste.REPEATED), calls=50, cost="1.75", prompt_tokens=500_000, completion_tokens=50_000)
    found = price_anew(basis(row(), repeated), Change(calls_share=Decimal(0)), BOOK, about="repeated")
    assert (found.calls, found.cost, found.difference) == (50, Decimal("1.75"), Decimal("-1.75"))
    assert (found.units, found.scope_cost) == (100, Decimal("5.25"))
    assert (found.unit_cost, found.changed_unit_cost) == (Decimal("0.0525"), Decimal("0.035"))


def test_calls_with_units_of_their_own_stay_as_they_are() -> None:
    found = price_anew(basis(row(waste=int(Waste.OTHER_UNITS))), Change(model="gpt-4o-mini"), BOOK)
    assert (found.difference, found.unpriced_calls) == (Decimal(0), 100)


def suggestion(kind: str, replacement: str | None) -> Suggestion:
    return Suggestion(
        kind=kind, provider="openai", model="gpt-4o", feature="chat", replacement=replacement,
        saved_per_month=Decimal(5), low=Decimal(4), high=Decimal(6), share=Decimal("0.1"), confidence="high",
        assumptions=(), evidence={"days": 10}, risk="low", effort="low", needs_evaluation=False, snippet="",
        example_event_id=UUID(int=1),
    )  # fmt: skip


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_every_kind_of_suggestion_can_be_tried_and_saves(kind: str) -> None:
    everything = row(
        provider="anthropic" if kind in ("unread_cache", "cache_lifetime") else "openai",
        model="claude-sonnet-4-5" if kind in ("unread_cache", "cache_lifetime") else "gpt-4o",
        waste=127 - 64 if kind not in ("batch", "priority_tier") else int(Waste.JOB | Waste.HURRIED),
        service_tier="priority" if kind == "priority_tier" else "",
        band=128_000 if kind == "long_context" else 0, calls=5 if kind == "long_context" else 100,
        cache_write_tokens=400_000 if kind in ("unread_cache", "cache_lifetime") else 0,
        cache_write_1h_tokens=400_000 if kind == "cache_lifetime" else 0, reasoning_tokens=50_000,
        excess_prompt_tokens=100_000, excess_output_tokens=20_000, excess_reasoning_tokens=20_000,
        missed_10_tokens=300_000, short_lived_tokens=200_000,
    )  # fmt: skip
    one = suggestion(kind, "gpt-4o-mini" if kind in ("cheaper_snapshot", "smaller_model") else None)
    _, about = scope_of(one)
    found = price_anew(basis(everything), change_of(one, basis(everything)), BOOK, about=about)
    assert found.difference < 0
    assert found.unpriced_calls == 0
