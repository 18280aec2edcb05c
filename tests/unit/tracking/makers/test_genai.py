"""`track` of Google's client: the same objects come back, and every generation is recorded once."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from google import genai
from google.genai import errors, types

import ingest
from tests.support.maker_server import GEMINI, GEMINI_USAGE, MakerServer, generation, generation_chunks
from tests.support.openai_server import Reply, document, frames
from tests.unit.tracking.makers.conftest import check, each_way_of_leaving, leave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.tracking.conftest import Recorded

# Of google-genai with aiohttp, whichever is newer.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

ASK: dict[str, Any] = {"model": GEMINI, "contents": "How do I keep it alive?"}
# Thoughts are output: 5 + 7. Dollars a million calls: 13 at 0.3, 8 from the cache at 0.03, 12 at 2.5: 34.14.
WHOLE = {
    "provider": "google", "operation": "chat", "model": GEMINI, "prompt_tokens": 21, "completion_tokens": 12,
    "cached_tokens": 8, "reasoning_tokens": 7, "status": "ok", "finish_reason": "stop", "usage_source": "reported",
    "response_id": "resp_g1", "estimated_cost": "0.00003414", "attempt": 1,
}  # fmt: skip


def make(makers: MakerServer, **options: Any) -> genai.Client:
    return genai.Client(api_key="k", http_options=types.HttpOptions(base_url=makers.root, **options))


@pytest.fixture
def client(recorded: Recorded, makers: MakerServer) -> Iterator[genai.Client]:
    assert recorded.database.usage == {}
    plain = make(makers)
    assert ingest.track(plain) is plain
    assert ingest.track(plain) is plain
    yield plain
    plain.close()


def test_generations_are_recorded_and_counting_is_not(client: genai.Client, recorded: Recorded) -> None:
    config = types.GenerateContentConfig(max_output_tokens=99, system_instruction="You are a gardener.")
    with ingest.usage_context(user_id="user_1", session_id="s", feature="garden"):
        answer = client.models.generate_content(**ASK, config=config)
        assert type(answer) is types.GenerateContentResponse
        assert answer.text == "Water your living tree."
        chunks = list(client.models.generate_content_stream(**ASK, config=config))
        assert {type(chunk) for chunk in chunks} == {types.GenerateContentResponse}
    client.models.count_tokens(model=GEMINI, contents="a")
    whole, streamed = recorded.events
    for event in (whole, streamed):
        check(event, **WHOLE, user_id="user_1", session_id="s", feature="garden", max_output_tokens=99)
    assert whole["prompt_hash"] == streamed["prompt_hash"]
    assert 0 < streamed["time_to_first_token_ms"] <= streamed["latency_ms"]  # type: ignore[operator]


def test_chats_are_recorded(client: genai.Client, recorded: Recorded) -> None:
    chat = client.chats.create(model=GEMINI)
    chat.send_message("How do I keep it alive?")
    assert "".join(str(chunk.text) for chunk in chat.send_message_stream("And now?")) == "Water your living tree."
    assert [event.get("streamed") for event in recorded.events] == [None, True]
    for event in recorded.events:
        check(event, **WHOLE)


def test_asynchronous_generations_are_recorded(makers: MakerServer, recorded: Recorded) -> None:
    async def read() -> None:
        client = ingest.track(make(makers))
        await client.aio.models.generate_content(**ASK)
        async for _ in await client.aio.models.generate_content_stream(**ASK):
            pass
        async for _ in await client.aio.chats.create(model=GEMINI).send_message_stream("How do I keep it alive?"):
            pass
        await client.aio.aclose()
        client.close()

    asyncio.run(read())
    assert len(recorded.events) == 3
    for event in recorded.events:
        check(event, **WHOLE)


def test_a_stream_keeps_the_user_for_whom_it_was_opened(client: genai.Client, recorded: Recorded) -> None:
    async def read() -> None:
        with ingest.usage_context(user_id="user_2"):
            stream = await client.aio.models.generate_content_stream(**ASK)
        with ingest.usage_context(user_id="user_3"):
            assert len([chunk async for chunk in stream]) == 5
        await client.aio.aclose()

    with ingest.usage_context(user_id="user_1"):
        stream = client.models.generate_content_stream(**ASK)
    assert len(list(stream)) == 5
    asyncio.run(read())
    assert [event["user_id"] for event in recorded.events] == ["user_1", "user_2"]


@each_way_of_leaving
def test_a_stream_that_is_left_has_the_tokens_until_then(way: str, client: genai.Client, recorded: Recorded) -> None:
    leave(client.models.generate_content_stream(**ASK), way)
    check(recorded.event, status="cancelled", prompt_tokens=21, completion_tokens=8, usage_source="reported")


def test_an_asynchronous_stream_that_is_left_is_cancelled(client: genai.Client, recorded: Recorded) -> None:
    async def read() -> None:
        stream = await client.aio.models.generate_content_stream(**ASK)
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        unread = await client.aio.models.generate_content_stream(**ASK)
        del unread
        await client.aio.aclose()

    asyncio.run(read())
    gc.collect()
    check(recorded.event, status="cancelled", prompt_tokens=21, completion_tokens=8)


def test_each_request_of_automatic_calls_of_functions_is_recorded(
    client: genai.Client, makers: MakerServer, recorded: Recorded
) -> None:
    def water(millilitres: int) -> str:
        """Water the tree."""
        return f"{millilitres} ml"

    call = generation(finish="STOP", usageMetadata=GEMINI_USAGE)
    call["candidates"][0]["content"] = {
        "role": "model",
        "parts": [{"functionCall": {"name": "water", "args": {"millilitres": 50}}}],
    }
    makers.script.append(document(call))
    config = types.GenerateContentConfig(tools=[water])
    assert client.models.generate_content(**ASK, config=config).text == "Water your living tree."
    assert [event["completion_tokens"] for event in recorded.events] == [12, 12]


def test_grounding_is_recorded(client: genai.Client, makers: MakerServer, recorded: Recorded) -> None:
    answer = generation("Water it.", finish="MAX_TOKENS", usageMetadata=GEMINI_USAGE)
    answer["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["a", "b"]}
    makers.script.append(document(answer))
    client.models.generate_content(**ASK)
    # Gemini 2 is charged by the prompt that was grounded, however many searches it took.
    check(recorded.event, finish_reason="length", usage_details={"units": {"web_search": 1}})


def test_embeddings_are_recorded_with_the_count_where_google_tells_it(
    client: genai.Client, makers: MakerServer, recorded: Recorded
) -> None:
    assert client.models.embed_content(model="gemini-embedding-001", contents="Water it.").embeddings
    check(recorded.event, operation="embeddings", completion_tokens=0, usage_source="heuristic", provider="google")
    vertex = ingest.track(
        genai.Client(vertexai=True, api_key="k", http_options=types.HttpOptions(base_url=makers.root))
    )
    recorded.database.usage.clear()
    statistics = {"token_count": 7, "truncated": False}
    makers.script.append(document({"predictions": [{"embeddings": {"values": [0.25], "statistics": statistics}}]}))
    vertex.models.embed_content(model="text-embedding-005", contents="Water it.")
    vertex.close()
    check(recorded.event, operation="embeddings", prompt_tokens=7, usage_source="reported", provider="vertex_ai")


def quota(name: str) -> list[dict[str, Any]]:
    return [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}]


ERRORS = [
    (429, "RESOURCE_EXHAUSTED", quota("GenerateRequestsPerMinutePerProjectPerModel"), "rate_limit_exceeded"),
    (429, "RESOURCE_EXHAUSTED", quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), "insufficient_quota"),
    (503, "UNAVAILABLE", [], "overloaded"),
    (400, "INVALID_ARGUMENT", ["The input token count exceeds the maximum"], "context_length_exceeded"),
    (403, "PERMISSION_DENIED", [], "PERMISSION_DENIED"),
]


@pytest.mark.parametrize(("status", "name", "details", "kind"), ERRORS)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_error_has_its_kind_and_costs_nothing(
    status: int, name: str, details: list[Any], kind: str, client: genai.Client, makers: MakerServer,
    recorded: Recorded, *, is_streamed: bool,
) -> None:  # fmt: skip
    error = {"code": status, "message": "secret", "status": name, "details": details}
    makers.script.append(document({"error": error}, status))
    ask: Any = client.models.generate_content_stream if is_streamed else client.models.generate_content
    with pytest.raises(errors.APIError):
        list(ask(**ASK))
    check(recorded.event, status="error", error_type=kind, prompt_tokens=0, completion_tokens=0)


def test_an_end_without_an_end_and_a_blocked_prompt(
    client: genai.Client, makers: MakerServer, recorded: Recorded
) -> None:
    makers.script.append(Reply(frames(generation_chunks()[:2], done=False)))
    list(client.models.generate_content_stream(**ASK))
    check(recorded.event, status="error", error_type="stream_ended_early", completion_tokens=9)
    recorded.database.usage.clear()
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 21},
               "modelVersion": GEMINI}  # fmt: skip
    makers.script.append(Reply(frames([blocked], done=False)))
    list(client.models.generate_content_stream(**ASK))
    check(recorded.event, status="ok", finish_reason="content_filter", prompt_tokens=21, completion_tokens=0)


def test_a_repeated_call_is_recorded_once(makers: MakerServer, recorded: Recorded) -> None:
    retry = types.HttpRetryOptions(attempts=3, initial_delay=0.01, max_delay=0.02, jitter=0)
    client = ingest.track(make(makers, retry_options=retry), feature="search")
    makers.script.append(document({"error": {"code": 503, "message": "secret", "status": "UNAVAILABLE"}}, 503))
    list(client.models.generate_content_stream(**ASK))
    check(recorded.event, **{**WHOLE, "attempt": 2}, feature="search")
    with pytest.raises(TypeError, match="usage_context"):
        ingest.track(client, feature="title")
    client.close()


def test_a_fault_of_ours_leaves_the_call_alone(
    client: genai.Client, monkeypatch: pytest.MonkeyPatch, recorded: Recorded
) -> None:
    monkeypatch.setattr("ingest.tracking.makers.gemini.GeminiAnswer._add", None)
    assert client.models.generate_content(**ASK).text == "Water your living tree."
    assert len(list(client.models.generate_content_stream(**ASK))) == 5
    monkeypatch.setattr("ingest.tracking.makers.genai.Call", None)
    assert client.models.generate_content(**ASK).text == "Water your living tree."
    assert len(list(client.models.generate_content_stream(**ASK))) == 5
    assert len(recorded.events) == 2
