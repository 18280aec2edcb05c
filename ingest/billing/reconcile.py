"""Compares what a provider billed with what was recorded."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

from ingest.billing.organization_api import OrganizationApi
from ingest.billing.provider_lines import store_lines
from ingest.database import JsonValue, fetch, parse
from ingest.documents.billing import Reconciliation
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from ingest.database import Database
    from ingest.settings import Settings

# The worker reads again what it has read: a provider corrects its figures for some days, and an invoice is by month.
DAYS_A_RUN: Final = 31


def open_api(settings: Settings) -> OrganizationApi:
    """Open OpenAI's organization API.

    Raises:
        ConfigurationError: There is no admin key.
    """
    if settings.openai_admin_key is None:
        raise ConfigurationError(
            "OPENAI_ADMIN_KEY: must be set to read OpenAI's costs; or compare with an invoice by --import"
        )
    return OrganizationApi(
        settings.openai_admin_key.get_secret_value(),
        url=settings.openai_admin_url,
        projects=[name.strip() for name in (settings.openai_projects or "").split(",") if name.strip()],
    )


def fetch_costs(database: Database, api: OrganizationApi, from_day: date, to_day: date) -> int:
    """Read costs and usage of [from_day, to_day) and store them; returns how many lines there are."""
    return store_lines(database, [*api.read_costs(from_day, to_day), *api.read_usage(from_day, to_day)])


def read_reconciliation(
    database: Database, from_day: date, to_day: date
) -> tuple[Reconciliation, dict[str, JsonValue]]:
    """Read the comparison of [from_day, to_day), UTC, parsed and as the database returned it."""
    document = fetch(
        database,
        dict[str, JsonValue],
        "get_reconciliation",
        from_time=_midnight(from_day),
        to_time=_midnight(to_day),
    )
    return parse(Reconciliation, document, "get_reconciliation"), document


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
