"""Compares what a provider billed with what was recorded."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal  # noqa: TC003 -- pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, JsonValue

from ingest.billing.organization_api import OrganizationApi
from ingest.billing.provider_lines import store_lines
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from ingest.settings import Settings

# The worker reads again what it has read: a provider corrects its figures for some days, and an invoice is by month.
DAYS_A_RUN: Final = 31


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class Figures(_Document):
    """Bill and record of one span. None is unknown; a positive drift means that the bill is higher."""

    billed_cost: Decimal | None = None
    recorded_cost: Decimal | None = None
    drift: Decimal | None = None
    drift_fraction: Decimal | None = None
    billed_requests: int | None = None
    recorded_requests: int | None = None


class Totals(Figures):
    """The days that have a bill, together."""

    days: int
    days_without_bill: int
    other_currency_lines: int


class Day(Figures):
    """One UTC day."""

    day: date
    source: str | None


class Explanation(_Document):
    """A possible cause of a part of the drift; `amount` is that part in US dollars, where known."""

    cause: str
    requests: int | None
    amount: Decimal | None
    details: JsonValue


class Reconciliation(_Document):
    """Document of `get_reconciliation`."""

    provider: str
    from_day: date
    to_day: date
    totals: Totals
    days: tuple[Day, ...]
    explanations: tuple[Explanation, ...]

    def is_over(self, threshold: Decimal) -> bool:
        """Whether bill and record differ by more than this fraction of the bill."""
        fraction = self.totals.drift_fraction
        return fraction is not None and abs(fraction) > threshold


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


def read_reconciliation(database: Database, from_day: date, to_day: date) -> tuple[Reconciliation, JsonValue]:
    """Read the comparison of [from_day, to_day), UTC, parsed and as the database returned it."""
    document = database.call("get_reconciliation", from_time=_midnight(from_day), to_time=_midnight(to_day))
    return Reconciliation.model_validate(document), document


def daily_reconciliation(settings: Settings, database: Database) -> Callable[[], bool] | None:
    """The worker's job: read the costs of the last month's whole days; None where there is no admin key."""
    if settings.openai_admin_key is None:
        return None

    def run() -> bool:
        today = datetime.now(UTC).date()
        with contextlib.closing(open_api(settings)) as api:
            fetch_costs(database, api, today - timedelta(days=DAYS_A_RUN), today)
        return False

    return run


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
