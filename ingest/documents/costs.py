"""What a backend or a script asks of the figures: a user's cost by day, a breakdown of a range."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal

from ingest.documents.document import Document


class DayCost(Document):
    """What one day cost a user.

    Attributes:
        day: Day of the time zone asked for.
        cost: US dollars; None when no call of the day has a known price.
        requests: Calls.
        prompt_tokens: Input tokens.
        completion_tokens: Output tokens.
        fallback_cost: US dollars of calls priced as the fallback model, which `cost` leaves out.
        unpriced_requests: Calls without a known price, which `cost` leaves out.
    """

    day: date
    cost: Decimal | None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    fallback_cost: Decimal
    unpriced_requests: int


class DailyCost(Document):
    """A user's or a tenant's cost by day.

    Attributes:
        user_id: Whose; None for all users of the tenant.
        tenant_id: The tenant whose calls count; None where it is not asked for.
        from_time: Beginning of the range.
        to_time: End of the range, excluded.
        timezone: Whose days these are.
        cost: US dollars of the whole range; None when nothing has a price of its own.
        fallback_cost: US dollars of calls priced as the fallback model, which `cost` leaves out.
        requests: Calls of the whole range.
        unpriced_requests: Calls without a known price.
        days: The days with calls, oldest first.
    """

    user_id: str | None
    tenant_id: str | None = None
    from_time: datetime
    to_time: datetime
    timezone: str
    cost: Decimal | None
    requests: int
    unpriced_requests: int
    days: list[DayCost]
    fallback_cost: Decimal = Decimal(0)


class CostRow(Document):
    """What one model, feature, user, … cost.

    Attributes:
        key: Its name; None for the row of all others.
        is_other: Whether this is the row of all others.
        cost: US dollars; None when no call has a known price.
        requests: Calls.
        prompt_tokens: Input tokens.
        completion_tokens: Output tokens.
        cached_tokens: Input tokens read from the cache.
        unpriced_requests: Calls without a price of their own, those at the fallback price included.
        errors: Calls that failed.
        previous_cost: US dollars of the period of the same length just before.
    """

    key: str | None
    is_other: bool
    cost: Decimal | None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    unpriced_requests: int
    errors: int
    previous_cost: Decimal | None


class CostTotals(Document):
    """Totals of a breakdown.

    Attributes:
        cost: US dollars; None when nothing has a known price.
        requests: Calls.
        fallback_cost: US dollars of calls priced as the fallback model, which `cost` leaves out.
        provider_reported_cost: Part of `cost` that providers reported.
        unpriced_requests: Calls without a known price.
        estimated_requests: Calls whose tokens were counted by us.
    """

    cost: Decimal | None
    requests: int
    fallback_cost: Decimal
    provider_reported_cost: Decimal
    unpriced_requests: int
    estimated_requests: int


class CostBreakdown(Document):
    """The cost of a range by one dimension.

    Attributes:
        from_time: Beginning, outward to the minute (by user: to the quarter of an hour).
        to_time: End, excluded, outward likewise.
        timezone: Time zone of the answer.
        group_by: The dimension.
        totals: Of the whole range; the rows add up to them.
        rows: Costliest first; where there are more than the limit, the last one stands for the others.
    """

    from_time: datetime
    to_time: datetime
    timezone: str
    group_by: str
    totals: CostTotals
    rows: list[CostRow]
