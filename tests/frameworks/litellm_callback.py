"""LiteLLM with `TreeringLogger`: `CELLS` of its own, as what it is told differs from what a client sees."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import litellm
import pytest

import ingest
from ingest.tracking.integrations.litellm import TreeringLogger
from tests.frameworks.litellm_cells import MESSAGES
from tests.support.maker_server import MakerServer
from tests.support.openai_server import OpenAIServer, Reply, answer_as_openai, document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.tracking.conftest import Recorded

RIGHT = {"provider": "openai", "operation": "chat", "model": "gpt-4o-2024-08-06", "prompt_tokens": 21,
         "completion_tokens": 5, "cached_tokens": 8, "status": "ok", "usage_source": "reported", "user_id": "user_1",
         "finish_reason": "stop"}  # fmt: skip
BUSY = document({"error": {"message": "secret", "type": "server_error"}}, 503)
LONG = document(
    {"error": {"message": "secret", "type": "invalid_request_error", "code": "context_length_exceeded"}}, 400
)


@pytest.fixture
def logger(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> Iterator[TreeringLogger]:
    assert recorded.database.usage == {}
    made = TreeringLogger(feature="garden")
    monkeypatch.setattr(litellm, "callbacks", [made])
    yield made
    for name in ("success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback"):
        setattr(litellm, name, [one for one in getattr(litellm, name) if one is not made])
    litellm.input_callback = []


@pytest.fixture(autouse=True)
def ids_of_their_own(server: OpenAIServer) -> None:
    """Have every answer carry an id of its own, as providers' do."""
    numbers = count(2)

    def answer(path: str, body: dict[str, Any]) -> Reply:
        reply, own_id = answer_as_openai(path, body), f"chatcmpl-{next(numbers)}".encode()
        return replace(reply, pieces=tuple(piece.replace(b"chatcmpl-1", own_id) for piece in reply.pieces))

    server.answer = answer


def ask(server: OpenAIServer, **more: Any) -> dict[str, Any]:
    return {"model": "openai/gpt-4o", "api_base": server.url, "api_key": "k", "messages": MESSAGES, "max_retries": 0,
            **more}  # fmt: skip


def events(recorded: Recorded, expected: int) -> list[Any]:
    """Wait for LiteLLM's own threads; then give what came, and what came too much."""
    deadline = time.monotonic() + 20
    while len(recorded.events) < expected and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    assert len(recorded.events) == expected, recorded.events
    return recorded.events


def check(event: Any, **expected: Any) -> None:
    assert {name: event.get(name) for name in expected} == expected
    assert event["latency_ms"] > 0
    assert event["feature"] == "garden"
    assert "secret" not in str(event)


@pytest.mark.usefixtures("logger")
def test_calls_sync_and_async_streamed_and_not(server: OpenAIServer, recorded: Recorded) -> None:
    usage = {"stream": True, "stream_options": {"include_usage": True}}

    async def use() -> None:
        await litellm.acompletion(**ask(server))
        async for _ in await litellm.acompletion(**ask(server, **usage)):
            pass
        await asyncio.sleep(0.5)

    with ingest.usage_context(user_id="user_1"):
        litellm.completion(**ask(server))
        events(recorded, 1)
        list(litellm.completion(**ask(server, **usage)))
        events(recorded, 2)
        asyncio.run(use())
    for event, is_streamed in zip(events(recorded, 4), (None, True, None, True), strict=True):
        right = {**RIGHT, "model": "gpt-4o"} if is_streamed else RIGHT  # LiteLLM does not say which model streamed
        check(event, **right, streamed=is_streamed)


@pytest.mark.usefixtures("logger")
def test_a_stream_without_usage_is_an_estimate(server: OpenAIServer, recorded: Recorded) -> None:
    with ingest.usage_context(user_id="user_1"):
        list(litellm.completion(**ask(server, stream=True)))
    (event,) = events(recorded, 1)
    check(event, usage_source="tokenizer", completion_tokens=5, streamed=True, user_id="user_1")


@pytest.mark.usefixtures("logger")
def test_a_call_of_a_tool_an_embedding_and_a_call_of_claude(server: OpenAIServer, recorded: Recorded) -> None:
    litellm.embedding(model="openai/text-embedding-3-small", input=["a"], api_base=server.url, api_key="k")
    check(events(recorded, 1)[0], operation="embeddings", prompt_tokens=7, completion_tokens=0)
    with MakerServer() as makers:
        claude = {"model": "anthropic/claude-opus-4-8", "api_base": makers.root, "api_key": "k", "messages": MESSAGES}
        litellm.completion(**claude)
        events(recorded, 2)
        list(litellm.completion(**claude, stream=True))
        for event in events(recorded, 3)[1:]:
            check(event, provider="anthropic", prompt_tokens=129, completion_tokens=5, cached_tokens=100,
                  cache_write_tokens=8, usage_source="reported")  # fmt: skip


@pytest.mark.usefixtures("logger")
def test_failures_and_the_attempts_of_a_router(server: OpenAIServer, recorded: Recorded) -> None:
    server.script.append(LONG)
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(**ask(server))
    check(events(recorded, 1)[0], status="error", error_type="context_length_exceeded", prompt_tokens=0)
    settings = {name: value for name, value in ask(server).items() if name != "messages"}
    router = litellm.Router(model_list=[{"model_name": "m", "litellm_params": settings}], num_retries=1, retry_after=0)
    server.script.append(BUSY)
    with ingest.usage_context(user_id="user_1"):
        router.completion("m", MESSAGES)
    _, refused, answered = events(recorded, 3)
    check(refused, status="error", user_id="user_1", prompt_tokens=0, estimated_cost="0")
    check(answered, **RIGHT)


@pytest.mark.usefixtures("logger")
def test_an_answer_from_the_cache_was_no_call(
    server: OpenAIServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "cache", litellm.Cache())
    for _ in range(3):
        litellm.completion(**ask(server), caching=True)
    events(recorded, 1)
    assert len(server.requests) == 1


@pytest.mark.usefixtures("logger")
def test_one_call_says_its_own_fields(server: OpenAIServer, recorded: Recorded) -> None:
    litellm.completion(**ask(server, metadata={"treering": {"user_id": "user_2", "session_id": "s"}}))
    check(events(recorded, 1)[0], user_id="user_2", session_id="s")


@pytest.mark.usefixtures("logger")
def test_what_instrument_records_as_well_is_recorded_once(server: OpenAIServer, instrumented: Recorded) -> None:
    with ingest.usage_context(user_id="user_1", feature="garden"):
        litellm.completion(**ask(server))
        check(events(instrumented, 1)[0], **RIGHT)
        list(litellm.completion(**ask(server, stream=True)))
        check(events(instrumented, 2)[1], **RIGHT)  # the client asks for usage itself
        server.script.append(LONG)
        with pytest.raises(litellm.BadRequestError):
            litellm.completion(**ask(server))
        check(events(instrumented, 3)[2], status="error", error_type="context_length_exceeded")


def test_its_stream_is_tracked_either_way_where_it_was_opened(server: OpenAIServer, recorded: Recorded) -> None:
    async def read() -> None:
        stream = await litellm.acompletion(**ask(server, stream=True, stream_options={"include_usage": True}))
        async for _ in ingest.track_stream(stream, user_id="user_1", feature="garden"):
            pass
        stream = await litellm.acompletion(**ask(server, stream=True))
        async for _ in ingest.track_stream(stream, user_id="user_1", feature="garden"):
            break

    stream: Any = litellm.completion(**ask(server, stream=True, stream_options={"include_usage": True}))
    frames = list(ingest.stream_sse(stream, user_id="user_1", feature="garden"))
    assert frames[-1] == "data: [DONE]\n\n"
    asyncio.run(read())
    whole, streamed, left = recorded.events
    for event in (whole, streamed):
        check(event, prompt_tokens=21, completion_tokens=5, status="ok", user_id="user_1", provider="openai")
    check(left, status="cancelled", user_id="user_1")
