"""The prices in the database, and the calls that are priced again."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time

from pydantic import JsonValue  # noqa: TC002

from ingest.documents.document import Document


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
