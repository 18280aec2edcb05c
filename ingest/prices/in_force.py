"""The price book in force: the catalogue, our own rows and the customer's, kept fresh from the database."""

from __future__ import annotations

import hashlib
import json
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from ingest.database import fetch
from ingest.documents.prices import StoredCatalogue, StoredPrices
from ingest.errors import DatabaseUnavailableError, UnexpectedResponseError
from ingest.notices import Notices
from pricing import PriceBook, PriceBookError, parse_customer_prices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

    from ingest.database import Database
    from ingest.documents.prices import CatalogueVersion
    from pricing.catalogue import Catalogue

# A price entered now counts within this time in every process; what was charged before is corrected by a reprice.
REFRESH_INTERVAL_S = 300.0
RETRY_INTERVAL_S = 30.0


def read_price_book(
    database: Database,
    *,
    deployments: Mapping[str, str] | None = None,
    providers: Mapping[str, str] | None = None,
    region: str | None = None,
) -> PriceBook:
    """Read the prices in force once: the catalogue, fetched or of this release, our own rows and the customer's.

    Args:
        database: Opened as an analyst, ops, or the service.
        deployments: See `Settings`.
        providers: See `Settings`.
        region: See `Settings`.

    Raises:
        DatabaseError: They cannot be read.
    """
    prices = Prices(Notices(), deployments=deployments, providers=providers, region=region)
    prices.refresh(database)
    return prices.book


def read_catalogue(database: Database) -> Catalogue:
    """Read the catalogue that the worker fetched last.

    Args:
        database: Opened as an analyst, ops, or the service.

    Raises:
        PriceBookError: It cannot be read.
        DatabaseError: The database does not give it.
    """
    from pricing.catalogue import Catalogue

    return Catalogue.from_json(fetch(database, StoredCatalogue, "get_price_catalogue").content)


class Prices:
    """Keeps a price book with the customer's rows.

    Refreshed in the background (flusher thread, commands), never on the request path.

    Args:
        notices: Where trouble is reported.
        deployments: See `Settings`.
        providers: See `Settings`.
        region: See `Settings`.
        catalogues: Returns the fetched catalogue of a SHA-256 digest; default: reads it from the database.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        notices: Notices,
        *,
        deployments: Mapping[str, str] | None = None,
        providers: Mapping[str, str] | None = None,
        region: str | None = None,
        catalogues: Callable[[Database, str], Catalogue] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notices = notices
        self._deployments = dict(deployments or {})
        self._providers = dict(providers or {})
        self._region = region
        self._catalogues = catalogues or (lambda database, _: read_catalogue(database))
        self._clock = clock
        self._base: PriceBook | None = None
        self._book: PriceBook | None = None
        self._entries: Sequence[Mapping[str, JsonValue]] = ()
        self._catalogue: CatalogueVersion | None = None
        self._due_at = float("-inf")
        self._is_known = False

    @property
    def book(self) -> PriceBook:
        """The book with the rows read last; before the first reading the one without customer rows."""
        if self._book is None:
            self._book = self._plain_book()
        return self._book

    @property
    def entries(self) -> Sequence[Mapping[str, JsonValue]]:
        """The customer's rows as stored, wrong and superseded ones too."""
        return self._entries

    @property
    def catalogue(self) -> CatalogueVersion | None:
        """The fetched catalogue that is in force; None for the one of this release."""
        return self._catalogue

    def fingerprint(self, fallback_model: str | None) -> str:
        """Return a digest of all that a cost depends on besides the call: the same digest gives the same costs."""
        sha256 = None if self._catalogue is None else self._catalogue.sha256
        sources = [
            *(version("treering"), version("genai-prices"), sha256, self._region, fallback_model),
            *(sorted(self._deployments.items()), sorted(self._providers.items()), self._entries),
        ]
        return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()

    def refresh_if_due(self, database: Database) -> None:
        """Read the rows again when the last reading is old; a failure keeps what is known.

        Raises:
            DatabaseUnavailableError: No reading has ever succeeded: without the customer's rows nothing should be
                priced that can wait.
        """
        if self._clock() < self._due_at:
            return
        try:
            self.refresh(database)
        except DatabaseUnavailableError:
            if not self._is_known:
                raise
            self._due_at = self._clock() + RETRY_INTERVAL_S
        except Exception as error:  # noqa: BLE001 -- an older database or a missing right must not stop the events
            self._notices.warn("prices", f"the customer's prices cannot be read, so only the others apply: {error}")
            self._due_at = self._clock() + RETRY_INTERVAL_S

    def refresh(self, database: Database) -> None:
        """Read the customer's rows and, where it has changed, the catalogue.

        Raises:
            DatabaseError: They cannot be read.
        """
        stored = fetch(database, StoredPrices, "get_prices")
        self._due_at = self._clock() + REFRESH_INTERVAL_S
        self._is_known = True
        if self._take_catalogue(database, stored.catalogue) or stored.prices != self._entries or not self._book:
            rows, faults = parse_customer_prices(stored.prices)
            for fault in faults:
                self._notices.warn(f"price row {fault}", f"a price is ignored: {fault}")
            self._book = self._plain_book().with_rows(rows)
            self._entries = stored.prices

    def _plain_book(self) -> PriceBook:
        if self._base is None:
            self._base = (
                PriceBook(deployments=self._deployments, providers=self._providers, region=self._region)
                if self._deployments or self._providers or self._region
                else PriceBook.default()
            )
        return self._base

    def _take_catalogue(self, database: Database, described: CatalogueVersion | None) -> bool:
        """Take over a catalogue that the worker fetched; True when the base layer changed."""
        if described is None or (self._catalogue is not None and described.sha256 == self._catalogue.sha256):
            return False
        # A release of genai-prices newer than the one that fetched it brings a newer catalogue with it.
        if _numbers(described.reader_version) < _numbers(version("genai-prices")):
            return False
        try:
            catalogue = self._catalogues(database, described.sha256)
        except (PriceBookError, UnexpectedResponseError) as error:
            self._notices.warn("catalogue", f"the fetched price catalogue is not used: {error}")
            return False
        self._base = self._plain_book().with_catalogue(catalogue)
        self._catalogue = described
        return True


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
