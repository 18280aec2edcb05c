"""Which days tell what a change saved, where the same calls were changed more than once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ingest.documents.savings import LedgerEntry
from ingest.savings.ledger import comparison

TODAY = date(2026, 11, 26)
CHANGED = date(2026, 10, 1)


def entry(key: str, day: int, expected: str | None = "10", **fields: Any) -> LedgerEntry:
    """A suggestion about chat, accepted so many days after the first of October."""
    names = dict.fromkeys(LedgerEntry.model_fields)
    texts = {"kind": "batch", "provider": "openai", "model": "gpt-4o", "feature": "chat", "headline": "Do it"}
    rest = {
        "suggestion_key": key, "needs_evaluation": False, "state": "accepted", "low": 1, "expected": 1, "high": 1,
        "opened_at": datetime(2026, 9, 1, tzinfo=UTC), "accepted_on": CHANGED + timedelta(days=day),
        "accepted_expected": expected,
    }  # fmt: skip
    return LedgerEntry.model_validate({**names, **texts, **rest, **fields})


def days(one: LedgerEntry, *others: LedgerEntry) -> tuple[int, int, int, int, float]:
    found = comparison(one, [one, *others], TODAY)
    four = (found.first, found.changed_from, found.changed_to, found.last)
    first, changed_from, changed_to, last = ((day - CHANGED).days for day in four)
    return first, changed_from, changed_to, last, found.share


def test_a_change_alone_has_four_weeks_on_either_side() -> None:
    others = (entry("b", 1, feature="mail"), entry("c", 1, provider="anthropic"))
    assert days(entry("a", 0), *others) == (-28, 0, 0, 29, 1.0)


def test_an_earlier_change_begins_the_days_before_and_a_later_one_ends_those_after() -> None:
    assert days(entry("a", 0), entry("b", -10), entry("c", 6)) == (-9, 0, 0, 6, 1.0)


@pytest.mark.parametrize("feature", ["chat", None])
def test_changes_within_five_days_share_what_came_of_them(feature: str | None) -> None:
    first, second = entry("a", 0, "30"), entry("b", 5, feature=feature)
    assert days(first, second) == (-28, 0, 5, 29, 0.75)
    assert days(second, first) == (-23, 0, 5, 34, 0.25)


def test_changes_of_which_nothing_was_expected_share_evenly() -> None:
    assert days(entry("a", 0, None), entry("b", 0, None))[-1] == pytest.approx(0.5)
    assert Decimal(str(days(entry("a", 0, "0"))[-1])) == 1
