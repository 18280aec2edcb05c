"""Fills: what rows leave open and one rule answers for many models, as fees of tools and lifetimes of cache writes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from pricing.errors import PriceBookError
from pricing.rates import EXACT, TOKEN_FIGURES, Rates, UnitPrice
from pricing.rows import parse_day, parse_instant, parse_rates, parse_units

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date, datetime
    from decimal import Decimal

EVERY: Final = "*"
_KEYS: Final = frozenset(
    {
        *("provider", "models", "service_tiers", "valid_from", "valid_to", "rates", "times_input", "times_output"),
        *("units", "is_measured", "source_url", "checked", "note"),
    }
)


@dataclass(frozen=True, slots=True)
class Fill:
    """Figures for every row of some models that has none of its own.

    Attributes:
        provider: Provider whose rows are filled; "*" for every one.
        models: Patterns of names ("claude-*"), lower case.
        service_tiers: Tiers that are filled; empty for all.
        valid_from: First instant (aware), None for always.
        valid_to: First instant after (aware), None for open.
        rates: Figures in US dollars per million tokens.
        times_input: Factors on the row's own input price, band by band, for figures of input.
        times_output: Factors on the row's own output price, band by band, for figures of output.
        units: Prices of units.
        is_measured: Whether a request always uses something that is counted.
        source_url: Where the figures stand.
        checked: Day on which somebody read them there.
    """

    provider: str
    models: tuple[str, ...]
    service_tiers: frozenset[str]
    valid_from: datetime | None
    valid_to: datetime | None
    rates: Mapping[str, Decimal]
    times_input: Mapping[str, Decimal]
    times_output: Mapping[str, Decimal]
    units: Mapping[str, UnitPrice]
    is_measured: bool
    source_url: str | None
    checked: date | None

    def covers(self, providers: Iterable[str], names: Iterable[str], service_tier: str) -> bool:
        """Whether it fills rows of one of these providers that price one of these names on a tier."""
        return (
            (self.provider == EVERY or self.provider in providers)
            and (not self.service_tiers or service_tier in self.service_tiers)
            and any(fnmatchcase(name, pattern) for pattern in self.models for name in names)
        )

    def applies_on(self, instant: datetime) -> bool:
        """Whether the instant lies in [valid_from, valid_to)."""
        begun = self.valid_from is None or self.valid_from <= instant
        return begun and (self.valid_to is None or instant < self.valid_to)

    def fill(self, band: Rates) -> Rates:
        """Return the band with what it lacks and this has."""
        own = band.priced()
        figures = dict(self.rates)
        for base, factors in ((band.input, self.times_input), (band.output, self.times_output)):
            if base is not None:
                figures |= {name: EXACT.multiply(base, factor) for name, factor in factors.items()}
        missing = {name: figure for name, figure in figures.items() if name not in own}
        return replace(
            band.with_figures(missing),
            units={**self.units, **band.units} if self.units else band.units,
            is_measured=band.is_measured or self.is_measured,
        )


def filled(bands: tuple[Rates, ...], fills: Iterable[Fill]) -> tuple[Rates, ...]:
    """Return bands with what they lack; of two fills that have the same figure, the first counts."""
    for fill in fills:
        bands = tuple(fill.fill(band) for band in bands)
    return bands


def parse_fill(entry: Mapping[str, object]) -> Fill:
    """Read a fill from a table of `overlay.toml`.

    Args:
        entry: `provider` (a name or "*"), `models` (list of patterns, default all), `service_tiers` (list, default
            all), `valid_from`, `valid_to`, and one or more of `rates`, `times_input`, `times_output` (by name of the
            figure), `units` (see `parse_units`), `is_measured`; `source_url`, `checked`, `note`.

    Raises:
        PriceBookError: A key is missing, unknown or wrong; the message names the fill.
    """
    name = f"fill {entry.get('provider')}/{entry.get('models', EVERY)}"
    unknown = set(entry) - _KEYS
    if unknown:
        raise PriceBookError(f"{name}: unknown keys {sorted(unknown)}")
    provider = entry.get("provider")
    if not isinstance(provider, str) or not provider:
        raise PriceBookError(f"{name}: provider must be a name")
    source_url = entry.get("source_url")
    fill = Fill(
        provider.lower(),
        tuple(pattern.lower() for pattern in _texts(entry, "models", name)) or (EVERY,),
        frozenset(_texts(entry, "service_tiers", name)),
        parse_instant(entry, "valid_from", name),
        parse_instant(entry, "valid_to", name),
        _figures(entry, "rates", name),
        _figures(entry, "times_input", name),
        _figures(entry, "times_output", name),
        parse_units(entry["units"], name) if "units" in entry else {},
        entry.get("is_measured") is True,
        source_url if isinstance(source_url, str) else None,
        parse_day(entry, "checked", name),
    )
    if not (fill.rates or fill.times_input or fill.times_output or fill.units or fill.is_measured):
        raise PriceBookError(f"{name}: it fills nothing")
    return fill


def _figures(entry: Mapping[str, object], key: str, name: str) -> dict[str, Decimal]:
    figures = parse_rates(entry.get(key), f"{name}: {key}", may_be_empty=True)
    if not figures.keys() <= TOKEN_FIGURES:
        raise PriceBookError(f"{name}: {key} takes figures per million tokens alone")
    return figures


def _texts(entry: Mapping[str, object], key: str, name: str) -> list[str]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise PriceBookError(f"{name}: {key} must be a list of texts")
    return value
