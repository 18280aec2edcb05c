"""`track` of Anthropic's clients: the same objects come back, and every message is recorded once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import pytest

import ingest
from tests.support.maker_server import CLAUDE, MakerServer, message, message_events, tool_events
from tests.support.openai_server import Reply, document, events
from tests.unit.tracking.makers.conftest import check, each_way_of_leaving, leave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.tracking.conftest import Recorded

ASK: dict[str, Any] = {
    "model": "claude-opus-4-8",
    "max_tokens": 99,
    "system": "You are a gardener.",
    "messages": [{"role": "user", "content": "How do I keep it alive?"}],
}
# 21 + 100 read from the cache + 8 written to it. Dollars a million calls: 21 at 3, 100 at 0.3, 8 at 3.75, 5 at 15: 198.
WHOLE = {
    "provider": "anthropic", "operation": "chat", "model": CLAUDE, "prompt_tokens": 129, "completion_tokens": 5,
    "cached_tokens": 100, "cache_write_tokens": 8, "status": "ok", "finish_reason": "stop", "usage_source": "reported",
    "response_id": "msg_1", "max_output_tokens": 99, "estimated_cost": "0.00019800", "attempt": 1,
}  # fmt: skip


@pytest.fixture
def client(recorded: Recorded, makers: MakerServer) -> Iterator[anthropic.Anthropic]:
    assert recorded.database.usage == {}
    with anthropic.Anthropic(api_key="k", base_url=makers.root, max_retries=0) as client:
        assert ingest.track(client) is client
        yield client


def read_by_helper(client: anthropic.Anthropic) -> None:
    with client.messages.stream(**ASK) as stream:
        assert type(stream) is anthropic.MessageStream
        assert "".join(stream.text_stream) == "Water your living tree."
        assert stream.get_final_message().usage.output_tokens == 5


def read_raw(client: anthropic.Anthropic) -> None:
    raw: Any = client.messages.with_raw_response.create(**ASK, stream=True)
    assert [event.type for event in raw.parse()][-1] == "message_stop"


def read_lines(client: anthropic.Anthropic) -> None:
    with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
        assert any("message_stop" in line for line in response.iter_lines())


def read_events(client: anthropic.Anthropic) -> None:
    stream = client.messages.create(**ASK, stream=True)
    assert type(stream) is anthropic.Stream
    assert [event.type for event in stream][-1] == "message_stop"


def read_beta(client: anthropic.Anthropic) -> None:
    stream: Any = client.beta.messages.create(**ASK, betas=["x"], stream=True)
    assert len(list(stream)) == len(message_events()) - 1  # the library keeps pings to itself


@pytest.mark.parametrize("read", [read_events, read_by_helper, read_raw, read_lines, read_beta])
def test_a_stream_is_recorded_however_it_is_read(
    read: Callable[[anthropic.Anthropic], None], client: anthropic.Anthropic, recorded: Recorded
) -> None:
    with ingest.usage_context(user_id="user_1", session_id="s", feature="garden"):
        read(client)
    event = recorded.event
    check(event, **WHOLE, streamed=True, user_id="user_1", session_id="s", feature="garden")
    assert 0 < event["time_to_first_token_ms"] <= event["latency_ms"]  # type: ignore[operator]
    assert len(str(event["prompt_hash"])) == 32


def test_whole_messages_are_recorded_and_counting_is_not(client: anthropic.Anthropic, recorded: Recorded) -> None:
    answers = [
        client.messages.create(**ASK),
        client.beta.messages.create(**ASK),
        client.messages.with_raw_response.create(**ASK).parse(),
        client.with_options(timeout=9).messages.create(**ASK),
    ]
    client.messages.count_tokens(model=ASK["model"], messages=ASK["messages"])
    assert [answer.usage.output_tokens for answer in answers] == [5] * 4
    assert type(answers[0]) is anthropic.types.Message
    assert len(recorded.events) == 4
    for event in recorded.events:
        check(event, **WHOLE, streamed=None)


def test_asynchronous_messages_are_recorded(makers: MakerServer, recorded: Recorded) -> None:
    async def read() -> None:
        async with anthropic.AsyncAnthropic(api_key="k", base_url=makers.root, max_retries=0) as plain:
            client = ingest.track(plain)
            assert type(await client.messages.create(**ASK)) is anthropic.types.Message
            async for _ in await client.messages.create(**ASK, stream=True):
                pass
            async with client.messages.stream(**ASK) as stream:
                assert "".join([text async for text in stream.text_stream]) == "Water your living tree."

    asyncio.run(read())
    assert len(recorded.events) == 3
    for event in recorded.events:
        check(event, **WHOLE)


@each_way_of_leaving
def test_a_stream_that_is_left_keeps_the_exact_input_and_estimates_the_output(
    way: str, client: anthropic.Anthropic, makers: MakerServer, recorded: Recorded
) -> None:
    start, _, _, word, *_ = message_events()
    makers.script.append(Reply(events([start, word, word]), ending="stall"))
    stream = client.messages.create(**ASK, stream=True)
    for _ in range(2):
        next(stream)
    leave(stream, way)
    del stream
    check(
        recorded.event, status="cancelled", prompt_tokens=129, cached_tokens=100, cache_write_tokens=8,
        completion_tokens=2, usage_source="heuristic", streamed=True,
    )  # fmt: skip


def test_a_cancelled_task_is_recorded_as_cancelled(makers: MakerServer, recorded: Recorded) -> None:
    makers.script.append(Reply(events(message_events()[:4]), ending="stall"))

    async def read() -> None:
        async with anthropic.AsyncAnthropic(api_key="k", base_url=makers.root, max_retries=0) as client:
            came = asyncio.Event()

            async def consume() -> None:
                async for event in await ingest.track(client).messages.create(**ASK, stream=True):
                    if event.type == "content_block_delta":
                        came.set()

            task = asyncio.create_task(consume())
            await came.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(read())
    check(recorded.event, status="cancelled", prompt_tokens=129, completion_tokens=1, usage_source="heuristic")


def test_a_stream_without_its_end_is_an_error(
    client: anthropic.Anthropic, makers: MakerServer, recorded: Recorded
) -> None:
    makers.script.append(Reply(events(message_events()[:5])))
    list(client.messages.create(**ASK, stream=True))
    check(recorded.event, status="error", error_type="stream_ended_early", prompt_tokens=129, completion_tokens=2)


def test_a_call_of_a_tool_is_recorded(client: anthropic.Anthropic, makers: MakerServer, recorded: Recorded) -> None:
    makers.script.append(Reply(events(tool_events())))
    tool: Any = {"name": "water", "input_schema": {"type": "object"}}
    list(client.messages.create(**ASK, stream=True, tools=[tool]))
    check(recorded.event, finish_reason="tool_calls", completion_tokens=30, prompt_tokens=129)


def test_searches_and_lifetimes_of_the_cache_are_recorded(
    client: anthropic.Anthropic, makers: MakerServer, recorded: Recorded
) -> None:
    lifetimes = {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 4000}
    usage = {"input_tokens": 4, "output_tokens": 7, "cache_creation_input_tokens": 5000,
             "cache_read_input_tokens": 0, "cache_creation": lifetimes,
             "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 0}}  # fmt: skip
    makers.script.append(document(message(usage=usage, stop_reason="max_tokens")))
    client.messages.create(**ASK)
    details = {"cache_write_1h_tokens": 4000, "units": {"web_search": 3}}
    check(recorded.event, prompt_tokens=5004, cache_write_tokens=5000, finish_reason="length", usage_details=details)


def error(kind: str, text: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": text}}


ERRORS = [
    (429, error("rate_limit_error", "secret"), "rate_limit_exceeded"),
    (529, error("overloaded_error", "secret"), "overloaded"),
    (402, error("billing_error", "secret"), "insufficient_quota"),
    (400, error("invalid_request_error", "Your credit balance is too low, secret"), "insufficient_quota"),
    (400, error("invalid_request_error", "prompt is too long: 210000 tokens > 200000"), "context_length_exceeded"),
    (400, error("invalid_request_error", "secret"), "invalid_request_error"),
    (401, error("authentication_error", "secret"), "authentication_error"),
    (502, {}, "InternalServerError"),
]


@pytest.mark.parametrize(("status", "body", "kind"), ERRORS)
def test_an_error_has_its_kind_and_costs_nothing(
    status: int, body: Any, kind: str, client: anthropic.Anthropic, makers: MakerServer, recorded: Recorded
) -> None:
    makers.script.append(document(body, status))
    with pytest.raises(anthropic.APIStatusError):
        client.messages.create(**ASK)
    check(recorded.event, status="error", error_type=kind, prompt_tokens=0, completion_tokens=0)


def test_an_error_inside_a_stream_keeps_what_was_delivered(
    client: anthropic.Anthropic, makers: MakerServer, recorded: Recorded
) -> None:
    makers.script.append(Reply(events([*message_events()[:5], error("overloaded_error", "secret")])))
    with pytest.raises(anthropic.APIStatusError):
        list(client.messages.create(**ASK, stream=True))
    check(recorded.event, status="error", error_type="overloaded", prompt_tokens=129, completion_tokens=2)


def test_a_repeated_call_is_recorded_once_with_the_time_of_its_own_attempt(
    makers: MakerServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anthropic.Anthropic, "_calculate_retry_timeout", lambda *_: 0.0)
    makers.script.append(document(error("overloaded_error", "secret"), 529))
    with anthropic.Anthropic(api_key="k", base_url=makers.root, max_retries=2) as client:
        ingest.track(client).messages.create(**ASK)
    event = recorded.event
    check(event, **{**WHOLE, "attempt": 2})
    assert event["metadata"]["treering_retried_ms"] > 0  # type: ignore[call-overload, index, operator]


def test_an_attempt_that_timed_out_is_billed_and_has_a_row(
    makers: MakerServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anthropic.Anthropic, "_calculate_retry_timeout", lambda *_: 0.0)
    makers.script.append(Reply((), ending="stall"))
    timeout = httpx2.Timeout(60, read=1.5)
    with anthropic.Anthropic(api_key="k", base_url=makers.root, max_retries=1, timeout=timeout) as client:
        ingest.track(client).messages.create(**ASK)
    lost, answered = sorted(recorded.events, key=lambda event: int(str(event["attempt"])))
    check(lost, status="error", attempt=1, usage_source="heuristic", completion_tokens=0)
    check(answered, **{**WHOLE, "attempt": 2}, request_group_id=lost["request_group_id"])


def test_fields_of_a_client_and_of_a_call(client: anthropic.Anthropic, makers: MakerServer, recorded: Recorded) -> None:
    derived = ingest.track(client, feature="search")
    assert derived is not client
    derived.messages.create(**ASK)
    derived.messages.create(**ASK, extra_body={"treering": {"feature": "title"}})
    client.messages.create(**ASK)
    assert [event.get("feature") for event in recorded.events] == ["search", "title", "chat"]
    assert all("treering" not in request.body for request in makers.requests)


def test_a_fault_of_ours_leaves_the_call_alone(
    client: anthropic.Anthropic, monkeypatch: pytest.MonkeyPatch, recorded: Recorded
) -> None:
    monkeypatch.setattr("ingest.tracking.makers.messages.MessageAnswer.add_chunk", None)
    monkeypatch.setattr("ingest.tracking.makers.messages.MessageAnswer.add_whole", None)
    assert client.messages.create(**ASK).usage.output_tokens == 5
    assert [event.type for event in client.messages.create(**ASK, stream=True)][-1] == "message_stop"
    monkeypatch.setattr("ingest.tracking.makers.anthropic.Call", None)
    assert client.messages.create(**ASK).usage.output_tokens == 5
    assert len(recorded.events) == 2
