"""What a plan may not claim, whatever its evidence: figures worked out by hand from the list prices of gpt-4o."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from ingest.documents.savings import Evidence, SavingFact
from ingest.savings.plan import Plan, make_plan
from pricing import PriceBook

REPEATED = 4 + 8


def fact(**fields: Any) -> SavingFact:
    """A thousand calls of ten days: 10 million tokens in and 100,000 out, for 26 $, evenly."""
    names = dict.fromkeys(SavingFact.model_fields, 0)
    texts = {"provider": "openai", "model": "gpt-4o", "feature": "chat", "operation": "chat", "service_tier": ""}
    sums = {"days": 10, "calls": 1000, "prompt_tokens": 10_000_000, "completion_tokens": 100_000}
    costs = {"cost": Decimal(26), "cost_squares": Decimal("67.6"), "example_event_id": UUID(int=1)}
    return SavingFact.model_validate({**names, **texts, **sums, **costs, **fields})


def plan(*facts: SavingFact, spend: str | None = None, days: int = 10) -> Plan:
    begin = date(2026, 11, 1)
    evidence = Evidence(
        access="ops",
        from_time=datetime(2026, 11, 1, tzinfo=UTC),
        to_time=datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=days),
        spend=sum((one.cost for one in facts), Decimal(0)) if spend is None else Decimal(spend),
        requests=sum(one.calls for one in facts),
        days=tuple(begin + timedelta(days=number) for number in range(days)),
        facts=facts,
    )
    return make_plan(evidence, PriceBook.default())


def test_what_only_the_high_end_would_save_is_no_suggestion() -> None:
    # The same beginning every half hour: a cache that lives ten minutes never has it.
    for waste in (0, 256):
        found = plan(fact(waste=waste, missed_60_tokens=8_000_000))
        assert [one.kind for one in found.suggestions] == ["smaller_model"]
        assert found.total("high") == 0


def test_names_with_slashes_and_stars_have_keys_of_their_own() -> None:
    wasted = {"waste": REPEATED, "model": "m"}
    found = plan(
        fact(**{**wasted, "model": "m/a"}, feature="b"), fact(**wasted, feature="a/b"), fact(**wasted, feature="*"),
        fact(**wasted, feature=""), fact(**wasted, feature="%2A"),
    )  # fmt: skip
    assert {one.key for one in found.suggestions} == {
        "duplicates/openai/m%2Fa/b", "duplicates/openai/m/a%2Fb", "duplicates/openai/m/%2A", "duplicates/openai/m/*",
        "duplicates/openai/m/%252A",
    }  # fmt: skip


def test_refunds_lower_what_can_be_saved_in_proportion() -> None:
    # 26 $ were paid and 25 $ given back: 1 $ in ten days is 3 $ a month.
    found = plan(fact(waste=REPEATED), spend="1")
    assert (found.spend_per_month, found.total(), found.total("high")) == (Decimal(3), Decimal(3), Decimal(3))
    assert plan(fact(waste=REPEATED), spend="-1").suggestions == ()


def test_no_upper_end_is_above_the_spend() -> None:
    # Two days, one with nearly all of the calls.
    found = plan(
        fact(waste=REPEATED, days=2, cost_squares=Decimal(650)),
        fact(waste=REPEATED, days=2, cost_squares=Decimal(650), feature="mail"),
        days=2,
    )
    assert found.spend_per_month == found.total() == found.total("high") == Decimal(780)
    assert all(one.high <= Decimal(780) and one.confidence == "low" for one in found.suggestions)
