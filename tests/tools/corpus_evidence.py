"""Says for every unit price of the conformance corpus who else has it, and writes that into the corpus.

    uv run python -m tests.tools.corpus_evidence [--wheels DIR] [--write]

Three kinds of witness are asked: readings of pages (tests/conformance/readings.toml, each with what was read and where
the copy lies), tables of prices that the book is not made of (model-prices, models.dev, tokencost) and the two that it
is made of (genai-prices, litellm), whose agreement proves no more than that nothing was lost on the way. Prints the
unit prices that nobody has.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from genai_prices.data import providers as genai_providers
from genai_prices.types import ConditionalPrice, ModelPrice, TieredPrices

from pricing.names import bare_name, maker_of
from pricing.usage import UNITS
from tests.conformance.corpus import CHARGED, CORPUS, Case, Term, load
from tests.conformance.evidence import GENAI, read_readings
from tests.tools.compare_prices import fetch
from tests.tools.price_sources import LITELLM_PROVIDERS, SOURCES, Source, read_litellm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Witnesses = dict[str, dict[tuple[str, str], dict[str, set[Decimal]]]]

# The release of November 2025 has models that were retired since.
_OLDER: Final = Source("litellm-2025", "litellm==1.80.0", read_litellm)
_MILLION: Final = 1_000_000
_THOUSAND: Final = 1_000
_HOUR: Final = 3_600
_OWNERS: Final = {
    "gcp.vertex_ai": "vertex_ai",
    "aws.bedrock": "aws",
    "azure.ai.openai": "azure",
    "voyage": "voyageai",
}
# By kind of term: the kinds of price in tables that can have it, the exact one first.
_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "input": ("input",),
    "output": ("output",),
    "reasoning": ("reasoning", "output"),
    "cached": ("cached",),
    "cache write": ("cache_write",),
    "cache write 1h": ("cache_write_1h",),
    "audio input": ("audio_in",),
    "audio output": ("audio_out",),
    "cached audio": ("audio_cached", "cached"),
    "image input": ("image_in", "input"),
    "cached image": ("image_cached", "cached"),
    "image output": ("image_out", "output"),
    "web_search": ("unit.search",),
    "web_search:preview": ("unit.search",),
    "file_search": ("unit.file_search",),
    "container": ("unit.code_interpreter_cost_per_session",),
    "maps_grounding": ("unit.google_maps_grounding_cost_per_query",),
    "audio_seconds": ("unit.input_cost_per_second",),
    "pages": ("unit.ocr_cost_per_page",),
    "characters": ("unit.input_cost_per_character",),
    "images": ("unit.output_cost_per_image", "unit.input_cost_per_image"),
    "search_units": ("unit.rerank", "unit.search"),
    "request fee": ("unit.search",),
}
_GENAI_KINDS: Final = {
    "input_mtok": ("input", 1),
    "cache_read_mtok": ("cached", 1),
    "cache_write_mtok": ("cache_write", 1),
    "cache_write_1h_mtok": ("cache_write_1h", 1),
    "input_audio_mtok": ("audio_in", 1),
    "cache_audio_read_mtok": ("audio_cached", 1),
    "input_image_mtok": ("image_in", 1),
    "cache_image_read_mtok": ("image_cached", 1),
    "output_mtok": ("output", 1),
    "output_reasoning_mtok": ("reasoning", 1),
    "output_audio_mtok": ("audio_out", 1),
    "output_image_mtok": ("image_out", 1),
    "web_searches_kcount": ("unit.search", _THOUSAND),
    "requests_kcount": ("unit.search", _THOUSAND),
    "storage_searches_kcount": ("unit.file_search", _THOUSAND),
    "rerank_searches_kcount": ("unit.rerank", _THOUSAND),
    "input_audio_hours": ("unit.input_cost_per_second", _HOUR),
    "audio_hours": ("unit.input_cost_per_second", _HOUR),
    "input_document_kpages": ("unit.ocr_cost_per_page", _THOUSAND),
    "input_mchars": ("unit.input_cost_per_character", _MILLION),
}


def read_tables(wheels: Mapping[str, Path]) -> Witnesses:
    """Return the figures of every packaged table by model and kind; tier and band are left out of the kind."""
    tables: Witnesses = {GENAI: _read_genai()}
    for source in (*SOURCES, _OLDER):
        figures: defaultdict[tuple[str, str], dict[str, set[Decimal]]] = defaultdict(dict)
        for (provider, model, kind), figure in source.read(wheels[source.name]).items():
            last = kind if kind.startswith("unit.") else kind.rpartition(".")[2]
            figures[provider, model].setdefault(last, set()).add(figure)
        tables[source.package.replace("==", " ")] = dict(figures)
    return tables


def _read_genai() -> dict[tuple[str, str], dict[str, set[Decimal]]]:
    found: dict[tuple[str, str], dict[str, set[Decimal]]] = {}
    for provider in genai_providers:
        for model in provider.models:
            listed = model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]
            prices = [one.prices for one in listed] + [variant.prices for variant in model.price_variants or ()]
            kinds = found.setdefault((provider.id, model.id.lower()), {})
            for price in prices:
                for kind, figure in _genai_figures(price):
                    kinds.setdefault(kind, set()).add(figure)
    return found


def _genai_figures(price: ModelPrice) -> Iterator[tuple[str, Decimal]]:
    for key, (kind, per) in _GENAI_KINDS.items():
        value = getattr(price, key, None)
        tiers = [value.base, *(tier.price for tier in value.tiers)] if isinstance(value, TieredPrices) else [value]
        for figure in tiers:
            if figure is not None:
                yield kind, figure / per


def witnesses_of(case: Case, term: Term, tables: Witnesses, readings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return who has a unit price: names of readings, then of tables."""
    found = [reading["name"] for reading in readings if _says(reading, case, term)]
    sought = term.price if term.per == _MILLION and term.what not in UNITS else term.price / term.per
    for name, figures in tables.items():
        for owner in _owners(case):
            for model in _spellings(case.line["model"]):
                kinds = figures.get((owner, model), {})
                listed = [figure for kind in _KINDS.get(term.what, ()) for figure in kinds.get(kind, ())]
                found += [name] if any(_close(sought, figure) for figure in listed) else []
    return list(dict.fromkeys(found))


def _says(reading: Mapping[str, Any], case: Case, term: Term) -> bool:
    said = f"{term.price.normalize():f}" + ("" if term.per == 1 else f"/{'M' if term.per == _MILLION else term.per}")
    at = datetime.fromisoformat(case.line["at"])
    until = reading.get("until")
    if until is not None and at >= datetime.combine(until, datetime.min.time(), UTC):
        return False
    return any(
        fnmatchcase(spelling, pattern) and said in figures.get(term.what, ())
        for owner in _owners(case)
        if owner in reading["providers"]
        for pattern, figures in reading["figures"].items()
        for spelling in _spellings(case.line["model"])
    )


def _owners(case: Case) -> list[str]:
    provider = _OWNERS.get(case.line["provider"], case.line["provider"])
    prefix = case.line["model"].partition("/")[0]
    if "." in provider and prefix in LITELLM_PROVIDERS:
        return [LITELLM_PROVIDERS[prefix]]
    maker = maker_of(case.line["model"].lower())
    shared = {"azure": ["openai"], "vertex_ai": ["google", "anthropic"]}.get(provider, [])
    return list(dict.fromkeys([provider, *shared, *([maker] if maker and "." in provider else [])]))


def _spellings(model: str) -> list[str]:
    """Return how tables may write a model's name, the name itself first."""
    name = model.lower()
    bare = bare_name(name)
    name = re.sub(r":(nitro|floor)$", "", name)
    tuned = re.sub(r"^(ft:[^:]+):.*", r"\1", name)
    last = name.rpartition("/")[2]
    region = re.sub(r"^(us|eu|apac|global)\.", "", last)
    spelled = [name, tuned, bare, region, last, f"accounts/fireworks/models/{bare}", name.partition("/")[2]]
    spelled += [re.sub(r"[-@](20\d{2}-?\d{2}-?\d{2}|latest|\d{3,4})(-v\d+(:\d+)?)?$", "", one) for one in spelled]
    spelled += [f"{one}-latest" for one in spelled] + [one.removeprefix("ft:") for one in spelled if "batch" in one]
    return list(dict.fromkeys(spelled))


def _close(one: Decimal, other: Decimal) -> bool:
    return abs(one - other) <= abs(other) * Decimal("1e-6")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what nobody has; with `--write`, put the witnesses into the corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, default=Path.home() / ".cache" / "treering-prices")
    parser.add_argument("--write", action="store_true", help="write `evidence` into the corpus")
    options = parser.parse_args(arguments)
    tables, readings = read_tables(fetch(options.wheels, (*SOURCES, _OLDER))), read_readings()
    lines = []
    for case in load():
        terms = [term for term in case.terms if term.what != CHARGED]
        evidence = {term.what: witnesses_of(case, term, tables, readings) for term in terms}
        for term in terms:
            if not evidence[term.what]:
                print(f"{case.id}: {case.line['provider']} {case.line['model']} {term.price}/{term.per} ({term.what})")
        lines.append(case.line | {"evidence": evidence})
    if options.write:
        CORPUS.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
