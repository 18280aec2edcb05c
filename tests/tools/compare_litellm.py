"""Lists where our price book and the table inside a litellm wheel differ, and checks that each difference is decided.

    uv run python -m tests.tools.compare_litellm path/to/litellm-….whl [--provider P] [--at 2026-11-23] [--csv FILE]

The wheel is read as data; nothing of it is imported. Each difference is one line: model, tier, band, rate, ours,
theirs, kind, decision. Decisions stand in docs/prices/decisions.toml; the exit code is 1 while one is missing.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import tomllib
import zipfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from pricing import PriceBook, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pricing import Rates

DECISIONS = Path(__file__).parents[2] / "docs" / "prices" / "decisions.toml"
EVIDENCE = Path(__file__).parent / "evidence"
_TABLE = "litellm/model_prices_and_context_window_backup.json"
_TIERS = {"": "default", "_batches": "batch", "_flex": "flex", "_priority": "priority"}
_RATES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
}
_KEY = re.compile(rf"(?P<rate>{'|'.join(_RATES)})(?:_above_(?P<above>\d+)k_tokens)?(?P<tier>{'|'.join(_TIERS)})")
_MILLION = Decimal(1_000_000)
# Their "k" is a thousand tokens here; OpenAI's bounds are 272,000 and 200,000.
_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure on which the two disagree.

    Attributes:
        model: Name in litellm's table.
        tier: Service tier.
        above_tokens: Band.
        rate: Rate's name; "" where the whole model or tier is missing.
        ours: US dollars per million tokens; None where the book has none.
        theirs: The same in litellm's table.
        kind: model_missing, tier_missing, rate_missing, band_missing, figure, or only_ours.
        layer: Layer of our row.
    """

    model: str
    tier: str
    above_tokens: int
    rate: str
    ours: Decimal | None
    theirs: Decimal | None
    kind: str
    layer: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about differences of one sort.

    Attributes:
        name: Its name in the file.
        kind: Sorts of difference it covers.
        models: Regular expression over the whole model name.
        tiers: Tiers it covers; empty for all.
        rates: Rates it covers; empty for all.
        decision: ours, theirs, unknown or out_of_scope.
    """

    name: str
    kind: frozenset[str]
    models: re.Pattern[str]
    tiers: frozenset[str]
    rates: frozenset[str]
    decision: str

    def covers(self, difference: Difference) -> bool:
        """Whether the decision is about this difference."""
        return (
            difference.kind in self.kind
            and self.models.fullmatch(difference.model) is not None
            and (not self.tiers or difference.tier in self.tiers)
            and (not self.rates or difference.rate in self.rates)
        )


def read_table(wheel: Path) -> dict[str, dict[str, object]]:
    """Read litellm's table out of its wheel, figures as exact decimals."""
    with zipfile.ZipFile(wheel) as archive:
        table: dict[str, dict[str, object]] = json.loads(archive.read(_TABLE), parse_float=Decimal, parse_int=Decimal)
    return table


def read_decisions(path: Path = DECISIONS) -> list[Decision]:
    """Read the decisions, the first that covers a difference counts."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Decision(
            entry["name"],
            frozenset(entry["kind"]),
            re.compile("|".join(entry["models"])),
            frozenset(entry.get("tiers", ())),
            frozenset(entry.get("rates", ())),
            entry["decision"],
        )
        for entry in document["decision"]
    ]


def compare(
    table: Mapping[str, Mapping[str, object]], book: PriceBook, provider: str, at: datetime
) -> Iterator[Difference]:
    """Yield each figure of a provider's models on which the two disagree at a time."""
    known = set()
    for name, entry in sorted(table.items()):
        if entry.get("litellm_provider") != provider:
            continue
        model = name.removeprefix(f"{provider}/")
        known.add(model)
        theirs = _figures(entry)
        if theirs:
            yield from _compare_model(model, theirs, book, provider, at)
    for model in book.models(provider):
        if model not in known:
            yield Difference(model, "default", 0, "", None, None, "only_ours", None)


def _figures(entry: Mapping[str, object]) -> dict[str, dict[int, dict[str, Decimal]]]:
    """Return a model's figures by tier, band and rate, US dollars per million tokens."""
    figures: dict[str, dict[int, dict[str, Decimal]]] = {}
    for key, value in entry.items():
        match = _KEY.fullmatch(key)
        if match is None or not isinstance(value, Decimal):
            continue
        above = int(match["above"] or 0) * _THOUSAND
        band = figures.setdefault(_TIERS[match["tier"]], {}).setdefault(above, {})
        band[_RATES[match["rate"]]] = value * _MILLION
    return figures


def _compare_model(
    model: str,
    theirs: Mapping[str, Mapping[int, Mapping[str, Decimal]]],
    book: PriceBook,
    provider: str,
    at: datetime,
) -> Iterator[Difference]:
    for tier, bands in theirs.items():
        for above, rates in bands.items():
            try:
                found = book.explain(model, provider=provider, service_tier=tier, at=at, input_tokens=above + 1)
            except UnknownModelError:
                yield Difference(model, tier, above, "", None, None, "model_missing", None)
                return
            if found.band is None:
                yield Difference(model, tier, above, "", None, None, "tier_missing", found.layer)
                continue
            if above and found.band.above_tokens != above:
                yield Difference(model, tier, above, "", None, None, "band_missing", found.layer)
                continue
            for rate, figure in rates.items():
                ours = _resolved(found.band, rate)
                if ours != figure:
                    kind = "rate_missing" if ours is None else "figure"
                    yield Difference(model, tier, above, rate, ours, figure, kind, found.layer)


def _resolved(band: Rates, rate: str) -> Decimal | None:
    value: Decimal | None = getattr(band, rate)
    if value is None and rate in ("cached_input", "cache_write"):
        return band.input
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--provider", default="openai")
    parser.add_argument("--at", default=None, help="day on which prices are compared; default: today")
    parser.add_argument("--csv", type=Path, default=None, help="also write the differences to this file")
    options = parser.parse_args(arguments)
    at = datetime.fromisoformat(options.at).replace(tzinfo=UTC) if options.at else datetime.now(UTC)
    decisions = read_decisions()
    found = list(compare(read_table(options.wheel), PriceBook.default(), options.provider, at))
    rows = [
        (
            one.model, one.tier, one.above_tokens, one.rate, _text(one.ours), _text(one.theirs), one.kind,
            one.layer or "", next((d.name for d in decisions if d.covers(one)), ""),
        )
        for one in found
    ]  # fmt: skip
    header = ("model", "tier", "above_tokens", "rate", "ours", "theirs", "kind", "layer", "decision")
    writer = csv.writer(sys.stdout)
    writer.writerow(header)
    writer.writerows(rows)
    if options.csv is not None:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])
    undecided = sum(not row[-1] for row in rows)
    counts = Counter((row[6], row[-1] or "UNDECIDED") for row in rows)
    for (kind, decision), count in sorted(counts.items()):
        print(f"{count:5} {kind:14} {decision}", file=sys.stderr)
    print(f"{len(rows)} differences, {undecided} without a decision", file=sys.stderr)
    return 1 if undecided else 0


def _text(value: Decimal | None) -> str:
    return "" if value is None else f"{value.normalize():f}"


if __name__ == "__main__":
    sys.exit(main())
