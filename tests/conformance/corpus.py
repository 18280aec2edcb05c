"""The conformance corpus: answers of providers, what must be read in them and what they cost by arithmetic alone.

A line of `corpus.jsonl` has `id`, `class` (maker/kind), `provider`, `model`, `operation`, `at`, `answer` (the body as
it came) and `call` (what only the caller knows: tier, status, counts of a cancelled stream), then what is right:
`expect` (counts), `cost_usd` (None: unknown, which is not 0) and `because`: the terms that the cost is the sum of, each
`COUNT x PRICE (what)`, a price with `/M`, `/1000` or another number for how many it buys. Unit prices stand there; none
is read from the price book. `source` is the page on which they should stand, which nobody opened; `evidence` says who
was found to have them (see evidence.py). `tuned` marks what the book was corrected by.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from pricing import Charge, Extracted, PriceBook, extract_usage
from pricing.calls import clean_details, fields_of
from pricing.charge import charge

CORPUS: Final = Path(__file__).with_name("corpus.jsonl")
UNKNOWN: Final = "unknown: "
CHARGED: Final = "charged"
_NO_COUNTS: Final = (CHARGED, "request fee")
_TERM: Final = re.compile(r"(?P<count>[\d.]+) x (?P<price>-?[\d.]+)(?:/(?P<per>M|\d+))? \((?P<what>[a-z0-9_: ]+)\)")
# By kind of term: the counts that it is part of, beside the whole.
INPUT: Final[dict[str, tuple[str, ...]]] = {
    "input": (),
    "cached": ("cached",),
    "cache write": ("cache_write",),
    "cache write 1h": ("cache_write", "cache_write_1h"),
    "audio input": ("audio_input",),
    "cached audio": ("cached", "audio_input", "cached_audio"),
    "image input": ("image_input",),
    "cached image": ("cached", "image_input", "cached_image"),
}
OUTPUT: Final[dict[str, tuple[str, ...]]] = {
    "output": (),
    "reasoning": ("reasoning",),
    "audio output": ("audio_output",),
    "image output": ("image_output",),
}
ATTRIBUTES: Final = {
    "input": "prompt_tokens",
    "output": "completion_tokens",
    **{
        name: f"{name}_tokens"
        for name in (
            *("cached", "cache_write", "cache_write_1h", "reasoning", "audio_input", "audio_output"),
            *("cached_audio", "image_input", "cached_image", "image_output"),
        )
    },
}


@dataclass(frozen=True, slots=True)
class Term:
    """One product of a cost: so many of something, at US dollars for `per` of them."""

    count: Decimal
    price: Decimal
    per: int
    what: str

    @property
    def amount(self) -> Decimal:
        """US dollars."""
        return self.count * self.price / self.per


@dataclass(frozen=True, slots=True)
class Case:
    """One answer with what is right about it; `line` is as it stands in the file."""

    id: str
    line: dict[str, Any]

    @property
    def kind(self) -> str:
        """Its class: who made it and what it is about."""
        return str(self.line["class"])

    @property
    def cost(self) -> Decimal | None:
        """US dollars, None where nobody can know."""
        said = self.line["cost_usd"]
        return None if said is None else Decimal(said)

    @property
    def terms(self) -> list[Term]:
        """The products that the cost is the sum of; none where it is unknown."""
        because = self.line["because"]
        return [] if because.startswith(UNKNOWN) else [parse_term(text) for text in because.split(" + ")]

    @property
    def reported(self) -> Any:
        """The usage object of the answer, in the provider's own words; None without one."""
        answer = self.line.get("answer") or {}
        names = ("usage", "usageMetadata", "usage_info", "meta")
        return next((answer[name] for name in names if name in answer), None)


def load(path: Path = CORPUS) -> list[Case]:
    """Read the corpus."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Case(line["id"], line) for line in map(json.loads, lines)]


def parse_term(text: str) -> Term:
    """Read `1000 x 2.5/M (input)`.

    Raises:
        ValueError: It is no term.
    """
    found = _TERM.fullmatch(text)
    if found is None:
        raise ValueError(f"no term: {text!r}")
    per = {None: 1, "M": 1_000_000}.get(found["per"])
    return Term(
        Decimal(found["count"]), Decimal(found["price"]), int(found["per"]) if per is None else per, found["what"]
    )


def counts_of(terms: list[Term]) -> dict[str, Any]:
    """Return the counts that terms speak of, as `expect` has them."""
    counts: dict[str, Any] = {"input": 0, "output": 0}
    for term in terms:
        if term.what in _NO_COUNTS:
            continue
        for whole, kinds in (("input", INPUT), ("output", OUTPUT)):
            if term.what in kinds:
                for name in (whole, *kinds[term.what]):
                    counts[name] = counts.get(name, 0) + int(term.count)
                break
        else:
            counts.setdefault("units", {})[term.what] = int(term.count)
    return counts


def extract(case: Case) -> Extracted:
    """Read an answer as the recorder does."""
    line = case.line
    return extract_usage(
        case.reported,
        provider=line["provider"],
        model=line["model"],
        operation=line["operation"],
        answer=line.get("answer"),
    )


def call_of(case: Case) -> dict[str, Any]:
    """Make the recorded call of a case: what was read in its answer, then what only the caller knows."""
    line = case.line
    found = fields_of(extract(case))
    found.pop("flags")
    details = {name: found.pop(name) for name in tuple(found) if name in _DETAILS}
    call: dict[str, Any] = {
        "provider": line["provider"],
        "model": line["model"],
        "created_at": line["at"],
        "status": "ok",
        "service_tier": (line.get("answer") or {}).get("service_tier"),
        **found,
    }
    call |= {"usage_details": clean_details(details, [])} if details else {}
    return {name: value for name, value in (call | line.get("call", {})).items() if value is not None}


_DETAILS: Final = frozenset(
    {
        *("cache_write_1h_tokens", "cached_audio_tokens", "image_input_tokens", "cached_image_tokens"),
        *("image_output_tokens", "units", "reported_cost"),
    }
)


def charged(case: Case, book: PriceBook) -> Charge:
    """Charge a case with a book; no model stands in for an unknown one."""
    return charge(call_of(case), book, None)
