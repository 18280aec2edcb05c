"""Our own layer: rows and rules of `overlay.toml`, each with its source and the day it was read."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from pricing.fills import Fill, parse_fill
from pricing.rows import PriceRow, parse_price_row
from pricing.tiers import TierRule, parse_tier_rule
from pricing.uplift import Uplift, parse_uplift


class Overlay(NamedTuple):
    """What `overlay.toml` says.

    Attributes:
        rows: Prices of models by name.
        patterns: Prices of models by pattern ("gemma-*"), for names that no other row prices.
        uplifts: What a region adds to a model's prices.
        fills: Figures for rows that lack them.
        tiers: Service tiers as shares of the standard price.
    """

    rows: tuple[PriceRow, ...]
    patterns: tuple[PriceRow, ...]
    uplifts: tuple[Uplift, ...]
    fills: tuple[Fill, ...]
    tiers: tuple[TierRule, ...]


def read_document() -> dict[str, list[dict[str, Any]]]:
    """Return the entries as they stand in `overlay.toml`, by kind, with `evidence`: what was read of their figures."""
    return tomllib.loads(files("pricing").joinpath("overlay.toml").read_text(encoding="utf-8"))


@cache
def overlay() -> Overlay:
    """Return the overlay of this release; read once per process."""
    document = {kind: [_figures(entry) for entry in entries] for kind, entries in read_document().items()}
    rows = [parse_price_row(entry, layer="treering") for entry in document["price"]]
    return Overlay(
        tuple(row for row in rows if not _is_pattern(row)),
        tuple(row for row in rows if _is_pattern(row)),
        tuple(parse_uplift(entry) for entry in document["uplift"]),
        tuple(parse_fill(entry) for entry in document["fill"]),
        tuple(parse_tier_rule(entry) for entry in document["tier"]),
    )


def known_regions() -> frozenset[str]:
    """Return the regions that a book can be of: those of an uplift, without the places that only a call can name."""
    regions = {name for uplift in overlay().uplifts for name in uplift.regions}
    return frozenset(name for name in regions if not name.startswith("+"))


def _figures(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "evidence"}


def _is_pattern(row: PriceRow) -> bool:
    return any("*" in model for model in row.models)
