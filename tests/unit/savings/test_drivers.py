"""The parts of a difference between two periods."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ingest.documents.drivers import DriverCell, PeriodSums
from ingest.savings.drivers import CostDrivers, explain_difference
from pricing import PriceBook

AT = datetime(2026, 11, 1, tzinfo=UTC)
# gpt-4o: 2.50 $ a million input tokens, 1.25 $ cached, 10 $ output.
BEFORE = {"requests": 100, "prompt_tokens": 100_000, "completion_tokens": 10_000, "cost": Decimal("0.35")}


def sums(**changes: Any) -> PeriodSums:
    """100 calls of 1,000 + 100 tokens for 0.25 + 0.10 $."""
    return PeriodSums.model_validate({**BEFORE, **changes})


def explain(*pairs: tuple[PeriodSums | None, PeriodSums | None], model: str = "gpt-4o") -> CostDrivers:
    cells = [
        DriverCell(provider="openai", model=model, feature=f"f{number}", now=now, before=before)
        for number, (before, now) in enumerate(pairs)
    ]
    return explain_difference(cells, PriceBook.default(), at=AT)


def parts(found: CostDrivers) -> dict[str, str]:
    return {driver: f"{amount.normalize():f}" for driver, amount in found.parts.items() if amount}


def test_twice_the_calls_of_the_same_kind_are_volume() -> None:
    now = sums(requests=200, prompt_tokens=200_000, completion_tokens=20_000, cost="0.70")
    assert parts(explain((sums(), now))) == {"volume": "0.35"}


def test_calls_that_move_to_a_dearer_feature_are_mix() -> None:
    dear = {"prompt_tokens": 1_000_000, "cost": Decimal("2.60")}  # 10,000 input tokens a call: 0.026 $
    found = explain(
        (sums(), sums(requests=50, prompt_tokens=50_000, completion_tokens=5_000, cost="0.175")),
        (sums(**dear), sums(requests=150, prompt_tokens=1_500_000, completion_tokens=15_000, cost="3.90")),
    )
    assert parts(found) == {"mix": "1.125"}
    assert found.top()[0].feature == "f1"


def test_a_new_feature_is_mix_and_the_first_period_ever_is_volume() -> None:
    found = explain((sums(), sums()), (None, sums()))
    # All calls grow by 2, which is 0.35 $ more of the first; that it did not grow takes them off again.
    assert parts(found) == {"volume": "0.35"}
    assert parts(explain((None, sums()))) == {"volume": "0.35"}


def test_longer_answers_are_tokens_and_more_cached_input_is_cache() -> None:
    # 100 tokens more a call at 10 $ a million: 0.10 $ more.
    assert parts(explain((sums(), sums(completion_tokens=20_000, cost="0.45")))) == {"tokens": "0.1"}
    # Half of the input at half its price: 0.0625 $ less.
    assert parts(explain((sums(), sums(cached_tokens=50_000, cost="0.2875")))) == {"cache": "-0.0625"}


def test_the_same_calls_at_half_the_price_are_price_and_failed_calls_are_errors() -> None:
    assert parts(explain((sums(), sums(cost="0.175")))) == {"price": "-0.175"}
    failed = sums(errors=50, prompt_tokens=50_000, completion_tokens=5_000, cost="0.175")
    assert parts(explain((sums(), failed))) == {"errors": "-0.175"}


def test_a_discount_scales_tokens_too_and_an_unknown_model_counts_by_its_tokens() -> None:
    half = sums(completion_tokens=20_000, cost="0.225")
    assert parts(explain((sums(cost="0.175"), half))) == {"tokens": "0.05"}
    longer = sums(prompt_tokens=210_000, completion_tokens=10_000, cost="0.70")
    assert parts(explain((sums(), longer), model="mystery-1")) == {"tokens": "0.35"}


def test_parts_add_up_to_the_difference_whatever_the_cells_are() -> None:
    random.seed(7)

    def any_sums() -> PeriodSums | None:
        if random.random() < 0.15:
            return None
        requests = random.randrange(1, 5000)
        prompt = random.randrange(1, 10**9)
        return PeriodSums(
            requests=requests,
            errors=random.randrange(requests + 1),
            prompt_tokens=prompt,
            completion_tokens=random.randrange(10**8),
            cached_tokens=random.randrange(prompt // 2 + 1),
            cache_write_tokens=random.randrange(prompt // 2 + 1),
            cost=Decimal(random.randrange(10**18)).scaleb(-15),
        )

    for _ in range(200):
        found = explain(*((any_sums(), any_sums()) for _ in range(8)))
        assert sum(found.parts.values()) == found.difference
        assert sum(one.amount for one in found.contributions) == found.difference
