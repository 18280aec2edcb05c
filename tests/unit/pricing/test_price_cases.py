"""The figures in which other tables disagree with the book of November 2026, or of which it knew nothing."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from pricing import PriceBook
from tests.tools.compare_prices import Decision, book_figure, read_decisions, same

AT = datetime(2026, 11, 25, tzinfo=UTC)


def _cases() -> list[dict[str, str]]:
    with Path(__file__).with_name("prices.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _outcome(case: dict[str, str], book: PriceBook, decisions: list[Decision]) -> tuple[str, str]:
    """Say whether the book agrees with one of the others, differs or has nothing, and what was decided then."""
    key = (case["provider"], case["model"].lower(), case["price_kind"])
    ours = book_figure(book, *key, AT)
    others = [Decimal(other.rpartition("=")[2]) for other in case["others"].split("; ")]
    if ours is not None and any(same(ours, other) for other in others):
        return "agrees", ""
    decision = next((one for one in decisions if one.covers(*key)), None)
    return ("missing" if ours is None else "differs"), ("undecided" if decision is None else decision.decision)


def test_no_figure_is_wrong_and_each_missing_one_has_its_reason() -> None:
    book, decisions = PriceBook.default(), read_decisions()
    outcomes = Counter((case["verdict"].partition("(")[0], *_outcome(case, book, decisions)) for case in _cases())
    assert outcomes == {
        # Wrong before: right now, but for one where the other table has the price of 2024.
        ("differs", "agrees", ""): 66,
        ("differs", "differs", "ours"): 1,
        # Missing before: priced now as others do,
        ("missing", "agrees", ""): 973,
        # priced otherwise by evidence (writes to OpenAI's cache, versions of search, Azure's list),
        ("missing", "differs", "ours"): 50,
        # priced as one of several tables that contradict each other,
        ("missing", "differs", "open"): 2,
        # or unpriced by decision.
        ("missing", "missing", "ours"): 3,
        ("missing", "missing", "unpriced"): 26,
    }


def test_at_least_four_of_five_missing_figures_have_a_price_now() -> None:
    book, decisions = PriceBook.default(), read_decisions()
    missing = [case for case in _cases() if case["verdict"].startswith("missing")]
    left = [case for case in missing if _outcome(case, book, decisions)[0] == "missing"]
    assert len(missing) == 1054
    assert len(left) / len(missing) < Decimal("0.2")
