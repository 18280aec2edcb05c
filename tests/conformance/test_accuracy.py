"""The published page of accuracy is of this corpus and this book."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.conformance.accuracy import OURS, by_kind, our_column, score
from tests.conformance.corpus import Case, load

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"


def _column(name: str) -> dict[str, str]:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    index = rows[0].index(name)
    return {row[0]: row[index] for row in rows[2:] if not row[0].startswith("**")}


def test_the_page_shows_what_this_book_gets_right() -> None:
    assert _column(OURS) == our_column(load())


def test_the_page_says_how_many_answers_are_of_kinds_that_the_book_was_corrected_for() -> None:
    tuned = {kind: str(sum("tuned" in case.line for case in cases)) for kind, cases in by_kind(load()).items()}
    assert _column("tuned") == tuned


def test_an_error_is_in_parts_of_the_right_cost_and_no_answer_is_none() -> None:
    cases = [Case(str(n), {"cost_usd": cost}) for n, cost in enumerate(("2", "2", "2", None, None, "0"))]
    costs = {"0": Decimal(2), "1": Decimal(3), "2": None, "3": None, "4": Decimal(1), "5": Decimal(0)}
    found = score(cases, costs, Decimal(0))
    assert (found.answers, found.right, found.errors) == (6, 3, (Decimal("0.5"), Decimal(1)))
    assert str(found) == "3/6 (75.0 %, 1 without)"
