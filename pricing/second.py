"""The second catalogue: litellm's table of one day, which fills what genai-prices leaves open.

genai-prices stays the base. The table adds models, service tiers, bands and single figures that the base lacks. Where
both price a model and the base knows it by its very name, the base wins; where the base only matched how a name begins,
or took the maker's price for a cloud that has its own, the table's exact name wins for the providers listed here. What
was decided where they differ stands in docs/prices/decisions.toml.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from pricing.rates import Rates, measures
from pricing.rows import DEFAULT_TIER, PriceRow, make_rates, parse_amount, parse_units

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pricing.rates import UnitPrice

_TIERS: Final = frozenset({"batch", "flex", "priority"})
_LONG: Final = "long"
_UNIT: Final = "unit"
_THOUSAND: Final = 1000
# Vertex has a table of its own there; genai-prices counts it as Google.
_OWN_TABLES: Final = {"vertex_ai": "vertex_ai", "gcp.vertex_ai": "vertex_ai", "google-vertex": "vertex_ai"}
# On Bedrock OpenAI's newer models cost more inside a region than by their name in the table.
_BASE_WINS: Final = {"aws": ("openai.gpt-5", "openai.gpt-6")}
_TABLE_WINS: Final = frozenset({"aws", "mistral"})
_TABLE_WINS_IF_OWN: Final = frozenset({"azure", "fireworks"})
# A geography that costs a fixed part more, for names that the table has without it: AWS GovCloud, 20 %.
_GEOGRAPHIES: Final = {"aws": ("us-gov.", Decimal("1.2"))}
# Names whose price in the base is that of another model, or of a model that the name no longer leads to.
_ALWAYS_WINS: Final = {
    "vertex_ai": ("gemini-2.0-flash", "gemini-2.0-flash-001", "gemini-3.8-flash-cyber"),
    "x-ai": ("grok-code-fast", "grok-code-fast-1", "grok-code-fast-1-0825"),
}
_PATHS: Final = ("accounts/fireworks/models/", "accounts/fireworks/routers/")


@dataclass(frozen=True)
class SecondEntry:
    """One model of the table.

    Attributes:
        provider: Provider id.
        model: Its name there, lower case.
        is_own: Whether the table cites the provider's own pages.
        figures: US dollars by tier, band and name ("batch.long200.input"), as text.
        since: First day of a tier's price, where another one was seen before.
        source: The table and its release.
        factor: Factor on every figure of tokens.
    """

    provider: str
    model: str
    is_own: bool
    figures: Mapping[str, str]
    since: Mapping[str, str]
    source: str
    factor: Decimal = Decimal(1)

    def wins(self, *, is_exact: bool) -> bool:
        """Whether its price goes before the base's.

        Args:
            is_exact: Whether the base knows the very name at that provider, instead of matching how it begins, or
                taking another seller's price.
        """
        if self.model in _ALWAYS_WINS.get(self.provider, ()):
            return True
        if is_exact or self.model.startswith(_BASE_WINS.get(self.provider, "\0")):
            return False
        return self.provider in _TABLE_WINS or (self.provider in _TABLE_WINS_IF_OWN and self.is_own)

    def row(self, service_tier: str) -> PriceRow | None:
        """Return the price on a tier, None where the table has none."""
        return self._rows.get(service_tier)

    @cached_property
    def _rows(self) -> dict[str, PriceRow]:
        by_tier: dict[str, dict[int, dict[str, Decimal]]] = {}
        units: dict[str, str] = {}
        for kind, text in self.figures.items():
            *front, name = kind.split(".")
            if front == [_UNIT]:
                units[name] = text
                continue
            tier = front.pop(0) if front and front[0] in _TIERS else DEFAULT_TIER
            above = int(front[0].removeprefix(_LONG)) * _THOUSAND if front else 0
            by_tier.setdefault(tier, {}).setdefault(above, {})[name] = parse_amount(text, kind) * self.factor
        if units:
            by_tier.setdefault(DEFAULT_TIER, {}).setdefault(0, {})
        prices = parse_units(units, self.model)
        return {tier: self._row(tier, bands, prices) for tier, bands in by_tier.items() if 0 in bands}

    def _row(self, tier: str, bands: Mapping[int, Mapping[str, Decimal]], units: Mapping[str, UnitPrice]) -> PriceRow:
        base = bands[0]
        begins = self.since.get(tier)
        is_measured = not base and any(map(measures, units))
        return PriceRow(
            "litellm",
            self.provider,
            (self.model,),
            tuple(
                make_rates(above, {**base, **figures}, units, is_measured=is_measured)
                for above, figures in sorted(bands.items())
            ),
            tier,
            valid_from=None if begins is None else datetime.fromisoformat(begins).replace(tzinfo=UTC),
            audio_priced_apart=any(name.startswith("audio_") for name in base),
            note=f"from the table of {self.source}",
        )


class SecondCatalogue:
    """The table's models by provider and name; `day` is the day of its figures."""

    def __init__(self, document: Mapping[str, object]) -> None:
        source, day, models = (document[key] for key in ("source", "day", "models"))
        assert isinstance(models, dict)
        self._source = f"{source} of {day}"
        self.day = datetime.fromisoformat(str(day)).replace(tzinfo=UTC)
        self._places: dict[tuple[str, str], list[object]] = {
            (provider, name): entry for provider, entries in models.items() for entry in entries for name in entry[0]
        }

    @staticmethod
    @cache
    def default() -> SecondCatalogue:
        """Return the table that comes with this release; read once per process."""
        return SecondCatalogue(json.loads(files("pricing").joinpath("litellm.json").read_text(encoding="utf-8")))

    def names(self) -> list[tuple[str, str]]:
        """Return every (provider, model) of the table."""
        return list(self._places)

    def find(self, asked: str, provider: str, model: str) -> SecondEntry | None:
        """Return the entry of exactly this name.

        Args:
            asked: Provider as the caller named it, lower case.
            provider: The base's id for it.
            model: Model, lower case.
        """
        owner = _OWN_TABLES.get(asked, provider)
        entry, factor = self._places.get((owner, model)), Decimal(1)
        if entry is None:
            geography, more = _GEOGRAPHIES.get(owner, ("\0", factor))
            if model.startswith(geography):
                entry, factor = self._places.get((owner, model.removeprefix(geography))), more
        if entry is None:
            return None
        _, figures, since, is_own = entry
        assert isinstance(figures, dict)
        assert isinstance(since, dict)
        return SecondEntry(owner, model, is_own is True, figures, since, self._source, factor)


def completed(rows: Sequence[PriceRow], entry: SecondEntry | None, tier: str, *, is_exact: bool) -> list[PriceRow]:
    """Return the base's rows of a model on a tier, with what the table has and they lack.

    Args:
        rows: The base's rows; empty where it has none for the tier.
        entry: The table's entry of the very name that was asked for.
        tier: Service tier.
        is_exact: Whether the base knows that name at that provider, instead of matching its beginning.
    """
    theirs = None if entry is None else entry.row(tier)
    if entry is None or theirs is None:
        return list(rows)
    if not rows or entry.wins(is_exact=is_exact):
        return [*rows, theirs]
    return [_filled(row, theirs) for row in rows]


def _filled(row: PriceRow, theirs: PriceRow) -> PriceRow:
    base, other = row.bands[0], theirs.bands[0]
    if row.daily is not None or not _agree(base, other):
        return row
    ours = {band.above_tokens: band for band in row.bands}
    bands = tuple(_bands(ours, {band.above_tokens: band for band in theirs.bands}))
    if theirs.provider != row.provider and theirs.provider not in _OWN_TABLES:
        # Another seller's figures for tokens, but its own tools.
        bands = tuple(replace(band, units={**band.units, **other.units}) for band in bands)
    if bands == row.bands:
        return row
    return replace(
        row,
        bands=bands,
        audio_priced_apart=row.audio_priced_apart or theirs.audio_priced_apart,
        note=f"gaps filled {theirs.note}",
    )


def _agree(base: Rates, other: Rates) -> bool:
    pairs = [(base.input, other.input), (base.output, other.output)]
    return any(ours is not None and ours == figure for ours, figure in pairs) and all(
        None in (ours, figure) or ours == figure for ours, figure in pairs
    )


def _bands(ours: Mapping[int, Rates], theirs: Mapping[int, Rates]) -> Iterator[Rates]:
    base = ours[0]
    alone = len(ours) == 1
    for above in sorted({*ours, *(theirs if alone else ())}):
        other = theirs.get(above)
        band = ours.get(above)
        if band is None and other is not None:
            # A higher band of theirs on the figures of ours: what it does not name is as in the first band.
            figures = {
                name: figure for name, figure in other.priced().items() if figure != theirs[0].priced().get(name)
            }
            yield replace(base.with_figures(figures), above_tokens=above)
        elif band is not None and other is not None:
            missing = {name: figure for name, figure in other.priced().items() if name not in band.priced()}
            yield replace(band.with_figures(missing), units={**other.units, **band.units})
        elif band is not None:
            yield band


def same_name(found: str, asked: str) -> bool:
    """Whether the base's id is the very name that was asked for, its provider's path apart."""
    for path in _PATHS:
        asked = asked.removeprefix(path)
    return found.lower() == asked
