"""The sums from which `ingest.savings.drivers` explains why a period was dearer than the one before."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal

from ingest.documents.document import Document


class PeriodSums(Document):
    """What one feature used of one model in one period.

    Attributes:
        requests: Calls.
        errors: Calls that failed.
        uncertain_requests: Calls without a price of their own, whose cost is left out.
        prompt_tokens: Input tokens.
        completion_tokens: Output tokens.
        cached_tokens: Input tokens read from the prompt cache.
        cache_write_tokens: Input tokens written to the prompt cache.
        cost: US dollars.
    """

    requests: int = 0
    errors: int = 0
    uncertain_requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cost: Decimal = Decimal(0)


class DriverCell(Document):
    """One feature's use of one model in both periods; None where there was none."""

    provider: str
    model: str
    feature: str
    now: PeriodSums | None
    before: PeriodSums | None


class DriverCells(Document):
    """Document of `get_cost_drivers`; the period before is as long as the one asked for and ends where it begins."""

    access: str
    from_time: datetime
    to_time: datetime
    previous_from_time: datetime
    timezone: str
    cells: tuple[DriverCell, ...]
