"""`track` changes nothing about a client but that its calls are recorded."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import openai
import pydantic
import pytest

import ingest
from ingest.notices import Notices
from ingest.record import capture
from ingest.tracking import client as client_module
from ingest.tracking.provider import provider_of
from tests.support.openai_server import RESPONSE, OpenAIServer, Reply, completion, document, events, stream_as_openai
from tests.unit.tracking.conftest import ASK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.tracking.conftest import Recorded

TOO_MANY = {"error": {"message": "slow down", "type": "rate_limit", "code": None}}


def test_a_completion_is_recorded_with_all_that_is_known(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    with ingest.usage_context(user_id="user_1", session_id="s", feature="garden", environment="staging"):
        answer = client.chat.completions.create(**ASK, max_completion_tokens=99)
    assert type(answer).__name__ == "ChatCompletion"
    assert "stream_options" not in server.requests[0].body
    event = recorded.event
    expected = {
        "user_id": "user_1", "session_id": "s", "feature": "garden", "environment": "staging", "provider": "openai",
        "operation": "chat", "model": "gpt-4o-2024-08-06", "prompt_tokens": 21, "completion_tokens": 5,
        "cached_tokens": 8, "service_tier": "default", "status": "ok", "finish_reason": "stop", "attempt": 1,
        "max_output_tokens": 99, "response_id": "chatcmpl-1", "usage_source": "reported", "cost_source": "priced",
    }  # fmt: skip
    assert {name: event.get(name) for name in expected} == expected
    assert len(str(event["prompt_hash"])) == len(str(event["prefix_hash"])) == 32


def test_a_stream_looks_as_it_does_without_tracking(
    client: openai.OpenAI, plain: openai.OpenAI, server: OpenAIServer
) -> None:
    tracked = [item.to_json(indent=None) for item in client.chat.completions.create(**ASK, stream=True)]
    assert tracked == [item.to_json(indent=None) for item in plain.chat.completions.create(**ASK, stream=True)]
    assert server.requests[0].body["stream_options"] == {"include_usage": True}
    assert "stream_options" not in server.requests[1].body


@pytest.mark.parametrize(("said", "chunks"), [(True, 7), (False, 6)])
def test_what_the_caller_says_of_usage_holds(
    said: bool, chunks: int, client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    stream = client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": said})
    assert len(list(stream)) == chunks
    assert server.requests[0].body["stream_options"] == {"include_usage": said}
    assert recorded.event["usage_source"] == ("reported" if said else "tokenizer")


def test_other_stream_options_are_kept(client: openai.OpenAI, server: OpenAIServer) -> None:
    list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_obfuscation": False}))
    list(client.chat.completions.create(**ASK, stream=True, extra_body={"stream_options": {"x": 1}}))
    assert [request.body["stream_options"] for request in server.requests] == [
        {"include_obfuscation": False, "include_usage": True},
        {"x": 1, "include_usage": True},
    ]


def test_a_server_that_refuses_stream_options_is_asked_plainly(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    refusal = document({"error": {"message": "Unrecognized request argument: stream_options"}}, 400)
    server.script.append(refusal)
    assert len(list(client.chat.completions.create(**ASK, stream=True))) == 6
    list(client.chat.completions.create(**ASK, stream=True))
    assert ["stream_options" in request.body for request in server.requests] == [True, False, False]
    assert [event["status"] for event in recorded.events] == ["ok", "ok"]


def test_an_asynchronous_server_that_refuses_is_asked_plainly(server: OpenAIServer, recorded: Recorded) -> None:
    server.script.append(document({"error": {"message": "stream_options: extra fields"}}, 422))

    async def read() -> int:
        async with openai.AsyncOpenAI(api_key="k", base_url=server.url, max_retries=0) as client:
            return len([item async for item in await ingest.track(client).chat.completions.create(**ASK, stream=True)])

    assert asyncio.run(read()) == 6
    assert recorded.event["status"] == "ok"


def test_the_librarys_stream_helper_is_recorded(client: openai.OpenAI, recorded: Recorded) -> None:
    with client.chat.completions.stream(**ASK) as stream:
        assert type(stream).__name__ == "ChatCompletionStream"
        assert stream.get_final_completion().choices[0].message.content == "Water your living tree."
    assert recorded.event["completion_tokens"] == 5


def test_the_librarys_stream_helper_left_early_is_cancelled(client: openai.OpenAI, recorded: Recorded) -> None:
    with client.chat.completions.stream(**ASK) as stream:
        next(iter(stream))
    assert recorded.event["status"] == "cancelled"


class Plant(pydantic.BaseModel):
    name: str


def test_a_parsed_completion_is_recorded(client: openai.OpenAI, server: OpenAIServer, recorded: Recorded) -> None:
    server.script.append(document(completion('{"name":"fern"}')))
    parsed = client.chat.completions.parse(**ASK, response_format=Plant)
    assert parsed.choices[0].message.parsed == Plant(name="fern")
    assert recorded.event["completion_tokens"] == 5


def test_an_answer_that_cannot_be_parsed_is_billed(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    cut = completion('{"na')
    cut["choices"][0]["finish_reason"] = "length"
    server.script.append(document(cut))
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**ASK, response_format=Plant)
    event = recorded.event
    assert (event["status"], event["error_type"]) == ("error", "LengthFinishReasonError")
    assert (event["prompt_tokens"], event["completion_tokens"], event["finish_reason"]) == (21, 5, "length")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_raw_responses_are_recorded(is_streamed: bool, client: openai.OpenAI, recorded: Recorded) -> None:
    raw: Any = client.chat.completions.with_raw_response.create(**ASK, stream=is_streamed)
    assert type(raw).__name__ == "LegacyAPIResponse"
    parsed = raw.parse()
    if is_streamed:
        assert len(list(parsed)) == 6
    assert recorded.event["completion_tokens"] == 5


def test_a_body_that_is_read_later_is_recorded(client: openai.OpenAI, recorded: Recorded) -> None:
    with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert response.parse().usage is not None
    assert recorded.event["completion_tokens"] == 5


def test_a_body_that_is_never_read_is_cancelled(client: openai.OpenAI, recorded: Recorded) -> None:
    with client.chat.completions.with_streaming_response.create(**ASK):
        pass
    event = recorded.event
    assert (event["status"], event["prompt_tokens"]) == ("cancelled", 23)


def test_asynchronous_ways_of_calling_are_recorded(server: OpenAIServer, recorded: Recorded) -> None:
    async def use() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=server.url, max_retries=0) as client:
            ingest.track(client)
            await client.chat.completions.create(**ASK)
            await client.embeddings.create(model="text-embedding-3-small", input="tree")
            await client.responses.create(model="gpt-4o", input="tree")
            await client.chat.completions.with_raw_response.create(**ASK)
            async with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
                assert [line async for line in response.iter_lines() if line][-1] == "data: [DONE]"
            async with client.chat.completions.stream(**ASK) as stream:
                await stream.get_final_completion()
            async with await client.chat.completions.create(**ASK, stream=True) as opened:
                await anext(opened)

    asyncio.run(use())
    assert [(event["operation"], event["prompt_tokens"], event["status"]) for event in recorded.events] == [
        ("chat", 21, "ok"),
        ("embeddings", 7, "ok"),
        ("responses", 30, "ok"),
        ("chat", 21, "ok"),
        ("chat", 21, "ok"),
        ("chat", 21, "ok"),
        ("chat", 23, "cancelled"),
    ]


def test_a_response_is_recorded(client: openai.OpenAI, recorded: Recorded) -> None:
    answer = client.responses.create(model="gpt-4o", input="tree", max_output_tokens=40)
    assert answer.output_text == "Water your living tree."
    event = recorded.event
    expected = {"operation": "responses", "prompt_tokens": 30, "completion_tokens": 12, "cached_tokens": 10,
                "cache_write_tokens": 4, "reasoning_tokens": 6, "service_tier": "flex", "max_output_tokens": 40,
                "finish_reason": "stop"}  # fmt: skip
    assert {name: event.get(name) for name in expected} == expected


def test_the_responses_stream_helper_is_recorded(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    started = {"type": "response.created", "sequence_number": 0,
               "response": {**RESPONSE, "status": "in_progress", "output": [], "usage": None}}  # fmt: skip
    server.script.append(
        Reply(events([started, {"type": "response.completed", "sequence_number": 1, "response": RESPONSE}]))
    )
    with client.responses.stream(model="gpt-4o", input="tree") as stream:
        assert stream.get_final_response().id == "resp_1"
    assert recorded.event["completion_tokens"] == 12


def test_an_embedding_is_recorded(client: openai.OpenAI, recorded: Recorded) -> None:
    assert client.embeddings.create(model="text-embedding-3-small", input="tree").data[0].embedding == [0.25, -0.5]
    event = recorded.event
    assert (event["operation"], event["feature"], event["prompt_tokens"]) == ("embeddings", "embeddings", 7)


def test_copies_of_a_client_are_tracked_too(client: openai.OpenAI, recorded: Recorded) -> None:
    client.with_options(timeout=5).chat.completions.create(**ASK)
    client.copy().chat.completions.create(**ASK)
    assert len(recorded.events) == 2


def test_tracking_twice_records_once(client: openai.OpenAI, recorded: Recorded) -> None:
    assert ingest.track(ingest.track(client)) is client
    client.chat.completions.create(**ASK)
    assert len(recorded.events) == 1


def test_fields_of_the_client_stand_under_those_of_the_request(server: OpenAIServer, recorded: Recorded) -> None:
    with openai.OpenAI(api_key="k", base_url=server.url) as made:
        client = ingest.track(made, feature="search", environment="staging")
        with ingest.usage_context(feature="chat", user_id="user_1"):
            client.chat.completions.create(**ASK)
    event = recorded.event
    assert (event["feature"], event["environment"], event["user_id"]) == ("chat", "staging", "user_1")


def test_azure_is_named(server: OpenAIServer, recorded: Recorded) -> None:
    with openai.AzureOpenAI(api_key="k", azure_endpoint=server.url, api_version="2024-10-21") as made:
        ingest.track(made).chat.completions.create(**ASK)
    assert recorded.event["provider"] == "azure"


def test_an_asynchronous_client_of_azure_is_tracked_too(server: OpenAIServer, recorded: Recorded) -> None:
    async def use() -> None:
        async with openai.AsyncAzureOpenAI(api_key="k", azure_endpoint=server.url, api_version="2024-10-21") as made:
            await ingest.track(made).chat.completions.create(**ASK)

    asyncio.run(use())
    assert (recorded.event["provider"], recorded.event["status"]) == ("azure", "ok")


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1/", "openai"),
        ("https://eu.api.openai.com/v1/", "openai"),
        ("https://team.openai.azure.com/openai/", "azure"),
        ("https://api.deepseek.com/v1", "deepseek"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://api.fireworks.ai/inference/v1", "fireworks"),
        ("https://llm.example.com/v1", "llm.example.com"),
        ("https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi", "vertex_ai"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1", "aws"),
        ("http://127.0.0.1:8000/v1", "vllm"),
        ("http://vllm:8000/v1", "vllm"),
        ("http://localhost:11434/v1", "ollama"),
        ("http://192.168.1.5:1234/v1", "lmstudio"),
        ("http://127.0.0.1:45678/v1", "openai"),
        ("http://[::1]:45678/v1", "openai"),
        ("http://proxy.internal/v1", "openai"),
        ("http://127.0.0.1:99999/v1", "openai"),
        ("", "openai"),
    ],
)
def test_the_provider_is_read_off_the_address(url: str, provider: str) -> None:
    assert provider_of(url, "gpt-4o") == provider


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o", "openai"),
        ("ft:gpt-4o-mini:acme::8x", "openai"),
        ("claude-sonnet-4-5", "openai"),
        ("openai/gpt-4o", "openai"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "openai"),
        ("llama3.1:8b", "self-hosted"),
        ("deepseek-r1:8b", "self-hosted"),
        ("meta-llama/Llama-3.1-8B-Instruct", "self-hosted"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "self-hosted"),
        ("my-model", "self-hosted"),
    ],
)
def test_at_a_private_address_the_model_tells_a_gateway_from_a_server_of_models(model: str, provider: str) -> None:
    assert provider_of("http://10.0.0.7:4000/v1", model) == provider


def test_the_customer_names_hosts() -> None:
    named = {"llm-gw.example.com": "openai", "localhost:8000": "anthropic"}
    assert provider_of("https://LLM-gw.example.com/v1", "m", named) == "openai"
    assert provider_of("https://llm-gw.example.com:8443/v1", "m", named) == "openai"
    assert provider_of("http://localhost:8000/v1", "m", named) == "anthropic"
    assert provider_of("http://localhost:11434/v1", "m", named) == "ollama"


def test_a_fault_of_ours_leaves_the_plain_call(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(client_module, "_body_of", fail)
    monkeypatch.setattr("ingest.tracking.emit._NOTICES", Notices())
    with caplog.at_level(logging.WARNING):
        assert len(list(client.chat.completions.create(**ASK, stream=True))) == 6
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_a_fault_while_reading_leaves_the_stream_whole(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, recorded: Recorded
) -> None:
    def fail(*_: object) -> bool:
        raise RuntimeError("secret words")

    monkeypatch.setattr("ingest.tracking.answer.Answer.add_chunk", fail)
    assert len(list(client.chat.completions.create(**ASK, stream=True))) >= 6
    assert len(recorded.events) == 1


def test_nothing_is_added_where_recording_is_off(home: Path, server: OpenAIServer) -> None:
    ingest.configure(enable_observability=False, home=home)
    try:
        with openai.OpenAI(api_key="k", base_url=server.url) as made:
            client = ingest.track(made)
            stream = client.chat.completions.create(**ASK, stream=True)
            sent = "".join(ingest.stream_sse(stream))
            assert list(ingest.track_stream([1, 2])) == [1, 2]
        assert "stream_options" not in server.requests[0].body
        assert sent.encode() == b"".join(stream_as_openai({}).pieces)
        assert list(home.iterdir()) == []
    finally:
        capture._process.is_off = False
