"""What providers report, in their own words: what must be recorded of it and what it costs."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

import ingest
from ingest.tracking.usage import read_usage
from pricing import PriceBook, extract_usage
from pricing.charge import charge
from pricing.tools import count_items
from tests.conformance.cases import CASES, ROWS, Case
from tests.unit.record.fakes import FakeDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.database import Argument, JsonValue
    from ingest.record.event import Event

_EXPECTED = {
    "input": "prompt_tokens",
    "output": "completion_tokens",
    "cached": "cached_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "reasoning": "reasoning_tokens",
    "audio_input": "audio_input_tokens",
    "image_input": "image_input_tokens",
}
BOOK = PriceBook(ROWS)


@pytest.fixture(autouse=True, scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDatabase]:
    """A process that records into memory, with the figures of `ROWS` as the customer's."""
    database = _Database()
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("SUPABASE_", "TREERING_", "ENABLE_OBSERVABILITY")):
                patch.delenv(name)
        ingest.configure(database=database, home=tmp_path_factory.mktemp("home"), flush_interval_s=3600)
        yield database
        ingest.shutdown(0)


class _Database(FakeDatabase):
    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        if function == "get_prices":
            return {"prices": [{**row, "price_id": 1, "model": row["models"][0], "models": None} for row in ROWS]}
        return super().call(function, **arguments)


def recorded(database: FakeDatabase, arguments: dict[str, Any]) -> Event:
    """Record a call and return its event as it reaches the database, charged."""
    said = {name: value for name, value in arguments.items() if name != "flags"}
    event_id = ingest.record_usage(user_id="user_a", **{"prompt_tokens": 0, "completion_tokens": 0, **said})
    assert ingest.flush(30)
    return database.usage[str(event_id)]


@pytest.mark.parametrize("case", [case for case in CASES if not case.is_recorded_by_hand], ids=lambda case: case.id)
def test_what_a_provider_reports_is_counted_and_charged(database: FakeDatabase, case: Case) -> None:
    line = case.line
    found = extract_usage(
        line["usage"],
        provider=line["provider"],
        model=line["model"],
        operation=case.operation,
        answer=case.answer,
    )
    for name, count in line["expect"].items():
        assert getattr(found.usage, _EXPECTED[name]) == count, name
    reported = read_usage(
        line["usage"],
        provider=line["provider"],
        model=line["model"],
        operation=case.operation,
        answer=case.answer,
    )
    assert reported is not None
    event = recorded(database, {"provider": line["provider"], "model": line["model"], **reported})
    assert _cost(event) == case.cost
    assert (event["cost_source"] == "unpriced") == (case.cost is None)


@pytest.mark.parametrize("case", [case for case in CASES if case.is_recorded_by_hand], ids=lambda case: case.id)
def test_what_a_developer_records_is_charged(database: FakeDatabase, case: Case) -> None:
    line = case.line
    event = recorded(database, {"provider": line["provider"], "model": line["model"], **line["usage"]})
    assert _cost(event) == case.cost
    assert (event["cost_source"] == "unpriced") == (case.cost is None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_cost_is_the_same_when_the_worker_charges_the_stored_event(database: FakeDatabase, case: Case) -> None:
    line = case.line
    reported = read_usage(line["usage"], provider=line["provider"], model=line["model"], operation=case.operation,
                          answer=case.answer)  # fmt: skip
    known = reported if reported is not None and not case.is_recorded_by_hand else line["usage"]
    event = recorded(database, {"provider": line["provider"], "model": line["model"], **known})
    stored = {key: value for key, value in json.loads(json.dumps(event)).items() if key != "estimated_cost"}
    assert charge(stored, BOOK, "gpt-4o").total == case.cost


def test_a_refund_is_marked_as_an_adjustment(database: FakeDatabase) -> None:
    event = recorded(database, {"provider": "openai", "model": "gpt-4o", "prompt_tokens": 0, "completion_tokens": 0,
                      "provider_cost": "-0.5"})  # fmt: skip
    assert (event["estimated_cost"], event["cost_source"]) == ("-0.5", "provider")
    assert _flags(event) == ["cost:adjustment"]


def test_a_fee_on_an_unpriced_model_counts_and_the_rest_is_named(database: FakeDatabase) -> None:
    event = recorded(database, {"provider": "vllm", "model": "my-model", "prompt_tokens": 10, "completion_tokens": 1,
                      "request_fees": "0.01"})  # fmt: skip
    assert event["estimated_cost"] == "0.01"
    assert _flags(event) == ["cost:tokens_unpriced"]


def test_searches_of_a_model_without_a_price_count(database: FakeDatabase) -> None:
    event = recorded(database, {"provider": "anthropic", "model": "claude-next", "prompt_tokens": 10,
                                "completion_tokens": 1, "units": {"web_search": 3}})  # fmt: skip
    assert event["estimated_cost"] == "0.03"
    assert _flags(event) == ["cost:tokens_unpriced"]


def test_a_gateways_figure_is_kept_and_flagged(database: FakeDatabase) -> None:
    reported = read_usage({"prompt_tokens": 1000, "completion_tokens": 100, "cost": 48213}, provider="gw.example.com")
    assert reported is not None
    event = recorded(database, {"provider": "gw.example.com", "model": "gpt-4o", **reported})
    assert event["estimated_cost"] == "0.0035000"
    assert event["usage_details"] == {"reported_cost": "48213"}
    assert _flags(event) == ["reported_cost:differs"]


def test_a_gateways_figure_near_the_books_is_not_flagged(database: FakeDatabase) -> None:
    event = recorded(database, {"provider": "gw.example.com", "model": "gpt-4o", "prompt_tokens": 1000,
                                "completion_tokens": 100, "reported_cost": "0.0069"})  # fmt: skip
    assert _flags(event) == []


def test_calls_in_one_container_are_one_session() -> None:
    calls = [{"type": "code_interpreter_call", "container_id": name} for name in ("c1", "c1", "c2")]
    assert count_items(calls) == {"container": 2}
    tools = [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}]
    assert count_items(calls, tools) == {"container:4g": 2}


def test_the_version_of_a_search_decides_its_fee() -> None:
    assert count_items(["web_search_call"], ["web_search_preview_2025_03_11"]) == {"web_search:preview": 1}
    assert count_items(["web_search_call"], ["web_search_2025_08_26"]) == {"web_search": 1}


def test_opening_a_page_is_no_search() -> None:
    calls = [{"type": "web_search_call", "action": {"type": kind}} for kind in ("search", "open_page", "find_in_page")]
    assert count_items(calls, ["web_search"]) == {"web_search": 1}


def _cost(event: Event) -> Decimal | None:
    return Decimal(str(event["estimated_cost"])) if "estimated_cost" in event else None


def _flags(event: Event) -> Any:
    metadata = event.get("metadata")
    return metadata.get("treering_flags", []) if isinstance(metadata, dict) else []
