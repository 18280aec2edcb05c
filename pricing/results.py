"""What the book answers: a cost, and the reasons for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from pricing.rates import Rates
    from pricing.rows import Layer, PriceRow

NO_PARTS: Final[Mapping[str, Decimal]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request costs.

    Attributes:
        total: Exact US dollars; None when the book knows the model but not what this request used.
        parts: US dollars by part (the names of `TokenParts`, kinds of unit, `request_fee`, `duration`), only those
            used; they add up to `total`.
        price_id: The row that was used, None when no row was in force.
        source: "priced", or "unpriced" when `total` is None.
        unknown: What was used and has no price, by the same names; "row" where no row was in force, "usage" where
            nothing was counted of a model whose requests always use something that is.
        known: The parts that have a price; the same as `parts` unless `total` is None.
    """

    total: Decimal | None
    parts: Mapping[str, Decimal]
    price_id: str | None
    source: Literal["priced", "unpriced"]
    unknown: tuple[str, ...] = field(default=(), compare=False)
    known: Mapping[str, Decimal] = field(default_factory=lambda: NO_PARTS, compare=False)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which row prices a model and why.

    Attributes:
        provider: Provider whose prices apply.
        model: The row's own name for the model.
        service_tier: Tier that was looked up.
        row: The row in force, None when there is none.
        band: Its figures for the input size asked about, US dollars per million tokens.
        steps: How the name and the time led to the row, in order.
        passed_over: Ids of the rows that were in force too, but lost to it.
    """

    provider: str
    model: str
    service_tier: str
    row: PriceRow | None
    band: Rates | None
    steps: tuple[str, ...]
    passed_over: tuple[str, ...] = ()

    @property
    def price_id(self) -> str | None:
        """The id of the row in force."""
        return None if self.row is None else self.row.price_id

    @property
    def layer(self) -> Layer | None:
        """The layer of the row in force."""
        return None if self.row is None else self.row.layer
