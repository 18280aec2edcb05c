"""What a change saved, told by users who were held out."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from ingest import in_holdout
from ingest.documents.savings import UserCost
from ingest.savings.holdout import measure_holdout
from tests.support.holdout import SUGGESTION, Trial, run_trial

if TYPE_CHECKING:
    from ingest.savings.measuring import Measured

DAYS = 14


def measured(trial: Trial, *, share: float) -> Measured:
    found = measure_holdout(trial.before, trial.after, SUGGESTION, share=share, unit="call", days=DAYS)
    assert found is not None
    return found


def test_the_interval_covers_the_truth_of_400_held_out_changes_in_87_to_93_percent() -> None:
    rng = random.Random(20261126)
    covered = 0
    for _ in range(400):
        trial = run_trial(rng, effect=rng.uniform(0.05, 0.5), users=220, share=0.2)
        found = measured(trial, share=0.2)
        covered += found.low <= trial.saved / DAYS * 30 <= found.high
    assert 0.87 <= covered / 400 <= 0.93


def test_without_any_effect_at_most_one_of_twenty_is_verified_by_holdout() -> None:
    rng = random.Random(20261127)
    verified = sum(
        measured(run_trial(rng, effect=0.0, users=220, share=0.2), share=0.2).is_verified for _ in range(200)
    )
    assert verified <= 10


def test_a_large_effect_is_verified_with_a_narrow_interval_and_always_the_same() -> None:
    trial = run_trial(random.Random(1), effect=0.4, users=600, share=0.2)
    found = measured(trial, share=0.2)
    assert found.is_verified
    assert found.method == "holdout"
    assert found.expected == pytest.approx(trial.saved / DAYS * 30, rel=0.25)
    assert found.result(found.expected) == "verified"
    again = measured(Trial(trial.before[::-1], trial.after[::-1], trial.saved), share=0.2)
    assert (again.low, again.high) == pytest.approx((found.low, found.high))


def rows(*, cost_held: str, cost_changed: str, calls_changed: int = 10) -> list[UserCost]:
    """Two hundred users with ten calls on five days each."""
    users = [f"user_{number}" for number in range(200)]
    held = {user: in_holdout(user, "k", share=0.2) for user in users}
    return [
        UserCost(
            user_id=user, stratum="chat/chat", days=5, calls=10 if held[user] else calls_changed,
            cost=Decimal(cost_held if held[user] else cost_changed),
        )
        for user in users
    ]  # fmt: skip


def test_removed_calls_are_seen_by_the_day_and_not_by_the_call() -> None:
    # Half of the calls are not made any more: each costs what it did, and a day half of it.
    after = rows(cost_held="1", cost_changed="0.5", calls_changed=5)
    changed = sum(row.calls == 5 for row in after)
    by_day = measure_holdout([], after, "k", share=0.2, unit="day", days=10)
    by_call = measure_holdout([], after, "k", share=0.2, unit="call", days=10)
    assert by_day is not None
    assert by_call is not None
    assert by_day.expected == pytest.approx(0.5 * changed / 10 * 30)
    assert by_call.expected == pytest.approx(0)
    assert by_day.scaled(2).expected == pytest.approx(2 * by_day.expected)


def test_a_group_of_few_users_or_without_common_work_measures_nothing() -> None:
    after = rows(cost_held="1", cost_changed="0.5")
    assert measure_holdout([], after[:60], "k", share=0.2, unit="call", days=10) is None
    apart = [row.model_copy(update={"stratum": str(in_holdout(row.user_id, "k", share=0.2))}) for row in after]
    assert measure_holdout([], apart, "k", share=0.2, unit="call", days=10) is None
    assert measure_holdout([], [], "k", share=0.2, unit="call", days=10) is None
