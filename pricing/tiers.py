"""Tiers by rule: a service tier that costs a fixed share of the standard price, for many models at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from pricing.errors import PriceBookError
from pricing.rows import PriceRow, parse_amount, parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

_KEYS: Final = frozenset(
    {"provider", "models", "service_tier", "factor", "keeps", "valid_from", "source_url", "checked", "note"}
)


@dataclass(frozen=True, slots=True)
class TierRule:
    """A service tier as a factor on the standard price, where no row prices the tier itself.

    Attributes:
        provider: Provider that sells at it.
        models: Patterns of names ("claude-*"), lower case.
        service_tier: Tier it prices.
        factor: Factor on every figure of tokens.
        keeps: Figures that stay as they are.
        valid_from: First instant (aware), None for as long as the standard price.
        source_url: Where it stands.
    """

    provider: str
    models: tuple[str, ...]
    service_tier: str
    factor: Decimal
    keeps: frozenset[str]
    valid_from: datetime | None
    source_url: str

    def covers(self, provider: str, names: Iterable[str], service_tier: str) -> bool:
        """Whether it prices one of these names of a provider on a tier."""
        return (
            provider == self.provider
            and service_tier == self.service_tier
            and any(fnmatchcase(name, pattern) for name in names for pattern in self.models)
        )

    def apply(self, row: PriceRow) -> PriceRow:
        """Return the row of the tier that follows from a row of the standard tier."""
        kept = [{name: figure for name, figure in band.priced().items() if name in self.keeps} for band in row.bands]
        starts = [start for start in (row.valid_from, self.valid_from) if start is not None]
        return replace(
            row,
            layer="treering" if row.layer != "customer" else row.layer,
            bands=tuple(
                band.scaled(self.factor).with_figures(figures) for band, figures in zip(row.bands, kept, strict=True)
            ),
            service_tier=self.service_tier,
            valid_from=max(starts) if starts else None,
            source_url=self.source_url,
            note=f"{self.factor} of the standard price: {row.price_id}",
        )


def tier_rows(
    rules: Sequence[TierRule],
    provider: str,
    names: Sequence[str],
    tier: str,
    standard: Iterable[PriceRow],
    until: datetime | None = None,
) -> list[PriceRow]:
    """Return what the first rule that covers a model makes of its standard rows, nothing without a rule.

    Rows of the customer are what the customer pays, so that no rule follows from them.

    Args:
        rules: Every rule, the first that covers the model counts.
        provider: Provider that sells it.
        names: Names of the model.
        tier: Tier to price.
        standard: Rows of the standard tier.
        until: First instant (aware) that rows of the tier itself price; None where there are none.
    """
    rule = next((rule for rule in rules if rule.covers(provider, names, tier)), None)
    if rule is None:
        return []
    rows = [rule.apply(row) for row in standard if row.layer != "customer" and row.provider == provider]
    if until is not None:
        rows = [row if row.valid_to and row.valid_to < until else replace(row, valid_to=until) for row in rows]
    return [row for row in rows if row.valid_to is None or row.valid_from is None or row.valid_from < row.valid_to]


def parse_tier_rule(entry: Mapping[str, object]) -> TierRule:
    """Read a rule from a table of `overlay.toml`.

    Raises:
        PriceBookError: A key is missing, unknown or wrong; the message names the rule.
    """
    name = f"tier {entry.get('provider')}/{entry.get('service_tier')}"
    unknown = set(entry) - _KEYS
    if unknown:
        raise PriceBookError(f"{name}: unknown keys {sorted(unknown)}")
    texts = [entry.get(key) for key in ("provider", "service_tier", "source_url")]
    provider, tier, source_url = (text if isinstance(text, str) else "" for text in texts)
    models, keeps = entry.get("models", ["*"]), entry.get("keeps", [])
    if not (provider and tier and source_url):
        raise PriceBookError(f"{name}: provider, service_tier and source_url must be texts")
    if not isinstance(models, list) or not models or not isinstance(keeps, list):
        raise PriceBookError(f"{name}: models and keeps must be lists")
    return TierRule(
        provider,
        tuple(str(model).lower() for model in models),
        tier,
        parse_amount(entry.get("factor"), f"{name}: factor"),
        frozenset(map(str, keeps)),
        parse_instant(entry, "valid_from", name),
        source_url,
    )
