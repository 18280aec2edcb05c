"""Writes `pricing/litellm.json`, the book's second catalogue, from litellm's wheels.

    uv run python -m tests.tools.import_litellm 2026-11-25=litellm-1.110.2-….whl [2026-04-17=litellm-1.83.9-….whl …]

The newest wheel gives the figures. Older ones date them: where one of them has another price for input or output,
today's price begins on the day of the next newer wheel, and nothing is claimed about the time before. litellm's table
is MIT-licensed (Copyright BerriAI); it is read as data, nothing of it is imported. Left out: what is not paid by use,
and prices of zero that stand for "not known" there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.tools.price_sources import litellm_figures, litellm_owner, read_litellm_table

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET: Final = Path(__file__).parents[2] / "pricing" / "litellm.json"
# Sellers of other makers' models: their own price must be told from a copied one.
_OWN_PAGES: Final = {
    "aws": ("amazonaws.com", "aws.amazon.com", "awsstatic.com"),
    "azure": ("azure.com", "microsoft.com"),
    "fireworks": ("fireworks.ai",),
    "mistral": ("mistral.ai",),
}
# Free by their makers' word; every other zero in litellm's table means that nobody entered a price.
_FREE: Final = ("gemma-", "labs-leanstral", "mistral-moderation", "omni-moderation", "glm-4.5-flash", "glm-4.7-flash")
_PAID_BY_UNIT: Final = ("lyria-",)
_NOT_CHARGED: Final = frozenset(
    {"embedding", "rerank", "moderation", "evaluation", "audio_transcription", "image_generation"}
)
_TIERS: Final = ("default", "batch", "flex", "priority")
# Kinds by the names of the book's figures.
_FIGURE: Final = {
    "cached": "cached_input",
    "audio_in": "audio_input",
    "audio_out": "audio_output",
    "audio_cached": "cached_audio",
    "image_in": "image_input",
    "image_out": "image_output",
    "image_cached": "cached_image",
}
# Beside prices for tokens these are estimates of the same cost, not a price on top of it.
_INSTEAD_OF_TOKENS: Final = {
    "unit.input_cost_per_second": "audio_seconds",
    "unit.output_cost_per_second": "audio_seconds",
    "unit.input_cost_per_character": "characters",
    "unit.ocr_cost_per_page": "pages",
    "unit.output_cost_per_image": "images",
}
# OpenAI sells two versions of the tool, which the overlay tells apart; at Perplexity the request is the search.
_SEARCH_ELSEWHERE: Final = frozenset({"openai", "perplexity"})
_BESIDE_TOKENS: Final = {
    "unit.search": "web_search",
    "unit.google_maps_grounding_cost_per_query": "maps_grounding",
    "unit.code_interpreter_cost_per_session": "container",
}

Entry = dict[str, Decimal]
Book = dict[tuple[str, str], tuple[Entry, bool]]


def read_book(wheel: Path) -> Book:
    """Return figures by (provider, model) under the book's names, and whether the seller's own pages are cited."""
    book: Book = {}
    for name, entry in sorted(read_litellm_table(wheel).items()):
        owner = litellm_owner(name, entry)
        if owner is None or name.startswith(("codestral/", "text-completion-codestral/")):
            continue  # codestral's own host was a free beta, sold as mistral/ since
        figures = _named(owner[0], _believed(owner[1], str(entry.get("mode")), litellm_figures(entry)))
        if figures:
            pages = _OWN_PAGES.get(owner[0], ())
            own = any(page in str(entry.get("source", "")) for page in pages)
            known = book.setdefault(owner, (figures, own))[0]
            for kind, figure in figures.items():
                known.setdefault(kind, figure)
    return book


def _named(provider: str, figures: Entry) -> Entry:
    named: Entry = {}
    by_token = bool(figures.get("input") or figures.get("output"))
    for kind, figure in figures.items():
        front, dot, last = kind.rpartition(".")
        if front == "unit":
            name = _BESIDE_TOKENS.get(kind) or (None if by_token else _INSTEAD_OF_TOKENS.get(kind))
            if name == "web_search" and provider in _SEARCH_ELSEWHERE:
                continue
            if name is not None:
                named.setdefault(f"unit.{name}", figure)
        else:
            named[front + dot + _FIGURE.get(last, last)] = figure
    return named


def _believed(model: str, mode: str, figures: Entry) -> Entry:
    free = model.startswith((*_FREE, *_PAID_BY_UNIT))
    if figures.get("input") == 0 and not figures.get("output") and not free:
        return {kind: figure for kind, figure in figures.items() if kind.startswith("unit.")}
    if figures.get("output") == 0 and figures.get("input") and mode not in _NOT_CHARGED:
        return {}  # a router: what the routed model costs comes on top
    return {kind: figure for kind, figure in figures.items() if figure or free or kind.endswith(("output", "input"))}


def tier_of(kind: str) -> str:
    """Return the service tier that a kind belongs to."""
    first = kind.split(".")[0]
    return first if first in _TIERS else "default"


def begins(figures: Entry, older: Sequence[tuple[str, Entry]], newest_day: str) -> dict[str, str]:
    """Return the first day of each tier whose price was seen to be another one before; `older` is newest first."""
    days: dict[str, str] = {}
    for tier in {tier_of(kind) for kind in figures}:
        front = "" if tier == "default" else f"{tier}."
        since = newest_day
        for day, then in older:
            pairs = [(then.get(front + rate), figures.get(front + rate)) for rate in ("input", "output")]
            if pairs[0][0] is None:
                break
            if any(before != now for before, now in pairs):
                days[tier] = since
                break
            since = day
    return days


def _text(kind: str, figure: Decimal) -> str:
    """Return a figure as the book reads it; a price by the minute that comes cut off is put right."""
    if kind == "unit.audio_seconds":
        for seconds in (1, 60, 3600):
            price = round(figure * seconds, 6)
            if abs(price - figure * seconds) < Decimal("1e-9") * seconds:
                return f"{price.normalize():f}/{seconds}" if seconds > 1 else f"{price.normalize():f}"
    return f"{figure.normalize():f}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", nargs="+", metavar="DAY=WHEEL", help="newest first does not matter: sorted by day")
    parser.add_argument("--target", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    dated = sorted((wheel.split("=", 1) for wheel in options.wheels), reverse=True)
    books = [(day, read_book(Path(wheel))) for day, wheel in dated]
    newest_day, newest = books[0]
    groups: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (provider, model), (figures, own) in sorted(newest.items()):
        older = [(day, book[provider, model][0]) for day, book in books[1:] if (provider, model) in book]
        body: list[object] = [
            {kind: _text(kind, figure) for kind, figure in sorted(figures.items())},
            begins(figures, older, newest_day),
            own,
        ]
        groups[provider][json.dumps(body)].append(model)
    version = Path(dated[0][1]).name.split("-")[1]
    lines = [
        f' "source": "litellm {version}",',
        f' "day": "{newest_day}",',
        ' "licence": "MIT, Copyright (c) 2023 Berri AI",',
        ' "models": {',
    ]
    for provider, bodies in sorted(groups.items()):
        lines.append(f'  "{provider}": [')
        entries = [f"   [{json.dumps(models)}, {body[1:]}" for body, models in bodies.items()]
        lines += [f"{entry}," for entry in entries[:-1]] + [entries[-1], "  ],"]
    lines[-1] = "  ]"
    options.target.write_text("\n".join(["{", *lines, " }", "}", ""]), encoding="utf-8")
    print(f"{sum(len(models) for bodies in groups.values() for models in bodies.values())} models", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
