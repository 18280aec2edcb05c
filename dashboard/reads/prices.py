"""What the app reads of prices, all from the one book in force: Settings, a call's price, the preview."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.reads.connection import change, connected
from dashboard.reads.viewer import Viewer, viewer_key
from ingest.notices import Notices
from ingest.prices.in_force import Prices, read_catalogue
from ingest.prices.reprice import preview
from ingest.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.database import Database, JsonValue
    from ingest.documents.prices import CatalogueVersion
    from ingest.prices.reprice import RepriceScope, RepriceTotals
    from pricing import PriceBook
    from pricing.catalogue import Catalogue

__all__ = ["MAX_ROWS", "PricesInForce", "add_price", "get_book", "get_prices", "preview_reprice"]

MAX_ROWS: Final = 20_000
"""Most calls that one preview reads; takes some seconds."""


BOOK_TTL: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class PricesInForce:
    """The prices by which calls are priced now.

    Attributes:
        book: The catalogue, our own rows and the customer's.
        own: The customer's rows as stored.
        catalogue: The fetched catalogue that the book has; None for the one of this release.
    """

    book: PriceBook
    own: Sequence[Mapping[str, JsonValue]]
    catalogue: CatalogueVersion | None


def get_prices(viewer: Viewer) -> PricesInForce:
    """Read the prices in force, by which the worker and `treering reprice` price too. Analysts and ops."""
    settings = load_settings()
    prices = Prices(
        Notices(),
        deployments=settings.deployments,
        providers=settings.providers,
        region=settings.region,
        catalogues=_read_catalogue,
    )
    with connected(viewer) as database:
        prices.refresh(database)
    return PricesInForce(prices.book, prices.entries, prices.catalogue)


def get_book(viewer: Viewer) -> PriceBook:
    """Return the price book in force, for some minutes from memory. Analysts and ops."""
    return _read_book(viewer)


def add_price(viewer: Viewer, price: Mapping[str, JsonValue]) -> None:
    """Append a price. Ops only."""
    change(viewer, "add_price", price=dict(price))


def preview_reprice(viewer: Viewer, book: PriceBook, scope: RepriceScope) -> RepriceTotals:
    """Tell what pricing calls again would change, of at most `MAX_ROWS` calls. Ops only.

    Args:
        viewer: Who is looking.
        book: Prices in force.
        scope: Which calls.
    """
    with connected(viewer) as database:
        return preview(database, scope, book, load_settings().fallback_model, MAX_ROWS)


@st.cache_resource(ttl=BOOK_TTL, max_entries=20, show_spinner=False, hash_funcs={Viewer: viewer_key})
def _read_book(viewer: Viewer) -> PriceBook:
    return get_prices(viewer).book


@st.cache_resource(max_entries=2, show_spinner=False)
def _read_catalogue(_database: Database, sha256: str) -> Catalogue:
    """Read a catalogue of about 2 MB once for all sessions. Its digest is told to those alone who may read it."""
    del sha256  # the key of the cache
    return read_catalogue(_database)
