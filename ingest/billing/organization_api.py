"""Reads an organization's costs and usage from OpenAI's Costs and Usage APIs, by UTC day.

The `openai` package has these endpoints too, but reads amounts as binary floats; here they stay exact.
"""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import httpx
from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, ValidationError

from ingest.billing.provider_lines import cost_line, quiet_day, usage_line
from ingest.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pydantic import JsonValue

    from ingest.billing.provider_lines import Line

_DAY_S: Final = 86_400
_COST_DAYS_A_PAGE: Final = 180
_USAGE_DAYS_A_PAGE: Final = 31
_TIMEOUT_S: Final = 60.0
_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
_LONGEST_WAIT_S: Final = 120.0
_GIVE_UP: Final = float("inf")
_PASSING_STATUSES: Final = (408, 409, 429)

# Where requests are counted, and how the counts may be split there.
_USAGE_GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "usage/completions": ("model", "project_id", "service_tier", "batch"),
    "usage/embeddings": ("model", "project_id"),
}


M = TypeVar("M", bound=BaseModel)


class _Amount(BaseModel):
    value: Decimal
    currency: str = "usd"


class _CostResult(BaseModel):
    amount: _Amount | None = None
    line_item: str | None = None
    project_id: str | None = None
    quantity: Decimal | None = None
    quantity_unit: str | None = None


_Count = Annotated[int, Field(ge=0), BeforeValidator(lambda value: 0 if value is None else value)]


class _UsageResult(BaseModel):
    num_model_requests: _Count
    input_tokens: _Count = 0
    input_cached_tokens: _Count = 0
    input_cache_write_tokens: _Count = 0
    output_tokens: _Count = 0
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

    Args:
        key: An admin key; a project's key is refused by OpenAI.
        url: Address of the API.
        projects: Only these projects; none for the whole organization.
        sleep: Waits for a number of seconds.
        transport: What carries the requests instead of real connections.
    """

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
        self._sleep = sleep
        self._client = httpx.Client(
            base_url=f"{url}/organization/",
            headers={"Authorization": f"Bearer {key}"},
            timeout=_TIMEOUT_S,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def read_costs(self, from_day: date, to_day: date) -> Iterator[Line]:
        """Yield the billed lines of [from_day, to_day), UTC; a day on which nothing was billed has one line of zero.

        Raises:
            ProviderError: OpenAI refused or failed, or its answer is not of the documented form.
        """
        for day, results in self._buckets("costs", from_day, to_day, _COST_DAYS_A_PAGE, ("line_item", "project_id")):
            costs = [cost for cost in _parsed(_CostResult, results, "costs") if cost.amount is not None]
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
                for usage in _parsed(_UsageResult, results, path):
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
            page = _parsed(_Page, [self._get(path, query)], path)[0]
            for bucket in page.data:
                if bucket.start_time % _DAY_S:
                    raise ProviderError(f"{path}: OpenAI returned a bucket that does not start at midnight UTC")
                yield datetime.fromtimestamp(bucket.start_time, UTC).date(), bucket.results
            if not page.has_more:
                return
            if page.next_page is None or page.next_page in seen:
                raise ProviderError(f"{path}: OpenAI says there are more pages but not where")
            seen.add(page.next_page)
            query["page"] = page.next_page

    def _get(self, path: str, query: Mapping[str, str | int | list[str]]) -> object:
        for pause_s in (*_PAUSES_S, _GIVE_UP):
            wait_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads retries, guards nothing
            try:
                response = self._client.get(path, params=query)
            except httpx.TransportError as error:
                problem = f"it could not be reached ({type(error).__name__})"
            else:
                if response.status_code == httpx.codes.OK:
                    return _decode(path, response.text)
                problem = f"it answered {response.status_code}{_reason(response)}"
                if response.status_code in (401, 403):
                    raise ProviderError(f"OPENAI_ADMIN_KEY: not accepted for {path}: {problem}")
                is_passing = response.status_code in _PASSING_STATUSES or response.status_code >= 500
                wait_s = max(wait_s, _retry_after_s(response)) if is_passing else _GIVE_UP
            if wait_s > _LONGEST_WAIT_S:
                break
            self._sleep(wait_s)
        raise ProviderError(f"OpenAI's {path} cannot be read: {problem}")


def _parsed(model: type[M], documents: Sequence[object], path: str) -> list[M]:
    try:
        return [model.model_validate(document) for document in documents]
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, detail["loc"])) or "all" for detail in error.errors()[:3])
        raise ProviderError(f"OpenAI's {path} returned an unexpected response ({fields})") from error


def _decode(path: str, body: str) -> object:
    def refuse(constant: str) -> object:
        raise ValueError(constant)

    try:
        document: JsonValue = json.loads(body, parse_float=Decimal, parse_constant=refuse)
    except ValueError as error:
        raise ProviderError(f"OpenAI's {path} returned something that is not JSON") from error
    return document


def _reason(response: httpx.Response) -> str:
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {str(message)[:200]}"


def _retry_after_s(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)) / timedelta(seconds=1)
    except (ValueError, TypeError):  # no date, or one without a time zone
        return 0.0


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
