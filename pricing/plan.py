"""Plans: the rows of one name and tier, compiled and cut by time, so that a price is a look-up and a few products."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pricing.fills import filled
from pricing.rates import Band, compile_band
from pricing.rows import LAYERS, PriceRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pricing.fills import Fill
    from pricing.rates import Rates

_FOREVER_AGO: Final = datetime.min.replace(tzinfo=UTC)
_FRIDAY: Final = 4


@dataclass(frozen=True, slots=True)
class CompiledRow:
    """A row with its id, its figures after fills, and the same per token."""

    row: PriceRow
    price_id: str
    rates: tuple[Rates, ...]
    bands: tuple[Band, ...]

    @classmethod
    def of(cls, row: PriceRow, fills: Iterable[Fill] = ()) -> CompiledRow:
        """Compile a row with what fills add to it."""
        rates = filled(row.bands, fills)
        bands = tuple(compile_band(band, audio_priced_apart=row.audio_priced_apart) for band in rates)
        return cls(row, row.price_id, rates, bands)

    def band_index(self, input_tokens: int) -> int:
        """Return which band applies: the last one whose start the input exceeds."""
        index = 0
        for later in range(1, len(self.bands)):
            if input_tokens > self.bands[later].above_tokens:
                index = later
        return index

    def applies_at_hour(self, at: datetime) -> bool:
        """Whether the time of day lies in the row's hours, which may run over midnight."""
        if self.row.daily is None:
            return True
        begin, end = self.row.daily
        moment = at.astimezone(UTC)
        if self.row.weekdays_only and moment.weekday() > _FRIDAY:
            return False
        now = moment.time()
        return begin <= now < end if begin <= end else now >= begin or now < end


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows of one name and tier by time.

    Attributes:
        provider: Provider whose prices apply.
        model: Model as the book names it.
        service_tier: Tier, after aliases.
        steps: How the name led here.
        starts: Instants at which the rows in force change, ascending.
        spans: Rows in force before the first start, then from each start on; the one that wins first.
        always: The row that applies whatever the time, when there is one.
    """

    provider: str
    model: str
    service_tier: str
    steps: tuple[str, ...]
    starts: tuple[datetime, ...]
    spans: tuple[tuple[CompiledRow, ...], ...]
    always: CompiledRow | None

    def in_force(self, at: datetime | None) -> Iterator[CompiledRow]:
        """Yield the rows in force at an instant (None is now), the one that wins first."""
        if at is None:
            at = datetime.now(UTC)
        for compiled in self.spans[bisect_right(self.starts, at)]:
            if compiled.applies_at_hour(at):
                yield compiled


def make_plan(
    provider: str,
    model: str,
    service_tier: str,
    steps: tuple[str, ...],
    rows: Iterable[PriceRow],
    fills: Sequence[Fill] = (),
    *,
    sellers: Sequence[str] = (),
) -> Plan:
    """Sort rows by precedence, fill and compile them and cut time at every start and end.

    Args:
        provider: Provider whose prices apply.
        model: Model as the book names it.
        service_tier: Tier, after aliases.
        steps: How the name led here.
        rows: Rows of any time.
        fills: What adds to them, the first that counts first.
        sellers: Providers whose own rows go before those of a maker whose prices they share, the first one first.
    """
    ranks = {name: rank for rank, name in enumerate(reversed(sellers), 1)}
    in_order = sorted(rows, key=lambda row: _precedence(row, ranks.get(row.provider, 0)), reverse=True)
    starts = tuple(sorted({edge for items in (in_order, fills) for item in items for edge in _edges(item)}))
    spans = tuple(tuple(_compiled(in_order, fills, instant)) for instant in (_FOREVER_AGO, *starts))
    timeless = len(spans) == 1 and spans[0] and spans[0][0].row.daily is None
    return Plan(provider, model, service_tier, steps, starts, spans, spans[0][0] if timeless else None)


def _compiled(rows: Iterable[PriceRow], fills: Sequence[Fill], instant: datetime) -> Iterator[CompiledRow]:
    in_force = [fill for fill in fills if fill.applies_on(instant)]
    for row in rows:
        if row.applies_on(instant):
            yield CompiledRow.of(row, in_force)


def _precedence(row: PriceRow, rank: int) -> tuple[int, int, bool, bool, datetime]:
    """Order rows: layer, seller, a tier named over any tier, hours named over the whole day, the later start."""
    return (
        -LAYERS.index(row.layer),
        rank,
        row.service_tier is not None,
        row.daily is not None,
        row.valid_from or _FOREVER_AGO,
    )


def _edges(item: PriceRow | Fill) -> Sequence[datetime]:
    return [edge for edge in (item.valid_from, item.valid_to) if edge is not None]
