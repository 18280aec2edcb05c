"""The prices in the database, and the calls that are priced again."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from ingest.documents.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterator


class CatalogueVersion(Document):
    """Which catalogue the worker fetched last; `reader_version` is the release of genai-prices that could read it."""

    sha256: str
    reader_version: str
    fetched_at: datetime | None = None
    source_url: str | None = None


class StoredCatalogue(CatalogueVersion):
    """Document of `get_price_catalogue`; `content` is the catalogue as it was published."""

    content: str


class StoredPrices(Document):
    """Document of `get_prices`. The rows stay as stored: `pricing.parse_customer_prices` leaves out a wrong one."""

    catalogue: CatalogueVersion | None = None
    prices: tuple[dict[str, JsonValue], ...] = ()


class SavedCatalogue(Document):
    """Answer of `save_price_catalogue`."""

    is_new: bool


class Place(Document):
    """Where a page of calls ends."""

    created_at: str
    event_id: str


class RepricePage(Document):
    """Document of `get_rows_to_reprice`: calls with all that their price depends on; `next` is None on the last."""

    rows: tuple[dict[str, JsonValue], ...]
    next: Place | None = None


class RepriceStart(Document):
    """Answer of `start_reprice`; `next` is where a run that was cut off goes on."""

    run_id: int
    is_resumed: bool
    next: Place | None = None


class RepriceStep(Document):
    """Answer of `apply_reprice`; `pending` are the ids of calls that the rollups do not count yet."""

    corrected: int
    conflicts: int
    locked_ms: float
    pending: tuple[str, ...]


class RepriceRun(Document):
    """One of `get_reprice_runs`; the costs are sums of the corrected calls, in US dollars."""

    run_id: int
    is_automatic: bool = False
    finished_at: datetime | None = None
    rows_corrected: int = 0
    old_cost: Decimal = Decimal(0)
    new_cost: Decimal = Decimal(0)


class PriceState(Document):
    """Document of `get_price_state`: what the automatic repricing saw last; `models` are (provider, model)."""

    price_fingerprint: str | None = None
    model_digests: dict[str, str] = Field(default_factory=dict)
    late_batches: int = 0
    repriced_batches: int = 0
    models: tuple[tuple[str, str], ...] = ()


class Arrivals(Document):
    """Document of `get_arrivals`: the calls without a cost of these batches, and all that their price depends on."""

    batch_ids: tuple[int, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[JsonValue, ...], ...]

    def calls(self) -> Iterator[dict[str, JsonValue]]:
        """Yield each call, without what it does not have."""
        for row in self.rows:
            yield {name: value for name, value in zip(self.columns, row, strict=True) if value is not None}


class PricedArrivals(Document):
    """Answer of `price_arrivals`: how many calls got a price; `batches` is 0 where others had done it."""

    priced: int
    batches: int
