"""What a backend or a script asks of the figures, with exact decimals: a user's cost by day, a breakdown of a range.

Both read the rollups with the rights of the caller: members see their own calls, analysts all calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003 -- as above
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from ingest.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from ingest.database import Argument, Database

__all__ = ["CostBreakdown", "CostRow", "CostTotals", "DailyCost", "DayCost", "get_cost_breakdown", "get_daily_cost"]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class DayCost:
    """What one day cost a user.

    Attributes:
        day: Day of the time zone asked for.
        cost: US dollars; None when no call of the day has a known price.
        requests: Calls.
        prompt_tokens: Input tokens.
        completion_tokens: Output tokens.
        fallback_cost: Part of `cost` priced as the fallback model.
        unpriced_requests: Calls without a known price, which `cost` leaves out.
    """

    day: date
    cost: Decimal | None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    fallback_cost: Decimal
    unpriced_requests: int


class DailyCost(BaseModel, frozen=True):
    """A user's cost by day.

    Attributes:
        user_id: Whose.
        from_time: Beginning of the range.
        to_time: End of the range, excluded.
        timezone: Whose days these are.
        cost: US dollars of the whole range; None when nothing has a known price.
        requests: Calls of the whole range.
        unpriced_requests: Calls without a known price.
        days: The days with calls, oldest first.
    """

    user_id: str
    from_time: datetime
    to_time: datetime
    timezone: str
    cost: Decimal | None
    requests: int
    unpriced_requests: int
    days: list[DayCost]


@dataclass(frozen=True, slots=True)
class CostRow:
    """What one model, feature, user, … cost.

    Attributes:
        key: Its name; None for the row of all others.
        is_other: Whether this is the row of all others.
        cost: US dollars; None when no call has a known price.
        requests: Calls.
        prompt_tokens: Input tokens.
        completion_tokens: Output tokens.
        cached_tokens: Input tokens read from the cache.
        unpriced_requests: Calls without a known price.
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


class CostTotals(BaseModel, frozen=True):
    """Totals of a breakdown.

    Attributes:
        cost: US dollars; None when nothing has a known price.
        requests: Calls.
        fallback_cost: Part of `cost` priced as the fallback model.
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


class CostBreakdown(BaseModel, frozen=True):
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


def get_daily_cost(
    database: Database,
    user_id: str | None = None,
    *,
    from_time: datetime | None = None,
    to_time: datetime | None = None,
    timezone: str = "UTC",
) -> DailyCost:
    """Read what a user cost, day by day.

    Args:
        database: Opened by `open_database`, or by `open_viewer_database` for one person.
        user_id: Whose cost; None is the person who asks.
        from_time: Beginning; default: 30 days before the end.
        to_time: End, excluded; default: the end of today.
        timezone: IANA zone whose days count.

    Raises:
        PermissionDeniedError: The cost is another user's, and the caller is not an analyst.
        InvalidArgumentError: The range or the time zone is wrong, or no user is given.
    """
    arguments: dict[str, Argument] = {"user_id": user_id, "from_time": from_time, "to_time": to_time}
    return _parse(DailyCost, database.call("get_daily_cost", **arguments, timezone=timezone))


def get_cost_breakdown(
    database: Database,
    from_time: datetime,
    to_time: datetime,
    *,
    group_by: str = "model",
    filters: Mapping[str, Argument] | None = None,
) -> CostBreakdown:
    """Read the cost of a range by model, feature, provider, environment, operation, status or user_id.

    Args:
        database: As for `get_daily_cost`.
        from_time: Beginning, included.
        to_time: End, excluded; at most 400 days later.
        group_by: The dimension.
        filters: As for the pages: model, feature, …, user_id (a text or a list of texts), timezone, limit (10).

    Raises:
        InvalidArgumentError: The range, the dimension or a filter is wrong.
    """
    document = database.call(
        "get_cost_breakdown", from_time=from_time, to_time=to_time, group_by=group_by, filters=dict(filters or {})
    )
    return _parse(CostBreakdown, document)


def _parse(model: type[M], document: JsonValue) -> M:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise DatabaseError(f"unexpected response from the database: {model.__name__}") from error
