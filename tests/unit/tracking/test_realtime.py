"""What comes through a websocket is recorded response by response."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ingest
from tests.support.openai_server import RESPONSE
from tests.support.realtime_server import RealtimeServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.tracking.conftest import Recorded

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of beta.realtime
    pytest.mark.timeout(120),
]

HEARING = {"input": {"transcription": {"model": "whisper-1"}}}
SESSION = {"type": "session.created", "session": {"type": "realtime", "model": "gpt-realtime", "audio": HEARING}}
HEARD = {"type": "conversation.item.input_audio_transcription.completed", "item_id": "i", "content_index": 0,
         "transcript": "secret", "usage": {"type": "duration", "seconds": 30}}  # fmt: skip
USAGE = {
    "total_tokens": 653, "input_tokens": 432, "output_tokens": 221,
    "input_token_details": {"text_tokens": 132, "audio_tokens": 300, "cached_tokens": 192,
                            "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 128}},
    "output_token_details": {"text_tokens": 41, "audio_tokens": 180},
}  # fmt: skip
# 68 text at 4, 64 cached text at 0.4, 172 audio at 32, 128 cached audio at 0.4, 41 text out at 16, 180 audio out at 64
COST = "0.0180288"


def _begun(response_id: str) -> dict[str, Any]:
    return {
        "type": "response.created",
        "response": {"id": response_id, "object": "realtime.response", "status": "in_progress"},
    }


def _done(response_id: str, **fields: Any) -> dict[str, Any]:
    response = {"id": response_id, "object": "realtime.response", "status": "completed", "output": [], "usage": USAGE}
    return {"type": "response.done", "response": {**response, **fields}}


def _sound(response_id: str) -> dict[str, Any]:
    return {"type": "response.output_audio.delta", "response_id": response_id, "delta": "AAAA" * 1000}


TALK = [SESSION], [HEARD, _begun("resp_1"), _sound("resp_1"), _done("resp_1"), _begun("resp_2"), _sound("resp_2")]


@pytest.fixture
def talk() -> Iterator[RealtimeServer]:
    with RealtimeServer(*TALK) as server:
        yield server


def connect_to(server: RealtimeServer) -> openai.OpenAI:
    # beta.realtime speaks TLS to all addresses but those of websockets
    return openai.OpenAI(api_key="k", base_url=server.url, websocket_base_url=server.url.replace("http", "ws"))


def check(recorded: Recorded) -> None:
    heard, spoken, left = sorted(recorded.events, key=lambda event: str(event.get("response_id", "")))
    assert (heard["operation"], heard["model"]) == ("realtime.transcription", "whisper-1")
    assert (heard["estimated_cost"], heard["usage_details"]) == ("0.003", {"units": {"audio_seconds": 30}})
    expected = {"operation": "realtime", "model": "gpt-realtime", "response_id": "resp_1", "prompt_tokens": 432,
                "audio_input_tokens": 300, "completion_tokens": 221, "audio_output_tokens": 180, "streamed": True,
                "status": "ok", "user_id": "user_1", "estimated_cost": COST}  # fmt: skip
    assert {name: spoken.get(name) for name in expected} == expected
    assert spoken["time_to_first_token_ms"] is not None
    assert (left["response_id"], left["status"], left.get("estimated_cost")) == ("resp_2", "cancelled", None)
    assert "secret" not in str(recorded.events)


def test_a_conversation_is_recorded(talk: RealtimeServer, recorded: Recorded) -> None:
    client = ingest.track(connect_to(talk))
    with ingest.usage_context(user_id="user_1"), client.beta.realtime.connect(model="gpt-realtime") as connection:
        connection.recv()
        connection.response.create()
        seen = [connection.recv().type for _ in TALK[1]]
    assert seen == [event["type"] for event in TALK[1]]
    check(recorded)


@pytest.mark.skipif(not hasattr(openai.OpenAI, "realtime"), reason="this version has it under beta alone")
def test_an_asynchronous_conversation_is_recorded(talk: RealtimeServer, recorded: Recorded) -> None:
    async def use() -> None:
        url = talk.url.replace("http", "ws")
        async with openai.AsyncOpenAI(api_key="k", base_url=talk.url, websocket_base_url=url) as client:
            connection = await ingest.track(client).realtime.connect(model="gpt-realtime").enter()
            await connection.recv_bytes()
            await connection.response.create()
            for _ in TALK[1]:
                await connection.recv()
            await connection.close()

    with ingest.usage_context(user_id="user_1"):
        asyncio.run(use())
    check(recorded)


def test_a_client_that_nobody_tracks_is_left_alone(talk: RealtimeServer, recorded: Recorded) -> None:
    ingest.track(connect_to(talk))
    with connect_to(talk).beta.realtime.connect(model="gpt-realtime") as connection:
        assert connection.recv().type == "session.created"
    assert recorded.events == []


def test_a_conversation_that_breaks_off_or_fails_is_recorded(recorded: Recorded) -> None:
    failed = _done(
        "resp_1", status="failed", usage=None, status_details={"type": "failed", "error": {"code": "server_error"}}
    )
    cut = _done("resp_2", status="incomplete", status_details={"type": "incomplete", "reason": "max_output_tokens"})
    stopped = _done("resp_3", status="cancelled", status_details={"type": "cancelled", "reason": "turn_detected"})
    with RealtimeServer([SESSION, failed, cut, stopped, _begun("resp_4")]) as server:
        client = ingest.track(connect_to(server))
        with client.beta.realtime.connect(model="gpt-realtime") as connection:
            seen = len(list(connection))
    assert seen == 5
    facts = ("status", "error_type", "finish_reason", "prompt_tokens")
    assert [tuple(event.get(name) for name in facts) for event in recorded.events] == [
        ("error", "server_error", None, 0),
        ("ok", None, "length", 432),
        ("cancelled", None, None, 432),
        ("cancelled", None, None, 0),
    ]


@pytest.mark.skipif(tuple(map(int, openai.__version__.split(".")[:2])) < (2, 54), reason="newer than this version")
def test_responses_through_a_websocket_are_recorded(recorded: Recorded) -> None:
    begun = {
        "type": "response.created",
        "sequence_number": 0,
        "response": {**RESPONSE, "status": "in_progress", "usage": None},
    }
    done = {"type": "response.completed", "sequence_number": 1, "response": RESPONSE}
    with RealtimeServer([], [begun, done]) as server:
        client = ingest.track(openai.OpenAI(api_key="k", base_url=server.url))
        with client.responses.connect() as connection:
            connection.response.create(model="gpt-4o", input="tree")
            assert [connection.recv().type for _ in range(2)] == ["response.created", "response.completed"]
    event = recorded.event
    assert (event["operation"], event["prompt_tokens"], event["completion_tokens"]) == ("responses", 30, 12)
    assert (event["status"], event["finish_reason"], event["model"]) == ("ok", "stop", "gpt-4o-2024-08-06")
