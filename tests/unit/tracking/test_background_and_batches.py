"""Answers that come later are recorded once: background responses by their id, the lines of a batch by theirs."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ingest
from ingest.tracking import background_responses
from tests.support.openai_server import RESPONSE, OpenAIServer, Reply, completion, document, events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.tracking.conftest import Recorded

DONE: dict[str, Any] = {**RESPONSE, "id": "resp_b", "background": True, "completed_at": 1764000090}
QUEUED: dict[str, Any] = {**DONE, "status": "queued", "output": [], "usage": None, "completed_at": None}
ASK: dict[str, Any] = {"model": "gpt-4o", "input": "How do I keep it alive?"}


needs_responses = pytest.mark.skipif(not hasattr(openai.OpenAI, "responses"), reason="newer than this version")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What one test has recorded is new to the next, as it is to another process."""
    yield
    background_responses._waiting.clear()
    background_responses._recorded.clear()


def check(recorded: Recorded, **fields: Any) -> None:
    event = recorded.event
    expected = {
        "operation": "responses", "prompt_tokens": 30, "completion_tokens": 12, "status": "ok",
        "response_id": "resp_b", "created_at": "2025-11-24T16:00:00+00:00", "latency_ms": 90_000.0, **fields,
    }  # fmt: skip
    assert {name: event.get(name) for name in expected} == expected


@needs_responses
def test_a_background_response_is_recorded_when_it_has_ended(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.extend(document(body) for body in (QUEUED, QUEUED, DONE, DONE))
    with ingest.usage_context(user_id="user_1"):
        client.responses.create(**ASK, background=True)
    assert recorded.events == []
    for _ in range(3):
        client.responses.retrieve("resp_b")
    check(recorded, user_id="user_1")
    assert recorded.event["prompt_hash"]


@needs_responses
def test_another_process_that_sees_it_too_stores_no_second_row(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.extend(document(body) for body in (QUEUED, DONE, DONE))
    client.responses.create(**ASK, background=True)
    client.responses.retrieve("resp_b")
    background_responses._waiting.clear()
    background_responses._recorded.clear()

    async def poll() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=server.url) as other:
            await ingest.track(other).responses.retrieve("resp_b")

    asyncio.run(poll())
    check(recorded)
    assert (ingest.stats().recorded, ingest.stats().stored) == (2, 1)


@needs_responses
def test_a_background_stream_that_is_left_goes_on_elsewhere(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    created = {"type": "response.created", "sequence_number": 0, "response": QUEUED}
    completed = {"type": "response.completed", "sequence_number": 1, "response": DONE}
    server.script.extend([Reply(events([created, created])), Reply(events([created, completed]))])
    with ingest.usage_context(user_id="user_1"), client.responses.create(**ASK, background=True, stream=True) as stream:
        next(iter(stream))
    assert recorded.events == []
    assert len(list(client.responses.retrieve("resp_b", stream=True))) == 2
    check(recorded, user_id="user_1")


@needs_responses
def test_a_background_response_that_was_stopped_is_cancelled(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.extend(document(body) for body in (QUEUED, {**DONE, "status": "cancelled"}))
    client.responses.create(**ASK, background=True)
    client.responses.cancel("resp_b")
    check(recorded, status="cancelled")


@needs_responses
def test_looking_at_an_answer_again_leaves_no_row(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.extend([document(RESPONSE), document({"error": {"message": "gone"}}, 404)])
    client.responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_2")
    assert recorded.events == []


BATCH = {"id": "batch_1", "endpoint": "/v1/chat/completions", "completed_at": 1764003600, "status": "completed"}
ANSWERED = {"id": "batch_req_1", "custom_id": "a", "error": None,
            "response": {"status_code": 200, "request_id": "r1", "body": completion()}}  # fmt: skip
REFUSED = {"id": "batch_req_2", "custom_id": "b", "error": None,
           "response": {"status_code": 400, "body": {"error": {"code": "context_length_exceeded"}}}}  # fmt: skip
EXPIRED = {"id": "batch_req_3", "custom_id": "c", "response": None, "error": {"code": "batch_expired", "message": "x"}}
FILE = "\n".join(json.dumps(line) for line in (ANSWERED, REFUSED, EXPIRED)) + "\n"
# 21 in at 1.25, the cached ones too, and 5 out at 5.00 per million
BATCH_COST = "0.00005125"


def test_lines_of_a_batch_are_recorded_once_at_its_price(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(FILE)
    forms: list[Any] = [FILE, FILE.encode(), path, FILE.splitlines(), SimpleNamespace(content=FILE.encode())]
    forms.append(iter([ANSWERED, REFUSED, EXPIRED]))
    for form in forms:
        assert ingest.record_batch(BATCH, form, fields_of=lambda name: {"user_id": f"user_{name}"}, feature="f") == 3
    first, second, third = recorded.events
    expected = {
        "user_id": "user_a", "feature": "f", "operation": "chat", "service_tier": "batch", "prompt_tokens": 21,
        "created_at": "2025-11-24T17:00:00+00:00", "estimated_cost": BATCH_COST, "latency_ms": None,
    }  # fmt: skip
    assert {name: first.get(name) for name in expected} == expected
    assert [event["error_type"] for event in (second, third)] == ["context_length_exceeded", "batch_expired"]
    assert [float(str(event["estimated_cost"])) for event in (second, third)] == [0, 0]
    assert "living" not in json.dumps(recorded.events)


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("batch", "output", "error"),
    [
        ({"id": "b"}, FILE, ValueError),
        (BATCH, "no json", ValueError),
        (BATCH, "[]", ValueError),
        (BATCH, 5, TypeError),
    ],
)
def test_what_is_no_batch_is_refused(batch: Any, output: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        ingest.record_batch(batch, output)


@pytest.mark.usefixtures("recorded")
def test_what_is_no_field_of_a_context_is_refused() -> None:
    with pytest.raises(TypeError, match="prompt_tokens"):
        ingest.record_batch(BATCH, FILE, prompt_tokens=5)
