"""Reads what OpenAI says an organization used and owes: its Costs and Usage APIs, by UTC day.

The `openai` package has these endpoints too, but reads amounts as binary floats; here they stay exact.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from decimal import Decimal  # noqa: TC003 -- pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Final

from pydantic import AliasChoices, BaseModel, Field

from ingest.billing.admin_api import AdminApi, Count
from ingest.billing.provider_lines import OPENAI, cost_line, quiet_day, usage_line
from ingest.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import httpx

    from ingest.billing.provider_lines import Line

_DAY_S: Final = 86_400
_COST_DAYS_A_PAGE: Final = 180
_USAGE_DAYS_A_PAGE: Final = 31

# Where requests are counted, and how the counts may be split there.
_USAGE_GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "usage/completions": ("model", "project_id", "service_tier", "batch"),
    "usage/embeddings": ("model", "project_id"),
}


class _Amount(BaseModel):
    value: Decimal
    currency: str = "usd"


class _CostResult(BaseModel):
    amount: _Amount | None = None
    line_item: str | None = None
    project_id: str | None = None
    quantity: Decimal | None = None
    quantity_unit: str | None = None


class _UsageResult(BaseModel):
    num_model_requests: Count
    input_tokens: Count = 0
    input_cached_tokens: Count = 0
    input_cache_write_tokens: Count = 0
    output_tokens: Count = 0
    input_audio_tokens: Count = 0
    output_audio_tokens: Count = 0
    model: str | None = None
    project_id: str | None = None
    service_tier: str | None = None
    batch: bool | None = None


class _Bucket(BaseModel):
    start_time: int
    # The reference calls it `results`; its own older examples, and what was built after them, say `result`.
    results: list[object] = Field(validation_alias=AliasChoices("results", "result"))


class _Page(BaseModel):
    data: list[_Bucket]
    has_more: bool
    next_page: str | None


class OrganizationApi:
    """OpenAI's organization endpoints, with pages followed and failures retried.

    Attributes:
        provider: As calls name it.

    Args:
        key: An admin key; a project's key is refused by OpenAI.
        url: Address of the API.
        projects: Only these projects; none for the whole organization.
        sleep: Waits for a number of seconds.
        transport: What carries the requests instead of real connections.
    """

    provider: Final = OPENAI

    def __init__(
        self,
        key: str,
        *,
        url: str,
        projects: Sequence[str] = (),
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._projects = list(projects)
        self._api = AdminApi(
            "OpenAI",
            "OPENAI_ADMIN_KEY",
            url=f"{url}/organization/",
            headers={"Authorization": f"Bearer {key}"},
            sleep=sleep,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def read_costs(self, from_day: date, to_day: date) -> Iterator[Line]:
        """Yield the billed lines of [from_day, to_day), UTC; a day on which nothing was billed has one line of zero.

        Raises:
            ProviderError: OpenAI refused or failed, or its answer is not of the documented form.
        """
        for day, results in self._buckets("costs", from_day, to_day, _COST_DAYS_A_PAGE, ("line_item", "project_id")):
            costs = [cost for cost in self._api.parse(_CostResult, results, "costs") if cost.amount is not None]
            if not costs:
                yield quiet_day(day, "cost", source="api")
            for cost in costs:
                assert cost.amount is not None
                yield cost_line(
                    day,
                    cost.amount.value,
                    source="api",
                    currency=cost.amount.currency,
                    line_item=cost.line_item,
                    project_id=cost.project_id,
                    quantity=cost.quantity,
                    quantity_unit=cost.quantity_unit,
                )

    def read_usage(self, from_day: date, to_day: date) -> Iterator[Line]:
        """Yield what was counted in [from_day, to_day), UTC, by model, project, tier and batch.

        Raises:
            ProviderError: As for `read_costs`.
        """
        for path, groups in _USAGE_GROUPS.items():
            for day, results in self._buckets(path, from_day, to_day, _USAGE_DAYS_A_PAGE, groups):
                yield quiet_day(day, "usage", source="api")
                for usage in self._api.parse(_UsageResult, results, path):
                    yield usage_line(
                        day,
                        source="api",
                        model=usage.model,
                        project_id=usage.project_id,
                        service_tier=usage.service_tier,
                        is_batch=bool(usage.batch),
                        requests=usage.num_model_requests,
                        input_tokens=usage.input_tokens,
                        cached_tokens=usage.input_cached_tokens,
                        cache_write_tokens=usage.input_cache_write_tokens,
                        output_tokens=usage.output_tokens,
                        audio_input_tokens=usage.input_audio_tokens,
                        audio_output_tokens=usage.output_audio_tokens,
                    )

    def _buckets(
        self, path: str, from_day: date, to_day: date, days_a_page: int, group_by: Sequence[str]
    ) -> Iterator[tuple[date, list[object]]]:
        days = (to_day - from_day).days
        query: dict[str, str | int | list[str]] = {
            "start_time": _seconds(from_day),
            "end_time": _seconds(to_day),
            "bucket_width": "1d",
            "limit": min(days, days_a_page),  # counts buckets, not lines
            "group_by": list(group_by),
        }
        if self._projects:
            query["project_ids"] = self._projects
        seen: set[str] = set()
        while True:
            page = self._api.parse(_Page, [self._api.get(path, query)], path)[0]
            for bucket in page.data:
                if bucket.start_time % _DAY_S:
                    raise ProviderError(f"{path}: OpenAI answered a bucket that does not begin at midnight UTC")
                yield datetime.fromtimestamp(bucket.start_time, UTC).date(), bucket.results
            if not page.has_more:
                return
            if page.next_page is None or page.next_page in seen:
                raise ProviderError(f"{path}: OpenAI has more pages but does not say where")
            seen.add(page.next_page)
            query["page"] = page.next_page


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
