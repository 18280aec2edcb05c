"""Compares what a provider billed with what was recorded."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, Protocol

from ingest.billing.anthropic_api import ANTHROPIC, AnthropicApi
from ingest.billing.list_prices import with_list_prices
from ingest.billing.organization_api import OrganizationApi
from ingest.billing.provider_lines import OPENAI, store_lines
from ingest.database import JsonValue, fetch, parse
from ingest.documents.billing import Reconciliation
from ingest.errors import ConfigurationError, TreeringError
from ingest.prices.in_force import read_price_book

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ingest.billing.provider_lines import Line
    from ingest.database import Database
    from ingest.settings import Settings

# The worker reads again what it has read: a provider corrects its figures for some days, and an invoice is by month.
DAYS_A_RUN: Final = 31


class BillingApi(Protocol):
    """A provider's API for costs and usage.

    Attributes:
        provider: As calls name it.
    """

    @property
    def provider(self) -> str:
        """As calls name it."""

    def read_costs(self, from_day: date, to_day: date) -> Iterator[Line]:
        """Yield the billed lines of [from_day, to_day), UTC."""

    def read_usage(self, from_day: date, to_day: date) -> Iterator[Line]:
        """Yield what the provider counted in [from_day, to_day), UTC."""

    def close(self) -> None:
        """Close the connections."""


def has_admin_key(settings: Settings) -> bool:
    """Whether any provider's bill can be asked for."""
    return settings.openai_admin_key is not None or settings.anthropic_admin_key is not None


def open_apis(settings: Settings, provider: str | None = None) -> list[BillingApi]:
    """Open the API of each provider that there is an admin key for.

    Args:
        settings: What holds the keys.
        provider: This one alone.

    Raises:
        ConfigurationError: There is no key, or none for that provider.
    """
    apis: list[BillingApi] = []
    if settings.openai_admin_key is not None and provider in (None, OPENAI):
        apis.append(
            OrganizationApi(
                settings.openai_admin_key.get_secret_value(),
                url=settings.openai_admin_url,
                projects=[name.strip() for name in (settings.openai_projects or "").split(",") if name.strip()],
            )
        )
    if settings.anthropic_admin_key is not None and provider in (None, ANTHROPIC):
        apis.append(AnthropicApi(settings.anthropic_admin_key.get_secret_value(), url=settings.anthropic_admin_url))
    if apis:
        return apis
    if provider is None:
        raise ConfigurationError(
            "OPENAI_ADMIN_KEY, ANTHROPIC_ADMIN_KEY: one must be set to read a bill; or compare with a file by --import "
            "or --import-focus"
        )
    if provider in (OPENAI, ANTHROPIC):
        raise ConfigurationError(f"{provider.upper()}_ADMIN_KEY: must be set to read the bill of {provider}")
    raise ConfigurationError(f"the bill of {provider} cannot be asked for: import its FOCUS export by --import-focus")


def fetch_costs(database: Database, api: BillingApi, from_day: date, to_day: date) -> int:
    """Read costs and usage of [from_day, to_day) and store them; returns how many lines there are."""
    return store_bill(database, [*api.read_costs(from_day, to_day), *api.read_usage(from_day, to_day)])


def fetch_all_costs(database: Database, apis: Sequence[BillingApi], from_day: date, to_day: date) -> None:
    """Read and store the bills of several providers, closing their connections.

    Raises:
        TreeringError: One of them could not be read; the others are stored all the same.
    """
    failure: TreeringError | None = None
    for api in apis:
        with contextlib.closing(api):
            try:
                fetch_costs(database, api, from_day, to_day)
            except TreeringError as error:
                failure = failure or error
    if failure is not None:
        raise failure


def store_bill(database: Database, lines: Iterable[Line]) -> int:
    """Store lines of a bill with their list prices; returns how many lines there are."""
    return store_lines(database, with_list_prices(lines, read_price_book(database)))


def read_reconciliation(
    database: Database, from_day: date, to_day: date, *, provider: str = OPENAI
) -> tuple[Reconciliation, dict[str, JsonValue]]:
    """Read the comparison of [from_day, to_day), UTC, parsed and as the database returned it."""
    document = fetch(
        database,
        dict[str, JsonValue],
        "get_reconciliation",
        from_time=_midnight(from_day),
        to_time=_midnight(to_day),
        filters={"provider": provider},
    )
    return parse(Reconciliation, document, "get_reconciliation"), document


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
