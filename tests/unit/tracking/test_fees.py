"""Calls of tools and charges in tracked answers, and hosts that the customer names."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

import ingest
from pricing.tools import count_items
from tests.support.openai_server import RESPONSE, OpenAIServer, Reply, chunk, document, events, frames
from tests.unit.tracking.conftest import ASK, Recorded

if TYPE_CHECKING:
    from pathlib import Path

    import openai

SEARCH: dict[str, Any] = {
    "id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "tree"},
}  # fmt: skip
PYTHON: dict[str, Any] = {
    "id": "ci_1", "type": "code_interpreter_call", "status": "completed", "container_id": "c_1", "code": "1",
    "outputs": [],
}  # fmt: skip
ANSWER: dict[str, Any] = {
    **RESPONSE,
    "model": "gpt-4o",
    "service_tier": "default",
    "output": [SEARCH, SEARCH, PYTHON, PYTHON, *RESPONSE["output"]],
    "tools": [{"type": "web_search"}],
}
# 16 plain, 10 cached, 4 written and 12 out at 2.5, 1.25, 2.5 and 10 per million; two searches, one container
COST = Decimal("0.0501825")


def units(event: Any) -> Any:
    return event.get("usage_details", {}).get("units")


def test_searches_and_containers_of_an_answer_are_charged(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(document(ANSWER))
    client.responses.create(model="gpt-4o", input="tree")
    assert units(recorded.event) == {"web_search": 2, "container": 1}
    assert Decimal(str(recorded.event["estimated_cost"])) == COST


def test_those_of_a_streamed_answer_are_charged(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(Reply(events([{"type": "response.completed", "sequence_number": 1, "response": ANSWER}])))
    for _ in client.responses.create(model="gpt-4o", input="tree", stream=True):
        pass
    assert Decimal(str(recorded.event["estimated_cost"])) == COST


def test_a_search_of_an_answer_that_was_left_is_counted(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    started = {"type": "response.created", "sequence_number": 0,
               "response": {**ANSWER, "status": "in_progress", "output": [], "usage": None}}  # fmt: skip
    done = {"type": "response.output_item.done", "sequence_number": 1, "output_index": 0, "item": SEARCH}
    server.script.append(Reply(events([started, done, {**done, "sequence_number": 2}])))
    with client.responses.create(model="gpt-4o", input="tree", stream=True) as stream:
        for part in stream:
            if part.type == "response.output_item.done":
                break
    event = recorded.event
    assert (event["status"], units(event)) == ("cancelled", {"web_search": 1})
    assert event["usage_source"] != "reported"


def test_an_answer_without_tools_has_no_details(client: openai.OpenAI, recorded: Recorded) -> None:
    client.chat.completions.create(**ASK)
    assert "usage_details" not in recorded.event


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({}, "priced"),
        ({"trusted_costs": ["127.0.0.1"]}, "provider"),
        ({"providers": {"127.0.0.1": "openrouter"}}, "provider"),
    ],
)
def test_a_charge_counts_where_the_customer_names_the_host(
    settings: dict[str, Any], source: str, client: openai.OpenAI, server: OpenAIServer, recorded: Recorded, home: Path
) -> None:
    ingest.configure(database=recorded.database, flush_interval_s=3600, home=home, **settings)
    server.script.append(Reply(frames([chunk("a", finish="stop", usage={
        "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, "cost": 48213})])))  # fmt: skip
    for _ in client.chat.completions.create(**ASK, stream=True):
        pass
    event = recorded.event
    assert event["cost_source"] == source
    assert ("usage_details" in event) == (source == "priced")
    assert event["provider"] == settings.get("providers", {}).get("127.0.0.1", "openai")


def test_what_the_product_says_of_the_provider_decides_the_unit(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded, home: Path
) -> None:
    ingest.configure(database=recorded.database, flush_interval_s=3600, home=home)
    server.script.append(Reply(frames([chunk("a", finish="stop", usage={
        "prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9, "cost": 0.25})])))  # fmt: skip
    with ingest.usage_context(provider="openrouter"):
        for _ in client.chat.completions.create(**ASK, stream=True):
            pass
    assert (recorded.event["cost_source"], recorded.event["estimated_cost"]) == ("provider", "0.25")


SHELL: dict[str, Any] = {
    "id": "sh_1", "type": "shell_call", "status": "completed", "call_id": "c", "action": {"commands": ["ls"]},
    "environment": {"type": "container_reference", "container_id": "c_2"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("items", "tools", "expected"),
    [
        ([SHELL, SHELL], [{"type": "shell", "environment": {"type": "container_auto"}}], {"container": 1}),
        (
            [SHELL],
            [{"type": "shell", "environment": {"type": "container_auto", "memory_limit": "4g"}}],
            {"container:4g": 1},
        ),
        ([SHELL, PYTHON], [{"type": "shell"}, {"type": "code_interpreter"}], {"container": 2}),
        (
            [{**SHELL, "environment": None}],
            [{"type": "shell", "environment": {"type": "container_auto"}}],
            {"container": 1},
        ),
        ([{**SHELL, "environment": {"type": "local"}}], [{"type": "shell", "environment": {"type": "local"}}], {}),
        ([{**SHELL, "environment": None}], [{"type": "shell", "environment": {"type": "local"}}], {}),
        ([{"type": "local_shell_call", "id": "l", "status": "completed"}], [{"type": "local_shell"}], {}),
    ],
)
def test_hosted_shells_are_charged_by_container_and_local_ones_not(
    items: list[dict[str, Any]], tools: list[dict[str, Any]], expected: dict[str, int]
) -> None:
    assert count_items(items, tools) == expected
