"""Regional uplift: what keeping data in one region adds to a model's prices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from pricing.rates import EXACT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pricing.rows import PriceRow


@dataclass(frozen=True, slots=True)
class Uplift:
    """A factor on every figure of some models of one provider in some regions."""

    provider: str
    models: frozenset[str]
    regions: frozenset[str]
    factor: Decimal


def parse_uplift(entry: Mapping[str, object]) -> Uplift:
    """Read an uplift from a table of `overlay.toml`."""
    provider, models, regions, factor = (entry[key] for key in ("provider", "models", "regions", "factor"))
    assert isinstance(provider, str)
    assert isinstance(models, list)
    assert isinstance(regions, list)
    assert isinstance(factor, str)
    return Uplift(provider, frozenset(models), frozenset(regions), Decimal(factor))


def uplifted(row: PriceRow, uplifts: Sequence[Uplift]) -> PriceRow:
    """Return the row with the uplift that applies to it; a customer's row is what the customer pays and stays."""
    if row.layer == "customer":
        return row
    for uplift in uplifts:
        if row.provider == uplift.provider and not uplift.models.isdisjoint(row.models):
            bands = tuple(band.scaled(uplift.factor) for band in row.bands)
            return replace(row, bands=bands, note=f"regional uplift of {EXACT.create_decimal(uplift.factor)}")
    return row
