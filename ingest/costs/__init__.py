"""What a backend or a script asks of the figures, with exact decimals: costs by day, by dimension, and savings.

All read with the rights of whoever opened the database: people see their own calls, analysts all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.database import fetch
from ingest.documents.costs import CostBreakdown, CostRow, CostTotals, DailyCost, DayCost
from ingest.savings.plan import Suggestion
from ingest.savings.reading import read_savings_plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ingest.database import Argument, Database
    from pricing import PriceBook

__all__ = [
    "CostBreakdown",
    "CostRow",
    "CostTotals",
    "DailyCost",
    "DayCost",
    "Suggestion",
    "cost_optimization_suggestions",
    "get_cost_breakdown",
    "get_daily_cost",
]


def get_daily_cost(
    database: Database,
    user_id: str | None = None,
    *,
    from_time: datetime | None = None,
    to_time: datetime | None = None,
    timezone: str = "UTC",
    tenant_id: str | None = None,
) -> DailyCost:
    """Read what a user or a tenant cost, day by day.

    Args:
        database: Opened by `open_database`, or by `open_viewer_database` for one person.
        user_id: Whose cost; None is the person who asks, or everybody of `tenant_id`.
        from_time: Beginning; default: 30 days before the end.
        to_time: End, excluded; default: the end of today.
        timezone: IANA zone whose days count.
        tenant_id: The tenant whose calls count; of `user_id` alone where both are given.

    Raises:
        PermissionDeniedError: The cost is another user's or tenant's, and the caller is not an analyst.
        InvalidArgumentError: The range or the time zone is wrong, or no user is given.
    """
    arguments: dict[str, Argument] = {"user_id": user_id, "tenant_id": tenant_id, "timezone": timezone}
    return fetch(database, DailyCost, "get_daily_cost", **arguments, from_time=from_time, to_time=to_time)


def get_cost_breakdown(
    database: Database,
    from_time: datetime,
    to_time: datetime,
    *,
    group_by: str = "model",
    filters: Mapping[str, Argument] | None = None,
) -> CostBreakdown:
    """Read the cost of a range by model, feature, provider, environment, operation, status, user, tenant or tag.

    Args:
        database: As for `get_daily_cost`.
        from_time: Beginning, included.
        to_time: End, excluded; at most 400 days later.
        group_by: The dimension: model, …, user_id, tenant_id, or tags.plan for the tag plan.
        filters: As for the pages: model, feature, …, user_id, tenant_id (a text or a list of texts), tags
            ({"plan": "pro"}), timezone, limit (10). An empty text stands for calls without feature, tenant or tag.

    Raises:
        InvalidArgumentError: The range, the dimension or a filter is wrong.
    """
    return fetch(
        database,
        CostBreakdown,
        "get_cost_breakdown",
        from_time=from_time,
        to_time=to_time,
        group_by=group_by,
        filters=dict(filters or {}),
    )


def cost_optimization_suggestions(
    database: Database,
    *,
    from_time: datetime | None = None,
    to_time: datetime | None = None,
    filters: Mapping[str, Argument] | None = None,
    book: PriceBook | None = None,
) -> list[Suggestion]:
    """Return what would have saved money, the largest saving first; an empty list where nothing is certain enough.

    What needs an evaluation before it is money (`needs_evaluation`) comes last. `ingest.savings` has the plan around
    it: the spend, the goal, the sums.

    Args:
        database: Opened by anybody: members get what could be saved on their own calls of the last seven days.
        from_time: Beginning; default: 30 days before the end.
        to_time: End, excluded; default: now. Days that are not over do not count.
        filters: provider, model, feature, environment, operation, each a text or a list of texts.
        book: Prices; default: those in force, the fetched catalogue and the customer's own included.

    Raises:
        InvalidArgumentError: The range or a filter is wrong.
    """
    plan = read_savings_plan(database, from_time=from_time, to_time=to_time, filters=filters, book=book)
    return list(plan.suggestions)
