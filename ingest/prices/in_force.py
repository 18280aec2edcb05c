"""The price book in force: the catalogue, our own rows and the customer's, kept fresh from the database."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from ingest.errors import DatabaseUnavailableError
from pricing import PriceBook, PriceBookError, parse_customer_prices

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.database import Database
    from ingest.notices import Notices

# A price entered now counts within this time in every process; what was charged before is corrected by a reprice.
REFRESH_INTERVAL_S = 300.0
RETRY_INTERVAL_S = 30.0


class Prices:
    """Keeps a price book with the customer's rows.

    Refreshed in the background (flusher thread, commands), never on the request path.

    Args:
        notices: Where trouble is reported.
        deployments: See `Settings`.
        region: See `Settings`.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        notices: Notices,
        *,
        deployments: Mapping[str, str] | None = None,
        region: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notices = notices
        self._deployments = dict(deployments or {})
        self._region = region
        self._clock = clock
        self._base: PriceBook | None = None
        self._book: PriceBook | None = None
        self._entries: Sequence[Mapping[str, JsonValue]] = []
        self._catalogue_sha256: str | None = None
        self._due_at = float("-inf")
        self._is_known = False

    @property
    def book(self) -> PriceBook:
        """The book with the rows read last; before the first reading the one without customer rows."""
        if self._book is None:
            self._book = self._plain_book()
        return self._book

    def fingerprint(self, fallback_model: str | None) -> str:
        """Return a digest of all that a cost depends on besides the call: the same digest gives the same costs."""
        sources = [
            *(version("treering"), version("genai-prices"), self._catalogue_sha256, self._region, fallback_model),
            *(sorted(self._deployments.items()), self._entries),
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
        document = database.call("get_prices")
        self._due_at = self._clock() + REFRESH_INTERVAL_S
        self._is_known = True
        if not isinstance(document, Mapping):
            return
        prices = document.get("prices")
        entries = [entry for entry in prices if isinstance(entry, Mapping)] if isinstance(prices, list) else []
        if self._read_catalogue(database, document.get("catalogue")) or entries != self._entries or not self._book:
            rows, faults = parse_customer_prices(entries)
            for fault in faults:
                self._notices.warn(f"price row {fault}", f"a price is ignored: {fault}")
            self._book = self._plain_book().with_rows(rows)
            self._entries = entries

    def _plain_book(self) -> PriceBook:
        if self._base is None:
            self._base = (
                PriceBook(deployments=self._deployments, region=self._region)
                if self._deployments or self._region
                else PriceBook.default()
            )
        return self._base

    def _read_catalogue(self, database: Database, described: JsonValue) -> bool:
        """Take over a catalogue that the worker fetched; True when the base layer changed."""
        if not isinstance(described, Mapping) or described.get("sha256") == self._catalogue_sha256:
            return False
        # A release of genai-prices newer than the one that fetched it brings a newer catalogue with it.
        if _numbers(str(described.get("reader_version"))) < _numbers(version("genai-prices")):
            return False
        from pricing.catalogue import Catalogue

        document = database.call("get_price_catalogue")
        if not isinstance(document, Mapping):
            return False
        try:
            catalogue = Catalogue.from_json(str(document.get("content")))
        except PriceBookError as error:
            self._notices.warn("catalogue", f"the fetched price catalogue is not used: {error}")
            return False
        self._base = self._plain_book().with_catalogue(catalogue)
        self._catalogue_sha256 = str(document.get("sha256"))
        return True


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
