"""Plans: the rows of one name and tier, compiled and cut by time, so that a price is a look-up and a few products."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pricing.rates import Band, compile_band
from pricing.rows import LAYERS, PriceRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_FOREVER_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CompiledRow:
    """A row with its id and its figures per token."""

    row: PriceRow
    price_id: str
    bands: tuple[Band, ...]

    @classmethod
    def of(cls, row: PriceRow) -> CompiledRow:
        """Compile a row."""
        bands = tuple(compile_band(rates, audio_priced_apart=row.audio_priced_apart) for rates in row.bands)
        return cls(row, row.price_id, bands)

    def band_index(self, input_tokens: int) -> int:
        """Return which band applies: the last one whose start the input exceeds."""
        index = 0
        for later in range(1, len(self.bands)):
            if input_tokens > self.bands[later].above_tokens:
                index = later
        return index

    def applies_on(self, instant: datetime) -> bool:
        """Whether the instant lies in [valid_from, valid_to)."""
        row = self.row
        begun = row.valid_from is None or row.valid_from <= instant
        return begun and (row.valid_to is None or instant < row.valid_to)

    def applies_at_hour(self, at: datetime) -> bool:
        """Whether the time of day lies in the row's hours, which may run over midnight."""
        if self.row.daily is None:
            return True
        begin, end = self.row.daily
        now = at.astimezone(UTC).time()
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


def make_plan(provider: str, model: str, service_tier: str, steps: tuple[str, ...], rows: Iterable[PriceRow]) -> Plan:
    """Sort rows by precedence, compile them and cut time at every start and end."""
    in_order = [CompiledRow.of(row) for row in sorted(rows, key=_precedence, reverse=True)]
    starts = tuple(sorted({edge for item in in_order for edge in _edges(item.row)}))
    spans = tuple(tuple(item for item in in_order if item.applies_on(instant)) for instant in (_FOREVER_AGO, *starts))
    timeless = len(spans) == 1 and spans[0] and spans[0][0].row.daily is None
    return Plan(provider, model, service_tier, steps, starts, spans, spans[0][0] if timeless else None)


def _precedence(row: PriceRow) -> tuple[int, bool, bool, datetime]:
    """Order rows: the layer, then a tier named over any tier, hours named over the whole day, the later start."""
    return (
        -LAYERS.index(row.layer),
        row.service_tier is not None,
        row.daily is not None,
        row.valid_from or _FOREVER_AGO,
    )


def _edges(row: PriceRow) -> Sequence[datetime]:
    return [edge for edge in (row.valid_from, row.valid_to) if edge is not None]
