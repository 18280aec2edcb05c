"""A provider's bill beside what was recorded. None is unknown; a drift above zero means that the bill has more."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003
from typing import Annotated, Literal

from pydantic import BeforeValidator

from ingest.documents.document import Document

DayState = Literal["compared", "open", "no_bill", "other_currency"]


class BillSpan(Document):
    """Bill and record of one span; US dollars."""

    billed_cost: Decimal | None = None
    recorded_cost: Decimal | None = None
    drift: Decimal | None = None
    drift_fraction: Decimal | None = None
    billed_requests: int | None = None
    recorded_requests: int | None = None


class BillTotals(BillSpan):
    """The days that have a bill, together.

    Attributes:
        days: Days that are compared.
        open_days: Days whose bill the provider has not settled.
        days_without_bill: All days that are not compared, open ones among them.
        other_currency_lines: Lines in other currencies than US dollars; they are not compared.
        fetched_at: When the bill was last read.
    """

    days: int = 0
    open_days: int = 0
    days_without_bill: int = 0
    other_currency_lines: int = 0
    fetched_at: datetime | None = None


class CauseDetail(Document):
    """What a cause is about (a model, a project, a line of the bill) and its share of the amount, in US dollars."""

    name: str
    amount: Decimal


class DriftCause(Document):
    """A cause and its part of the drift in US dollars; the amounts of all causes add up to the drift exactly."""

    cause: str
    requests: int | None = None
    amount: Decimal | None = None
    details: Annotated[tuple[CauseDetail, ...], BeforeValidator(lambda value: value or ())] = ()


class DriftHint(Document):
    """What may stand behind a cause, without an amount of its own."""

    hint: str
    requests: int


class DriftItem(Document):
    """A part of the drift by UTC day, model and item; an empty item is all of the model, an empty model none."""

    day: date
    model: str
    item: str
    cause: str
    amount: Decimal
    name: str | None = None
    billed_cost: Decimal | None = None
    billed_tokens: Decimal | None = None
    recorded_tokens: Decimal | None = None


class BillRevision(Document):
    """A day whose bill changed after it had been read; `amount` is the change in US dollars."""

    day: date
    source: str
    old_cost: Decimal
    new_cost: Decimal
    amount: Decimal
    revised_at: datetime


class BillDay(BillSpan):
    """One UTC day."""

    day: date
    state: DayState = "compared"
    source: str | None = None
    causes: tuple[DriftCause, ...] = ()


class Reconciliation(Document):
    """Document of `get_reconciliation`."""

    provider: str
    from_day: date
    to_day: date
    totals: BillTotals = BillTotals()
    days: tuple[BillDay, ...] = ()
    explanations: tuple[DriftCause, ...] = ()
    items: tuple[DriftItem, ...] = ()
    hints: tuple[DriftHint, ...] = ()
    revisions: tuple[BillRevision, ...] = ()

    def is_over(self, threshold: Decimal) -> bool:
        """Whether bill and record differ by more than this fraction of the bill."""
        fraction = self.totals.drift_fraction
        return fraction is not None and abs(fraction) > threshold
