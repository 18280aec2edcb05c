"""Errors of calls: their kinds, and the attempts that the client makes again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ingest
from tests.support.openai_server import OpenAIServer, Reply, completion, document
from tests.unit.tracking.conftest import ASK

if TYPE_CHECKING:
    from tests.unit.tracking.conftest import Recorded

TOO_MANY = {"error": {"message": "slow down", "type": "rate_limit", "code": None}}


def test_an_error_is_the_librarys_own_and_is_recorded(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(document(TOO_MANY, 429))
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**ASK)
    event = recorded.event
    assert (event["status"], event["error_type"], event["prompt_tokens"]) == ("error", "RateLimitError", 0)


def test_an_error_inside_an_answer_of_200_is_recorded(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(document({"error": {"message": "secret", "code": 502}, "choices": None}))
    client.chat.completions.create(**ASK)
    event = recorded.event
    assert (event["status"], event["error_type"]) == ("error", "http_502")
    assert "secret" not in str(event)


def test_a_refused_attempt_is_no_row_but_counts_as_an_attempt(server: OpenAIServer, recorded: Recorded) -> None:
    server.script += [document(TOO_MANY, 429, **{"retry-after-ms": "1"}), document(completion())]
    with openai.OpenAI(api_key="k", base_url=server.url, max_retries=2) as client:
        ingest.track(client).chat.completions.create(**ASK)
    event = recorded.event
    assert (event["attempt"], event["status"]) == (2, "ok")
    assert event["request_group_id"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_retried_call_has_the_times_of_its_own_attempt_and_the_wait_apart(
    is_async: bool, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script += [document(TOO_MANY, 429, **{"retry-after-ms": "300"}), document(completion())]
    with ingest.usage_context(user_id="user_1", metadata={"team": "a"}):
        if is_async:

            async def ask() -> None:
                async with openai.AsyncOpenAI(api_key="k", base_url=server.url, max_retries=1) as client:
                    await ingest.track(client).chat.completions.create(**ASK)

            asyncio.run(ask())
        else:
            with openai.OpenAI(api_key="k", base_url=server.url, max_retries=1) as client:
                ingest.track(client).chat.completions.create(**ASK)
    event: Any = recorded.event
    assert event["metadata"]["team"] == "a"
    assert event["metadata"]["treering_retried_ms"] >= 300
    assert event["latency_ms"] < 300
    assert event["attempt"] == 2


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, "insufficient_quota"),
        (429, {"code": "rate_limit_exceeded", "type": "requests"}, "rate_limit_exceeded"),
        (400, {"code": "context_length_exceeded", "type": "invalid_request_error"}, "context_length_exceeded"),
        (429, {"code": "429", "message": "Azure's way"}, "RateLimitError"),
        (400, {"code": None, "type": "invalid_request_error"}, "BadRequestError"),
        (400, {"code": "no name: secret words"}, "BadRequestError"),
    ],
)
def test_the_providers_code_says_what_kind_of_error_it_is(
    status: int, error: dict[str, Any], expected: str, client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    server.script.append(document({"error": {"message": "no", **error}}, status))
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(**ASK)
    assert (recorded.event["status"], recorded.event["error_type"]) == ("error", expected)


def test_an_attempt_that_timed_out_is_a_row_of_its_own(
    server: OpenAIServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai._base_client.time.sleep", lambda _: None)
    server.script += [Reply((), ending="stall"), document(completion())]
    with openai.OpenAI(api_key="k", base_url=server.url, max_retries=1, timeout=1.5) as client:
        ingest.track(client).chat.completions.create(**ASK)
    lost, whole = sorted(recorded.events, key=lambda event: str(event["attempt"]))
    assert (lost["status"], lost["error_type"], lost["prompt_tokens"]) == ("error", "ReadTimeout", 23)
    assert (whole["status"], whole["attempt"], whole["prompt_tokens"]) == ("ok", 2, 21)
    assert lost["request_group_id"] == whole["request_group_id"] is not None
