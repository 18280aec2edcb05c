"""The running month and the hours of the week, as the app reads them."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003

from ingest.documents.document import Document
from ingest.documents.series import Point  # noqa: TC001
from ingest.documents.settings import Budget


class Calendar(Document):
    """The viewer's day or month so far; None where a filter by metadata is set, `cost` also without a sure price."""

    requests: int | None = None
    total_tokens: int | None = None
    cost: Decimal | None = None
    fallback_cost: Decimal | None = None


class SpentBudget(Budget):
    """A budget and what was spent of it in its running period, in US dollars."""

    spent: Decimal | None = None


class Month(Document):
    """Document of `get_month`: one reading, so that no two figures of the month differ.

    Attributes:
        series: What each local day cost, from half a year before the month on.
        budgets: The enabled ones, whatever the filters; none for a member.
    """

    access: str
    timezone: str
    generated_at: datetime
    today: Calendar = Calendar()
    month: Calendar = Calendar()
    series: tuple[Point, ...] = ()
    budgets: tuple[SpentBudget, ...] = ()


class HourOfWeek(Document):
    """What was called and spent in one hour of a weekday; 1 is Monday."""

    weekday: int
    hour: int
    requests: int = 0
    cost: Decimal | None = None


class Hours(Document):
    """Document of `get_hours`."""

    hours: tuple[HourOfWeek, ...] = ()
