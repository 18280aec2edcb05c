"""What a change saved, told from days that differ by themselves."""

from __future__ import annotations

import math
import random
from datetime import date, timedelta
from decimal import Decimal

import pytest

from ingest.documents.savings import LedgerEntry, UnitCost
from ingest.savings.ledger import realised
from ingest.savings.measuring import Measured, measure
from ingest.savings.split import in_holdout
from ingest.savings.statistics import t_quantile

CHANGED = date(2026, 10, 20)


def days(rng: random.Random, *, effect: float, count: int = 14) -> list[UnitCost]:
    """Two features, 0.01 and 0.04 $ a unit, whose shares and levels move from day to day; `effect` cuts both."""
    rows = []
    for number in range(-count, count + 1):
        after = number > 0
        share = min(max(rng.gauss(0.7 if after else 0.4, 0.08), 0.1), 0.9)
        calls = rng.randrange(300, 1500)
        for stratum, base, part in (("chat/chat", 0.01, share), ("tutor/chat", 0.04, 1 - share)):
            units = max(round(calls * part), 1)
            unit = base * (1 - effect if after else 1) * rng.lognormvariate(0, 0.12)
            # Calls of a day differ too.
            cost = units * unit * max(rng.gauss(1, 0.8 / units**0.5), 0.1)
            rows.append(
                UnitCost(
                    day=CHANGED + timedelta(days=number), stratum=stratum, units=units, cost=Decimal(f"{cost:.9f}")
                )
            )
    return rows


def truth(rows: list[UnitCost], effect: float) -> float:
    """What the change saves a month at the traffic after it; noise has the mean exp(0.12² / 2)."""
    mean = math.exp(0.12**2 / 2)
    after = [row for row in rows if row.day > CHANGED]
    saved = sum({"chat/chat": 0.01, "tutor/chat": 0.04}[row.stratum] * mean * effect * row.units for row in after)
    return saved / len({row.day for row in after}) * 30


def test_the_interval_covers_the_truth_of_400_changes_in_87_to_93_percent() -> None:
    rng = random.Random(20261126)
    covered = 0
    for _ in range(400):
        effect = rng.uniform(0.05, 0.5)
        rows = days(rng, effect=effect)
        found = measure(rows, CHANGED)
        assert found is not None
        covered += found.low <= truth(rows, effect) <= found.high
    assert 0.87 <= covered / 400 <= 0.93


def test_without_any_effect_at_most_one_of_twenty_is_verified() -> None:
    rng = random.Random(20261127)
    found = [measure(days(rng, effect=0.0), CHANGED) for _ in range(400)]
    assert sum(one is not None and one.is_verified for one in found) <= 20


def test_a_shift_of_the_mix_alone_saves_nothing_and_few_days_measure_nothing() -> None:
    def row(number: int, stratum: str, units: int, unit: str) -> UnitCost:
        return UnitCost(day=CHANGED + timedelta(days=number), stratum=stratum, units=units, cost=units * Decimal(unit))

    shifted = [
        row(number, stratum, units if number < 0 else 400 - units, unit)
        for number in (*range(-6, 0), *range(1, 7))
        for stratum, units, unit in (("a", 100, "0.01"), ("b", 300, "0.05"))
    ]
    found = measure(shifted, CHANGED)
    assert found is not None
    assert found.expected == pytest.approx(0, abs=1e-9)
    assert measure(shifted[:12], CHANGED) is None
    assert measure([], CHANGED) is None


@pytest.mark.parametrize(
    ("low", "high", "is_verified", "state"),
    [(5, 9, True, "verified"), (-1, 9, False, "measured"), (-6, 1, False, "withdrawn")],
)
def test_a_result_is_verified_withdrawn_or_goes_on(low: float, high: float, is_verified: bool, state: str) -> None:
    assert Measured(low, (low + high) / 2, high, 14, 14, is_verified).result(10.0) == state


def test_a_holdout_is_a_stable_part_of_the_users() -> None:
    users = [f"user_{number}" for number in range(5000)]
    held = [user for user in users if in_holdout(user, "batch")]
    assert 430 < len(held) < 570
    assert held == [user for user in users if in_holdout(user, "batch")]
    assert set(held) != {user for user in users if in_holdout(user, "other")}
    assert not any(in_holdout(user, "batch", share=0) for user in users)
    assert all(in_holdout(user, "batch", share=1) for user in users)


@pytest.mark.parametrize(
    ("probability", "freedom", "expected"),
    # Student's own table.
    [(0.95, 1, 6.3138), (0.95, 10, 1.8125), (0.975, 5, 2.5706), (0.975, 30, 2.0423), (0.05, 10, -1.8125), (0.5, 3, 0)],
)
def test_quantiles_are_those_of_the_table(probability: float, freedom: float, expected: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(expected, abs=1e-4)


def test_what_was_realised_counts_from_the_day_of_the_change_or_of_the_month() -> None:
    entry = LedgerEntry(
        suggestion_key="k", kind="batch", provider="openai", model="m", feature="f", headline="h",
        needs_evaluation=False, state="verified", low=Decimal(1), expected=Decimal(1), high=Decimal(1),
        opened_at="2026-09-01T00:00:00Z", accepted_on=date(2026, 10, 1), accepted_expected=Decimal(30), reason=None,
        measured_low=Decimal(10), measured_expected=Decimal(30), measured_high=Decimal(50),
    )  # fmt: skip
    today = date(2026, 11, 11)
    assert realised([entry], since=None, today=today) == Decimal("41.00")
    assert realised([entry], since=date(2026, 11, 1), today=today) == Decimal("10.00")
    assert realised([entry.model_copy(update={"state": "measured"})], since=None, today=today) == 0
