"""A provider's bill beside what was recorded. None is unknown; a drift above zero means that the bill has more."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003

from pydantic import JsonValue  # noqa: TC002

from ingest.documents.document import Document


class BillSpan(Document):
    """Bill and record of one span; US dollars."""

    billed_cost: Decimal | None = None
    recorded_cost: Decimal | None = None
    drift: Decimal | None = None
    drift_fraction: Decimal | None = None
    billed_requests: int | None = None
    recorded_requests: int | None = None


class BillTotals(BillSpan):
    """The days that have a bill, together."""

    days: int = 0
    days_without_bill: int = 0
    other_currency_lines: int = 0
    fetched_at: datetime | None = None


class BillDay(BillSpan):
    """One UTC day."""

    day: date
    source: str | None = None


class DriftCause(Document):
    """What could explain a part of the drift. `amount` is that part in US dollars, None where it cannot be told."""

    cause: str
    requests: int | None = None
    amount: Decimal | None = None
    details: JsonValue = None


class Reconciliation(Document):
    """Document of `get_reconciliation`."""

    provider: str
    from_day: date
    to_day: date
    totals: BillTotals = BillTotals()
    days: tuple[BillDay, ...] = ()
    explanations: tuple[DriftCause, ...] = ()

    def is_over(self, threshold: Decimal) -> bool:
        """Whether bill and record differ by more than this fraction of the bill."""
        fraction = self.totals.drift_fraction
        return fraction is not None and abs(fraction) > threshold
