"""`record_response` records an answer of any maker, once."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from google.genai import types

import ingest
from ingest.record import capture
from ingest.tracking import seen
from tests.support.maker_server import (
    BEDROCK,
    CLAUDE,
    GEMINI,
    GEMINI_USAGE,
    converse_answer,
    generation,
    message,
)
from tests.support.openai_server import RESPONSE, OpenAIServer, completion
from tests.unit.tracking.conftest import ASK

if TYPE_CHECKING:
    from tests.unit.tracking.conftest import Recorded

CHAT = {
    "provider": "openai", "operation": "chat", "model": "gpt-4o-2024-08-06", "prompt_tokens": 21,
    "completion_tokens": 5, "cached_tokens": 8, "response_id": "chatcmpl-1", "finish_reason": "stop",
    "created_at": "2025-11-24T16:00:00+00:00",
}  # fmt: skip
MESSAGE = {
    "provider": "anthropic", "operation": "chat", "model": CLAUDE, "prompt_tokens": 129, "completion_tokens": 5,
    "cached_tokens": 100, "cache_write_tokens": 8, "response_id": "msg_1", "estimated_cost": "0.00019800",
}  # fmt: skip
GENERATION = {
    "provider": "google", "model": GEMINI, "prompt_tokens": 21, "completion_tokens": 12, "reasoning_tokens": 7,
    "cached_tokens": 8, "response_id": "resp_g1",
}  # fmt: skip
RESPONDED = {
    "operation": "responses", "prompt_tokens": 30, "completion_tokens": 12, "service_tier": "flex",
    "response_id": "resp_1",
}  # fmt: skip
EMBEDDED = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.25]}],
            "model": "text-embedding-3-small", "usage": {"prompt_tokens": 7, "total_tokens": 7}}  # fmt: skip
GENERATED = generation("Water it.", finish="STOP", usageMetadata=GEMINI_USAGE)
CONVERSED = {**converse_answer(), "ResponseMetadata": {"RequestId": "request-1"}}
COHERE = {"id": "co-1", "message": {"role": "assistant"}, "finish_reason": "COMPLETE",
          "usage": {"billed_units": {"input_tokens": 20, "output_tokens": 6},
                    "tokens": {"input_tokens": 200}}}  # fmt: skip

ANSWERS: list[tuple[str, Any, dict[str, Any]]] = [
    ("chat", openai.types.chat.ChatCompletion.model_validate(completion()), CHAT),
    ("chat as a dictionary", completion(), CHAT),
    ("responses", openai.types.responses.Response.model_validate(RESPONSE), RESPONDED),
    ("responses as a dictionary", RESPONSE, RESPONDED),
    ("embeddings", EMBEDDED, {"operation": "embeddings", "prompt_tokens": 7, "completion_tokens": 0}),
    ("message", anthropic.types.Message.model_validate(message()), MESSAGE),
    ("message as a dictionary", message(), MESSAGE),
    ("generation", types.GenerateContentResponse.model_validate(GENERATED), GENERATION),
    ("generation as a dictionary", GENERATED, GENERATION),
    ("converse", CONVERSED, {"provider": "aws", "prompt_tokens": 129, "completion_tokens": 5,
                             "response_id": "request-1"}),
    ("Cohere", COHERE, {"prompt_tokens": 20, "completion_tokens": 6, "response_id": "co-1"}),
    ("Claude behind OpenAI's API", completion(model="claude-sonnet-4-5"),
     {"provider": "anthropic", "prompt_tokens": 21, "completion_tokens": 5}),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "expected"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_an_answer_is_recorded_with_what_it_says(answer: Any, expected: dict[str, Any], recorded: Recorded) -> None:
    made = ingest.record_response(answer, user_id="user_1", feature="garden")
    event = recorded.event
    assert {name: event.get(name) for name in expected} == expected
    assert (event["user_id"], event["feature"], event["usage_source"]) == ("user_1", "garden", "reported")
    assert made is not None
    assert event["event_id"] in (made.hex, str(made))


def test_what_is_said_wins_and_context_holds(recorded: Recorded) -> None:
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    with ingest.usage_context(user_id="user_1", session_id="s"):
        ingest.record_response(
            CONVERSED, model=BEDROCK, session_id="t", created_at=at, latency_ms=12.5, provider_cost=Decimal("0.5")
        )
    event = recorded.event
    expected = {"user_id": "user_1", "session_id": "t", "model": BEDROCK, "latency_ms": 12.5,
                "estimated_cost": "0.5", "created_at": "2026-05-01T12:00:00+00:00"}  # fmt: skip
    assert {name: event[name] for name in expected} == expected


def test_an_answer_is_recorded_once_in_a_process_and_once_for_all_by_its_time(recorded: Recorded) -> None:
    first = ingest.record_response(completion())
    assert ingest.record_response(completion()) is None
    seen.forget()  # as another process begins
    assert ingest.record_response(completion()) == first
    assert len(recorded.events) == 1
    assert capture.stats().recorded == 2  # the database stores a repeated id once
    seen.forget()
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    made = {ingest.record_response(message(id="msg_2"), created_at=at)}
    seen.forget()
    assert made == {ingest.record_response(message(id="msg_2"), created_at=at)}
    assert len(recorded.events) == 2


def test_what_a_tracked_client_has_recorded_is_left_out(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    assert ingest.record_response(client.chat.completions.create(**ASK)) is None
    assert len(server.requests) == 1
    assert recorded.event["response_id"] == "chatcmpl-1"


def test_who_made_the_call_leaves_out_what_was_told_before(client: openai.OpenAI, recorded: Recorded) -> None:
    stream = client.chat.completions.create(**ASK, stream=True)
    ingest.record_response(completion(), user_id="user_1")
    list(stream)
    assert recorded.event["user_id"] == "user_1"
    list(client.chat.completions.create(**ASK, stream=True))  # a server that repeats its ids is none of ours
    assert len(recorded.events) == 2


def item(kind: str, number: int, **fields: Any) -> anthropic.types.messages.MessageBatchIndividualResponse:
    result = {"type": kind, **fields}
    return anthropic.types.messages.MessageBatchIndividualResponse.model_validate(
        {"custom_id": f"question-{number}", "result": result}
    )


def test_the_results_of_a_batch_have_batch_prices_and_failures_cost_nothing(recorded: Recorded) -> None:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "secret"}}
    results = [
        item("succeeded", 1, message=message()),
        item("errored", 2, error=error),
        item("expired", 3),
    ]
    assert [ingest.record_response(result) is not None for result in results] == [True, False, False]
    event = recorded.event
    assert (event["service_tier"], event["prompt_tokens"]) == ("batch", 129)
    assert Decimal(str(event["estimated_cost"])) == Decimal("0.000198") / 2


def test_an_answer_without_usage_has_no_cost(recorded: Recorded) -> None:
    ingest.record_response(completion(usage=None))
    event = recorded.event
    metadata: Any = event["metadata"]
    assert "usage:unknown" in metadata["treering_flags"]
    assert (event.get("estimated_cost"), event["usage_source"]) == (None, "heuristic")


def test_counts_of_the_caller_stand_in_for_a_missing_usage(recorded: Recorded) -> None:
    ingest.record_response(completion(usage=None), prompt_tokens=3, completion_tokens=4)
    assert (recorded.event["prompt_tokens"], recorded.event["completion_tokens"]) == (3, 4)


@pytest.mark.parametrize("junk", [None, object(), "text", 3, {}, {"a": 1}, [1]])
def test_what_is_no_answer_is_logged_and_left_out(
    junk: Any, recorded: Recorded, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingest.notices import Notices

    monkeypatch.setattr("ingest.tracking.response._NOTICES", Notices())
    assert ingest.record_response(junk) is None
    assert "does not know what a" in caplog.text
    assert recorded.events == []


def test_an_unknown_field_is_refused(recorded: Recorded) -> None:
    with pytest.raises(TypeError, match="usr_id"):
        ingest.record_response(completion(), usr_id="user_1")
    assert recorded.events == []
