"""Who has the unit prices of the corpus: what is written in its `evidence`, by kind of witness.

`evidence` of a line names, by kind of term, everybody who has that unit price: names of readings
(`readings.toml`: pages of which a stored copy was read) and of tables of prices. `tests.tools.corpus_evidence` writes
it.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pricing.overlay import read_document
from tests.conformance.corpus import CHARGED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.conformance.corpus import Case

READINGS: Final = Path(__file__).with_name("readings.toml")
GENAI: Final = "genai-prices 0.2.3"
BASES: Final = frozenset({GENAI, "litellm 1.110.2", "litellm 1.80.0"})
"""The tables that the price book is made of: that they agree with it proves little."""
KINDS: Final = {
    "maker": "a stored copy of a page of the maker's own",
    "quote": "no such copy, but somebody who quotes or transcribes that page",
    "table": "neither, but a table of prices that the book is not made of",
    "base": "only the tables that the book is made of (genai-prices, litellm)",
    "none": "nothing: nobody was found who has it",
    "rule": "none needed: a rule of counting",
}
"""Kinds of evidence, the best first, in words for the page."""


@cache
def read_readings() -> tuple[dict[str, Any], ...]:
    """Return what was read in copies of pages."""
    return tuple(tomllib.loads(READINGS.read_text(encoding="utf-8"))["reading"])


def kind_of(witnesses: Iterable[str]) -> str:
    """Return the best kind of evidence among witnesses."""
    pages = {reading["name"]: reading["of"] for reading in read_readings()}
    found = {pages.get(name) or ("base" if name in BASES else "table") for name in witnesses}
    return next((kind for kind in KINDS if kind in found), "none")


def count_overlay() -> Counter[str]:
    """Count the entries of the price book's own layer by what was read of their figures."""
    entries = [entry for entries in read_document().values() for entry in entries]
    return Counter("base" if _is_base(entry.get("source_url", "")) else str(entry["evidence"]) for entry in entries)


def _is_base(url: str) -> bool:
    return url.startswith(("https://pypi.org/project/litellm/", "https://pypi.org/project/genai-prices/"))


def count_kinds(cases: Sequence[Case]) -> Counter[str]:
    """Count the unit prices of the corpus, each of a model and kind of term once, by their best evidence."""
    found: dict[tuple[object, ...], str] = {}
    for case in cases:
        line = case.line
        for term in case.terms:
            if term.what != CHARGED:
                price = (line["provider"], line["model"], term.what, term.price / term.per)
                found[price] = kind_of(line["evidence"][term.what])
    return Counter(found.values())
