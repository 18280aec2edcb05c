"""Reads what Anthropic says an organization used and owes: its Usage and Cost Admin API, by UTC day.

Reference: https://platform.claude.com/docs/en/manage-claude/usage-cost-api. Amounts are cents, as decimal text.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal  # noqa: TC003 -- pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Final

from pydantic import AwareDatetime, BaseModel

from ingest.billing.admin_api import AdminApi, Count
from ingest.billing.line_items import LineItem
from ingest.billing.provider_lines import cost_line, quiet_day, usage_line
from ingest.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import httpx

    from ingest.billing.line_items import Charge
    from ingest.billing.provider_lines import Line

ANTHROPIC: Final = "anthropic"

_VERSION: Final = "2023-06-01"
_DAYS_A_PAGE: Final = 31
_CENTS: Final = 2
_ITEMS: Final[Mapping[str, str]] = {
    "uncached_input_tokens": "input",
    "cache_read_input_tokens": "cached_input",
    # Written for an hour or for five minutes: their prices differ, the record's counts do not.
    "cache_creation.ephemeral_1h_input_tokens": "cache_write",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write",
    "output_tokens": "output",
}
_SERVICES: Final[Mapping[str, str]] = {
    "web_search": "search",
    "code_execution": "code_execution",
    "session_usage": "session",
}


class _CostResult(BaseModel):
    amount: Decimal
    currency: str = "USD"
    cost_type: str | None = None
    token_type: str | None = None
    description: str | None = None
    model: str | None = None
    service_tier: str | None = None
    workspace_id: str | None = None


class _CacheCreation(BaseModel):
    ephemeral_1h_input_tokens: Count = 0
    ephemeral_5m_input_tokens: Count = 0


class _UsageResult(BaseModel):
    uncached_input_tokens: Count
    cache_read_input_tokens: Count = 0
    cache_creation: _CacheCreation | None = None
    output_tokens: Count
    model: str | None = None
    service_tier: str | None = None
    workspace_id: str | None = None


class _Bucket(BaseModel):
    starting_at: AwareDatetime
    results: list[object]


class _Page(BaseModel):
    data: list[_Bucket]
    has_more: bool
    next_page: str | None


class AnthropicApi:
    """Anthropic's usage and cost reports, with pages followed and failures retried.

    Attributes:
        provider: As calls name it.

    Args:
        key: An admin key (`sk-ant-admin…`); a workspace's key is refused by Anthropic.
        url: Address of the API.
        sleep: Waits for a number of seconds.
        transport: What carries the requests instead of real connections.
    """

    provider: Final = ANTHROPIC

    def __init__(
        self,
        key: str,
        *,
        url: str,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._api = AdminApi(
            "Anthropic",
            "ANTHROPIC_ADMIN_KEY",
            url=f"{url}/organizations/",
            headers={"x-api-key": key, "anthropic-version": _VERSION},
            sleep=sleep,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def read_costs(self, from_day: date, to_day: date) -> Iterator[Line]:
        """Yield the billed lines of [from_day, to_day), UTC; a day on which nothing was billed has one line of zero.

        Raises:
            ProviderError: Anthropic refused or failed, or its answer is not of the documented form.
        """
        for day, results in self._buckets("cost_report", from_day, to_day, ("workspace_id", "description")):
            costs = self._api.parse(_CostResult, results, "cost_report")
            if not costs:
                yield quiet_day(day, "cost", source="api", provider=ANTHROPIC)
            for cost in costs:
                yield _line(day, cost)

    def read_usage(self, from_day: date, to_day: date) -> Iterator[Line]:
        """Yield what was counted in [from_day, to_day), UTC, by model, workspace and tier. Requests are not told.

        Raises:
            ProviderError: As for `read_costs`.
        """
        path = "usage_report/messages"
        for day, results in self._buckets(path, from_day, to_day, ("model", "workspace_id", "service_tier")):
            yield quiet_day(day, "usage", source="api", provider=ANTHROPIC)
            for usage in self._api.parse(_UsageResult, results, path):
                written = usage.cache_creation or _CacheCreation()
                writes = written.ephemeral_1h_input_tokens + written.ephemeral_5m_input_tokens
                yield usage_line(
                    day,
                    source="api",
                    provider=ANTHROPIC,
                    requests=None,
                    model=usage.model,
                    project_id=usage.workspace_id,
                    service_tier=usage.service_tier,
                    is_batch=usage.service_tier == "batch",
                    # Anthropic counts the parts apart; a line of usage holds the whole input.
                    input_tokens=usage.uncached_input_tokens + usage.cache_read_input_tokens + writes,
                    cached_tokens=usage.cache_read_input_tokens,
                    cache_write_tokens=writes,
                    output_tokens=usage.output_tokens,
                )

    def _buckets(
        self, path: str, from_day: date, to_day: date, group_by: Sequence[str]
    ) -> Iterator[tuple[date, list[object]]]:
        query: dict[str, str | int | list[str]] = {
            "starting_at": _midnight(from_day),
            "ending_at": _midnight(to_day),
            "bucket_width": "1d",
            "limit": min((to_day - from_day) // timedelta(days=1), _DAYS_A_PAGE),  # counts buckets, not lines
            "group_by[]": list(group_by),
        }
        seen: set[str] = set()
        while True:
            (page,) = self._api.parse(_Page, [self._api.get(path, query)], path)
            for bucket in page.data:
                start = bucket.starting_at.astimezone(UTC)
                if start != datetime(start.year, start.month, start.day, tzinfo=UTC):
                    raise ProviderError(f"{path}: Anthropic returned a bucket that does not start at midnight UTC")
                yield start.date(), bucket.results
            if not page.has_more:
                return
            if page.next_page is None or page.next_page in seen:
                raise ProviderError(f"{path}: Anthropic has more pages but does not say where")
            seen.add(page.next_page)
            query["page"] = page.next_page


def _line(day: date, cost: _CostResult) -> Line:
    amount = cost.amount.scaleb(-_CENTS)
    charge: Charge = "credit" if amount < 0 else "usage"
    item = _ITEMS.get(cost.token_type or "", "")
    if cost.cost_type not in (None, "tokens"):
        item = _SERVICES.get(cost.cost_type or "", cost.cost_type or "")
        charge = "credit" if amount < 0 else "fee"
    read = LineItem((cost.model or "").lower(), item, charge)
    return cost_line(
        day,
        amount,
        source="api",
        provider=ANTHROPIC,
        currency=cost.currency,
        line_item=cost.description or cost.cost_type,
        # Not split by description, an amount says nothing of what it is for.
        read=read if cost.cost_type else None,
        project_id=cost.workspace_id,
        service_tier=cost.service_tier,
    )


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"
