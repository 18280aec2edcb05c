"""Every answer of the corpus is read and charged right, and the corpus itself adds up."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from pricing import PriceBook
from tests.conformance.corpus import ATTRIBUTES, CHARGED, UNKNOWN, Case, charged, counts_of, extract, load

CASES = load()
BOOK = PriceBook.default()
_KEYS = {"id", "class", "provider", "model", "operation", "at", "expect", "cost_usd", "because", "source", "evidence"}
_OPTIONAL = {"call", "answer", "note", "tuned"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_an_answer_used_is_read(case: Case) -> None:
    if "answer" not in case.line:
        return
    usage = extract(case).usage
    expected = dict(case.line["expect"])
    units = expected.pop("units", {})
    assert {name: getattr(usage, ATTRIBUTES[name]) for name in expected} == expected
    assert {kind: Decimal(count) for kind, count in usage.units.items()} == units


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_an_answer_costs_is_charged(case: Case) -> None:
    found = charged(case, BOOK)
    assert found.total == case.cost
    assert (found.source == "unpriced") == (case.cost is None)
    assert not found.unknown or case.cost is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_line_adds_up(case: Case) -> None:
    line = case.line
    assert line.keys() >= _KEYS
    assert line.keys() <= _KEYS | _OPTIONAL
    assert datetime.fromisoformat(line["at"]).tzinfo is not None
    assert line["source"].startswith("https://")
    assert (case.cost is None) == line["because"].startswith(UNKNOWN)
    if case.cost is None:
        return
    terms = case.terms
    assert line["evidence"].keys() == {term.what for term in terms if term.what != CHARGED}
    assert sum((term.amount for term in terms), Decimal(0)) == case.cost
    if not any(term.what == CHARGED for term in terms) and "answer" in line:
        assert counts_of(terms) == line["expect"]


def test_the_corpus_is_large_enough() -> None:
    makers = {case.kind.partition("/")[0] for case in CASES}
    assert len({case.id for case in CASES}) == len(CASES) >= 150
    assert len(makers) >= 12
    kinds = {case.kind.partition("/")[2] for case in CASES}
    assert kinds >= {"cancelled", "retried", "batch", "flex", "priority", "long context", "tools", "cache", "audio",
                     "images", "realtime", "embeddings", "pages", "rerank", "region", "charge", "refund"}  # fmt: skip


def test_a_price_is_the_same_in_every_line_of_one_day_and_tier() -> None:
    """One typing error in a unit price would hide where a model stands once; where it stands twice it shows."""
    prices: defaultdict[tuple[Any, ...], set[Decimal]] = defaultdict(set)
    for case in CASES:
        if case.kind.endswith(("/long context", "/dated")):
            continue
        line = case.line
        usage = case.reported or {}
        tier = (
            line.get("call", {}).get("service_tier") or (line.get("answer") or {}).get("service_tier"),
            *(usage.get(name) for name in ("service_tier", "speed", "inference_geo")),
        )
        for term in case.terms:
            if term.what != CHARGED:
                where = (case.kind, line["provider"], line["model"], line["at"], tier, term.what)
                prices[where].add(term.price / term.per)
    assert {where: found for where, found in prices.items() if len(found) > 1} == {}
