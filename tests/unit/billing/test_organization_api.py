from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from ingest.billing.organization_api import OrganizationApi
from ingest.errors import ProviderError
from tests.support.organization_server import ADMIN_KEY, OrganizationServer, cost, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = date(2026, 11, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


@pytest.fixture
def server() -> Iterator[OrganizationServer]:
    with OrganizationServer() as server:
        yield server


class Waits:
    """Sleeps by writing down for how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def api(server: OrganizationServer, waits: Waits) -> Iterator[OrganizationApi]:
    api = OrganizationApi(ADMIN_KEY, url=server.url, sleep=waits)
    yield api
    api.close()


def amounts(api: OrganizationApi, days: int = 3) -> list[tuple[object, object]]:
    return [(line["day"], line["amount"]) for line in api.read_costs(day(1), day(1 + days))]


def test_amounts_keep_every_digit_of_the_answer(server: OrganizationServer, api: OrganizationApi) -> None:
    digits = "0.123456789012345678901234567890"
    server.add("costs", day(1), cost(digits, "gpt-4o-2024-08-06, input"), cost("1e-7", "x"), cost("0E-6176", "y"))
    assert amounts(api, 1) == [("2026-11-01", digits), ("2026-11-01", "0.0000001"), ("2026-11-01", "0")]


def test_an_amount_may_be_text(server: OrganizationServer, api: OrganizationApi) -> None:
    server.add("costs", day(1), {"amount": {"value": "0.5617712500000000", "currency": "usd"}})
    assert amounts(api, 1) == [("2026-11-01", "0.5617712500000000")]


def test_a_day_without_costs_is_a_line_of_zero(server: OrganizationServer, api: OrganizationApi) -> None:
    server.add("costs", day(2), cost("4.678066", "gpt-5.6-terra, input"))
    server.add("costs", day(3), {"object": "organization.costs.result"})
    assert amounts(api) == [("2026-11-01", "0"), ("2026-11-02", "4.678066"), ("2026-11-03", "0")]


@pytest.mark.parametrize("key", ["results", "result"])
def test_both_names_of_a_buckets_results_are_read(server: OrganizationServer, api: OrganizationApi, key: str) -> None:
    server.results_key = key
    server.add("costs", day(1), cost("1.5", "gpt-4o, output"))
    assert amounts(api, 1) == [("2026-11-01", "1.5")]


def test_pages_are_followed_to_the_end(server: OrganizationServer, api: OrganizationApi) -> None:
    server.page_days = 2
    for number in range(1, 6):
        server.add("costs", day(number), cost(f"{number}", None))
    assert [amount for _, amount in amounts(api, 5)] == ["1", "2", "3", "4", "5"]
    assert [query.get("page") for _, query in server.asked] == [None, ["page_1793664000"], ["page_1793836800"]]


def test_a_page_asks_for_no_more_buckets_than_are_allowed(server: OrganizationServer, api: OrganizationApi) -> None:
    list(api.read_costs(day(1), day(201)))
    list(api.read_usage(day(1), day(41)))
    limits = [(path, query["limit"]) for path, query in server.asked if "page" not in query]
    assert limits == [("costs", ["180"]), ("usage/completions", ["31"]), ("usage/embeddings", ["31"])]
    assert len(server.asked) == 6


def test_a_line_names_its_model_project_and_quantity(server: OrganizationServer, api: OrganizationApi) -> None:
    server.add(
        "costs",
        day(1),
        cost("7.342488", "GPT-5.6-terra, output", project_id="proj_a", quantity=611874, quantity_unit="tokens"),
    )
    (line,) = api.read_costs(day(1), day(2))
    assert line == {
        "provider": "openai",
        "day": "2026-11-01",
        "source": "api",
        "kind": "cost",
        "line_item": "GPT-5.6-terra, output",
        "item": "output",
        "charge": "usage",
        "model": "gpt-5.6-terra",
        "project_id": "proj_a",
        "service_tier": "",
        "currency": "usd",
        "amount": "7.342488",
        "quantity": "611874",
        "quantity_unit": "tokens",
        "tokens": "611874",
        "list_price": None,
    }
    assert server.asked[0][1]["group_by"] == ["line_item", "project_id"]


def test_usage_is_counted_by_model_tier_and_batch(server: OrganizationServer, api: OrganizationApi) -> None:
    server.add("usage/completions", day(1), usage("gpt-4o-2024-08-06", 7, batch=True, service_tier="flex"))
    server.add(
        "usage/embeddings", day(1), {"num_model_requests": 2, "input_tokens": 9, "model": "text-embedding-3-small"}
    )
    lines = [line for line in api.read_usage(day(1), day(2)) if line["requests"]]
    assert [(line["model"], line["requests"], line["is_batch"], line["service_tier"]) for line in lines] == [
        ("gpt-4o-2024-08-06", 7, True, "flex"),
        ("text-embedding-3-small", 2, False, None),
    ]
    assert [lines[0][name] for name in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")] == [
        1000, 400, 100, 500,
    ]  # fmt: skip
    assert server.asked[0][1]["group_by"] == ["model", "project_id", "service_tier", "batch"]


def test_only_the_chosen_projects_are_asked_for(server: OrganizationServer) -> None:
    server.add("costs", day(1), cost("1", "a", project_id="proj_a"), cost("2", "b", project_id="proj_b"))
    api = OrganizationApi(ADMIN_KEY, url=server.url, projects=["proj_b"])
    assert amounts(api, 1) == [("2026-11-01", "2")]
    api.close()


def test_a_busy_or_broken_server_is_asked_again(server: OrganizationServer, api: OrganizationApi, waits: Waits) -> None:
    server.add("costs", day(1), cost("1", None))
    server.failures = [(429, {"Retry-After": "7"}, "{}"), (500, {}, "oops"), (503, {}, "")]
    assert amounts(api, 1) == [("2026-11-01", "1")]
    first, second, third = waits.seconds
    assert first == 7
    assert 1 <= second <= 2
    assert 2 <= third <= 4


@pytest.mark.dated
def test_a_date_says_when_to_try_again(server: OrganizationServer, api: OrganizationApi, waits: Waits) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    server.failures = [(429, {"Retry-After": at}, "{}")]
    list(api.read_costs(day(1), day(2)))
    assert 40 < waits.seconds[0] <= 50


def test_after_six_attempts_it_gives_up_and_says_why(
    server: OrganizationServer, api: OrganizationApi, waits: Waits
) -> None:
    server.failures = [(429, {}, '{"error": {"message": "Rate limit reached"}}')] * 9
    with pytest.raises(ProviderError, match="costs cannot be read: it answered 429: Rate limit reached"):
        amounts(api)
    assert (len(server.asked), len(waits.seconds)) == (6, 5)


def test_it_does_not_wait_for_longer_than_two_minutes(
    server: OrganizationServer, api: OrganizationApi, waits: Waits
) -> None:
    server.failures = [(429, {"Retry-After": "3600"}, "{}")]
    with pytest.raises(ProviderError, match="429"):
        amounts(api)
    assert waits.seconds == []


def test_an_unreachable_server_is_asked_again(waits: Waits) -> None:
    answers = iter([httpx.ConnectError("no route"), httpx.ReadTimeout("slow")])

    def answer(_: httpx.Request) -> httpx.Response:
        error = next(answers, None)
        if error is not None:
            raise error
        return httpx.Response(200, text='{"data": [], "has_more": false, "next_page": null}')

    api = OrganizationApi("k", url="http://api", sleep=waits, transport=httpx.MockTransport(answer))
    assert amounts(api) == []
    assert len(waits.seconds) == 2


def test_a_wrong_request_is_not_repeated(server: OrganizationServer, api: OrganizationApi, waits: Waits) -> None:
    server.failures = [(400, {}, "not JSON")]
    with pytest.raises(ProviderError, match=r"costs cannot be read: it answered 400$"):
        amounts(api)
    assert waits.seconds == []


def test_a_key_that_is_refused_is_named_and_not_shown(server: OrganizationServer) -> None:
    api = OrganizationApi("sk-proj-secret", url=server.url)
    with pytest.raises(ProviderError, match="OPENAI_ADMIN_KEY: not accepted for costs") as caught:
        amounts(api)
    assert "secret" not in str(caught.value)
    api.close()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<html>", "not JSON"),
        ('{"data": [], "has_more": NaN}', "not JSON"),
        ("[]", "unexpected response"),
        ('{"data": [{"start_time": 1793491200}], "has_more": false, "next_page": null}', r"data\.0\.results"),
        (
            '{"data": [{"start_time": 1793491200, "results": [{"amount": {}}]}], "has_more": false, "next_page": null}',
            r"amount\.value",
        ),
        (
            '{"data": [{"start_time": 1793491200, "results": [5]}], "has_more": false, "next_page": null}',
            "unexpected response",
        ),
        ('{"data": [{"start_time": 1793491201, "results": []}], "has_more": false, "next_page": null}', "midnight"),
        ('{"data": [], "has_more": true, "next_page": null}', "more pages"),
    ],
)
def test_an_answer_of_another_form_is_refused(
    server: OrganizationServer, api: OrganizationApi, body: str, problem: str
) -> None:
    server.failures = [(200, {}, body)]
    with pytest.raises(ProviderError, match=problem):
        amounts(api)


def test_pages_that_go_in_a_circle_end(server: OrganizationServer, api: OrganizationApi) -> None:
    server.failures = [(200, {}, '{"data": [], "has_more": true, "next_page": "again"}')] * 2
    with pytest.raises(ProviderError, match="more pages"):
        amounts(api)
