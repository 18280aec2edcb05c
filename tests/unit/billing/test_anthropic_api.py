from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from ingest.billing.anthropic_api import AnthropicApi
from ingest.errors import ProviderError
from tests.support.anthropic_admin_server import ADMIN_KEY, AnthropicAdminServer, cost, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = date(2026, 11, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


@pytest.fixture
def server() -> Iterator[AnthropicAdminServer]:
    with AnthropicAdminServer() as server:
        yield server


@pytest.fixture
def api(server: AnthropicAdminServer) -> Iterator[AnthropicApi]:
    api = AnthropicApi(ADMIN_KEY, url=server.url, sleep=lambda _: None)
    yield api
    api.close()


def test_amounts_are_cents_to_the_last_digit(server: AnthropicAdminServer, api: AnthropicApi) -> None:
    server.add("cost_report", day(1), cost("123.45"), cost("0.00078912345678901234567890", "output_tokens"))
    assert [line["amount"] for line in api.read_costs(day(1), day(2))] == ["1.2345", "0.0000078912345678901234567890"]


def test_a_line_says_its_model_item_workspace_and_tier(server: AnthropicAdminServer, api: AnthropicApi) -> None:
    server.add("cost_report", day(1), cost("100", workspace_id="wrkspc_a", service_tier="batch"))
    (line,) = api.read_costs(day(1), day(2))
    assert line == {
        "provider": "anthropic",
        "day": "2026-11-01",
        "source": "api",
        "kind": "cost",
        "line_item": "Claude Sonnet 4 Usage - Input Tokens",
        "item": "input",
        "charge": "usage",
        "model": "claude-sonnet-4-20250514",
        "project_id": "wrkspc_a",
        "service_tier": "batch",
        "currency": "usd",
        "amount": "1.00",
        "quantity": None,
        "quantity_unit": None,
        "tokens": None,
        "list_price": None,
    }


@pytest.mark.parametrize(
    ("result", "item", "charge"),
    [
        (cost("1", "cache_read_input_tokens"), "cached_input", "usage"),
        (cost("1", "cache_creation.ephemeral_1h_input_tokens"), "cache_write", "usage"),
        (cost("1", "cache_creation.ephemeral_5m_input_tokens"), "cache_write", "usage"),
        (cost("1", "output_tokens"), "output", "usage"),
        (cost("320", None, cost_type="web_search", model=None, description="Web search"), "search", "fee"),
        (cost("5", None, cost_type="code_execution", model=None, description="Code"), "code_execution", "fee"),
        (cost("-600"), "input", "credit"),
        (cost("7", None, cost_type=None, model=None, description=None), "", "usage"),
    ],
)
def test_each_type_of_cost_has_its_item(
    server: AnthropicAdminServer, api: AnthropicApi, result: dict[str, object], item: str, charge: str
) -> None:
    server.add("cost_report", day(1), result)
    (line,) = api.read_costs(day(1), day(2))
    assert (line["item"], line["charge"]) == (item, charge)


def test_usage_holds_the_whole_input_and_no_requests(server: AnthropicAdminServer, api: AnthropicApi) -> None:
    written = {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500}
    server.add("usage_report/messages", day(1), usage(1500, 500, cache_creation=written, cache_read_input_tokens=200))
    quiet, line = api.read_usage(day(1), day(2))
    assert quiet["requests"] == 0
    assert [line[name] for name in ("requests", "input_tokens", "cached_tokens", "cache_write_tokens")] == [
        None, 3200, 200, 1500,
    ]  # fmt: skip
    assert (line["output_tokens"], line["model"], line["is_batch"]) == (500, "claude-sonnet-4-20250514", False)


def test_pages_are_followed_and_quiet_days_are_zero(server: AnthropicAdminServer, api: AnthropicApi) -> None:
    server.page_days = 2
    server.add("cost_report", day(4), cost("200"))
    lines = list(api.read_costs(day(1), day(6)))
    assert [line["amount"] for line in lines] == ["0", "0", "0", "2.00", "0"]
    assert [query.get("page") for _, query in server.asked] == [
        None, ["page_2026-11-03T00:00:00Z"], ["page_2026-11-05T00:00:00Z"],
    ]  # fmt: skip
    assert server.asked[0][1]["starting_at"] == ["2026-11-01T00:00:00Z"]


def test_a_refused_key_is_named_and_not_shown(server: AnthropicAdminServer) -> None:
    api = AnthropicApi("sk-ant-api-secret", url=server.url)
    with pytest.raises(ProviderError, match="ANTHROPIC_ADMIN_KEY: not accepted for cost_report") as caught:
        list(api.read_costs(day(1), day(2)))
    assert "secret" not in str(caught.value)
    api.close()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('{"data": [], "has_more": true, "next_page": null}', "more pages"),
        ('{"data": [{"starting_at": "2026-11-01T01:00:00Z", "results": []}], "has_more": false, "next_page": null}',
         "midnight"),
        (('{"data": [{"starting_at": "2026-11-01T00:00:00Z", "results": [{"amount": "x"}]}], "has_more": false, '
         '"next_page": null}'), "amount"),
        ("[]", "unexpected response"),
    ],
)  # fmt: skip
def test_an_answer_of_another_form_is_refused(
    server: AnthropicAdminServer, api: AnthropicApi, body: str, problem: str
) -> None:
    server.failures = [(200, body)]
    with pytest.raises(ProviderError, match=problem):
        list(api.read_costs(day(1), day(2)))


def test_pages_that_go_in_a_circle_end(server: AnthropicAdminServer, api: AnthropicApi) -> None:
    server.failures = [(200, '{"data": [], "has_more": true, "next_page": "again"}')] * 2
    with pytest.raises(ProviderError, match="more pages"):
        list(api.read_usage(day(1), day(2)))
