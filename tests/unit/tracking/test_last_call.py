"""Tokens and cost of the call just made, before the database has them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import ingest
from ingest.testing import recorded as collecting
from ingest.tracking import background
from tests.support.openai_server import chunk, completion, document
from tests.unit.tracking.conftest import ASK

if TYPE_CHECKING:
    import openai
    import pytest

    from ingest import RecordedCall
    from tests.support.openai_server import OpenAIServer
    from tests.unit.tracking.conftest import Recorded


def last() -> RecordedCall:
    call = ingest.last_call()
    assert call is not None
    return call


def record(**fields: Any) -> None:
    ingest.record_usage(**{"user_id": "a", "model": "gpt-4o", "prompt_tokens": 150, "completion_tokens": 50, **fields})


def test_a_call_has_its_cost_before_it_is_sent(recorded: Recorded) -> None:
    record()
    assert recorded.database.usage == {}
    # gpt-4o: 150 at 2.50 $ and 50 at 10 $ a million
    assert (last().cost, last().cost_source) == (Decimal("0.000875"), "priced")
    assert (last().model, last().prompt_tokens, last().completion_tokens) == ("gpt-4o", 150, 50)
    assert last().as_header() == 'model="gpt-4o", prompt_tokens=150, completion_tokens=50, cost_usd="0.000875"'
    assert str(last().event_id) == recorded.event["event_id"]
    assert Decimal(str(recorded.event["estimated_cost"])) == last().cost


def test_what_is_not_known_is_left_out_of_the_header(recorded: Recorded) -> None:
    ingest.configure(database=recorded.database, flush_interval_s=3600, fallback_model="")
    record(model='no"body\\s\n mod\N{LATIN SMALL LETTER E WITH ACUTE}l')
    assert (last().cost, last().cost_source) == (None, "unpriced")
    assert last().as_header() == 'model="nobodys modl", prompt_tokens=150, completion_tokens=50'


def test_a_call_of_a_client_and_a_stream_are_there_when_they_end(client: openai.OpenAI) -> None:
    client.chat.completions.create(**ASK)
    first = last()
    assert (first.prompt_tokens, first.completion_tokens) == (21, 5)
    stream = client.chat.completions.create(**ASK, stream=True)
    assert last() is first
    list(stream)
    assert last() is not first
    assert last().fields["streamed"] is True


def test_what_no_provider_counted_is_there_once_it_is_counted(client: openai.OpenAI, server: OpenAIServer) -> None:
    server.script.append(document(completion(usage=None)))
    client.chat.completions.create(**ASK)
    call = last()
    background.settle(30)
    assert call.is_counted
    assert call.fields["usage_source"] == "tokenizer"
    assert call.cost is not None


def test_a_call_whose_tokens_are_not_counted_yet_knows_nothing() -> None:
    call = ingest.RecordedCall()
    assert (call.is_counted, call.cost, call.cost_source, call.as_header(), call.fields) == (False, None, None, "", {})


def test_each_task_and_thread_has_its_own(recorded: Recorded) -> None:
    async def ask(model: str) -> str | None:
        record(model=model)
        await asyncio.sleep(0)
        return last().model

    async def run() -> list[str | None]:
        return [*await asyncio.gather(ask("gpt-4o"), ask("gpt-4o-mini"))]

    assert asyncio.run(run()) == ["gpt-4o", "gpt-4o-mini"]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ingest.last_call).result() is None
    assert recorded.database is not None


def test_a_listener_is_told_of_each_call_and_its_faults_are_logged(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str | None] = []

    def listen(call: RecordedCall) -> None:
        heard.append(call.model)
        raise ValueError("secret words")

    ingest.configure(database=recorded.database, flush_interval_s=3600, on_record=listen)
    record()
    ingest.record_performance(route="/", method="GET", status_code=200, latency_ms=1.0)
    list(ingest.track_stream(iter([chunk("a"), chunk(choices=[], usage={"prompt_tokens": 1, "completion_tokens": 1})])))
    assert heard == ["gpt-4o", "gpt-4o-2024-08-06"]
    assert "on_record failed: ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_in_the_tests_of_a_backend_it_has_the_price_of_the_block() -> None:
    with collecting(price=True):
        record()
        assert last().cost == Decimal("0.000875")
    with collecting():
        record()
        assert last().cost is None
