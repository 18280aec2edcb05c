"""The published page of accuracy is of this corpus and this book."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.conformance.accuracy import OURS, by_kind, our_column, score
from tests.conformance.corpus import Case, load
from tests.conformance.evidence import KINDS, count_kinds, count_overlay
from tests.conformance.peers import langfuse

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"


def _column(name: str) -> dict[str, str]:
    table = PAGE.read_text(encoding="utf-8").partition("\n| class ")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in f"| class {table}".splitlines()
        if line.startswith("|")
    ]
    index = rows[0].index(name)
    return {row[0]: row[index] for row in rows[2:] if not row[0].startswith("**")}


def test_the_page_shows_what_this_book_gets_right() -> None:
    assert _column(OURS) == our_column(load())


def test_the_page_says_how_many_answers_are_of_kinds_that_the_book_was_corrected_for() -> None:
    tuned = {kind: str(sum("tuned" in case.line for case in cases)) for kind, cases in by_kind(load()).items()}
    assert _column("tuned") == tuned


def test_the_page_counts_the_unit_prices_by_their_evidence() -> None:
    found, own = count_kinds(load()), count_overlay()
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| {text} | {found[kind]} | {own[kind]} |" in page for kind, text in KINDS.items())


def test_an_error_is_in_parts_of_the_right_cost_and_no_answer_is_none() -> None:
    cases = [Case(str(n), {"cost_usd": cost}) for n, cost in enumerate(("2", "2", "2", None, None, "0"))]
    costs = {"0": Decimal(2), "1": Decimal(3), "2": None, "3": None, "4": Decimal(1), "5": Decimal(0)}
    found = score(cases, costs, Decimal(0))
    assert (found.answers, found.right, found.errors) == (6, 3, (Decimal("0.5"), Decimal(1)))
    assert str(found) == "3/6 (75.0 %, 1 without)"


def test_langfuse_is_charged_by_the_first_pattern_that_matches_and_the_tier_of_the_input() -> None:
    standard = {"input": Decimal("3e-6"), "output": Decimal("15e-6"), "input_cache_creation": Decimal("3.75e-6"),
                "input_cache_creation_1h": Decimal("6e-6"), "input_cached_tokens": Decimal("0.3e-6")}  # fmt: skip
    larger = {**standard, "input": Decimal("6e-6"), "output": Decimal("22.5e-6")}
    tiers = [
        {"isDefault": True, "conditions": [], "prices": standard},
        {"isDefault": False, "conditions": [{"value": Decimal(200_000)}], "prices": larger},
    ]
    charge = langfuse([{"matchPattern": "(?i)^(anthropic/)?claude-x$", "pricingTiers": tiers}])
    counts = {"input": 1_000, "output": 10, "cached": 500, "cache_write": 300, "cache_write_1h": 100}
    # 200 plain, 500 read, 200 for five minutes, 100 for an hour, 10 out
    assert charge({"model": "Claude-X", "expect": counts}) == Decimal("0.00225")
    assert charge({"model": "claude-x", "expect": {"input": 200_001, "output": 0}}) == Decimal("1.200006")
    assert charge({"model": "claude-x-2", "expect": counts}) is None
