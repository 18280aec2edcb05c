"""Fetches the price catalogue that genai-prices publishes, so that new prices need no release.

`genai_prices.UpdatePrices` fills only the process it runs in. Costs are made in every process of the product, so the
worker fetches what `UpdatePrices` would, from the same address and by the same reader, and keeps it in the database,
where each flusher finds it with the customer's prices.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from ingest.database import fetch
from ingest.documents.prices import SavedCatalogue
from ingest.errors import CatalogueError
from pricing import PriceBook, PricingError, TokenUsage
from pricing.catalogue import Catalogue

if TYPE_CHECKING:
    from ingest.database import Database

# As published it is about 2 MB; the database takes 32 MiB.
_MAX_BYTES: Final = 32 * 1024 * 1024
_TIMEOUT_S: Final = 30.0
# A catalogue that lost this model, or a third of all, is broken and not news.
_MUST_HAVE: Final = "gpt-4o"
_MIN_SHARE: Final = 2 / 3


def default_url() -> str:
    """Return the address that genai-prices itself updates from."""
    from genai_prices.update_prices import DEFAULT_UPDATE_URL

    return DEFAULT_UPDATE_URL


def update_catalogue(database: Database, url: str | None = None) -> bool:
    """Fetch the catalogue, check it and keep it for every process that prices.

    Args:
        database: Opened as service_role.
        url: Where it is published; default: genai-prices' own address.

    Returns:
        Whether it differs from the one kept last.

    Raises:
        CatalogueError: It cannot be fetched or is not fit for use.
        DatabaseError: It cannot be kept.
    """
    address = url or default_url()
    content = _fetch(address)
    _check(content)
    saved = fetch(
        database,
        SavedCatalogue,
        "save_price_catalogue",
        source_url=address,
        reader_version=version("genai-prices"),
        content=content,
    )
    return saved.is_new


def _fetch(url: str) -> str:
    import httpx

    try:
        with httpx.stream("GET", url, timeout=_TIMEOUT_S, follow_redirects=False) as response:
            response.raise_for_status()
            content = bytearray()
            for part in response.iter_bytes():
                content += part
                if len(content) > _MAX_BYTES:
                    raise CatalogueError(f"the catalogue at {url} is longer than {_MAX_BYTES:,} bytes")
        return content.decode()
    except (httpx.HTTPError, UnicodeDecodeError) as error:
        raise CatalogueError(f"the catalogue cannot be fetched from {url}: {error}") from error


def _check(content: str) -> None:
    try:
        catalogue = Catalogue.from_json(content)
        cost = PriceBook(catalogue=catalogue).price(_MUST_HAVE, TokenUsage(1, 1), at=datetime.now(UTC))
    except PricingError as error:
        raise CatalogueError(f"the fetched catalogue is not used: {error}") from error
    found, bundled = len(catalogue.models("openai")), len(Catalogue().models("openai"))
    if not cost.total or found < bundled * _MIN_SHARE:
        raise CatalogueError(f"the fetched catalogue is not used: it has {found} of OpenAI's {bundled} models")
