"""The example works, and its browser cannot tell whether Treering is there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import uvicorn

import ingest
from examples.chat_backend.app import make_app
from ingest.record import capture
from tests.support.openai_server import stream_as_openai
from tests.support.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.openai_server import OpenAIServer
    from tests.unit.tracking.conftest import Recorded

QUESTION = {"session_id": "session_1", "text": "How often do I water it?"}


async def _serve_and_ask(user: str = "user_2abc") -> bytes:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(make_app(), port=port, log_level="critical", ws="none"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
        await asyncio.sleep(0)
    headers = {"Authorization": f"Bearer {user}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as browser:
        body = (await browser.post("/chat", json=QUESTION, headers=headers)).content
    server.should_exit = True
    await serving
    return body


def _use(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, recorded: Recorded) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setattr("examples.chat_backend.app.configure", lambda: recorded)


def test_a_question_is_recorded_under_its_user(
    server: OpenAIServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(server, monkeypatch, recorded)
    asyncio.run(_serve_and_ask())
    call = recorded.event
    expected = {"user_id": "user_2abc", "session_id": "session_1", "feature": "chat", "prompt_tokens": 21,
                "completion_tokens": 5, "streamed": True, "status": "ok"}  # fmt: skip
    assert {name: call.get(name) for name in expected} == expected
    (request,) = recorded.requests
    assert (request["route"], request["method"], request["status_code"]) == ("/chat", "POST", 200)
    assert request["user_id"] == "user_2abc"
    assert request["latency_ms"] >= request["time_to_first_byte_ms"] > 0  # type: ignore[operator]
    assert call["request_group_id"]


def test_the_stream_is_the_same_to_the_byte_with_and_without(
    server: OpenAIServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    _use(server, monkeypatch, recorded)
    tracked = asyncio.run(_serve_and_ask())
    assert len(recorded.events) == 1
    ingest.configure(enable_observability=False, home=home)
    try:
        plain = asyncio.run(_serve_and_ask())
    finally:
        capture._process.is_off = False
    assert tracked == plain == b"".join(stream_as_openai({}).pieces)


def test_a_stranger_is_refused_and_counted(
    server: OpenAIServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(server, monkeypatch, recorded)
    asyncio.run(_serve_and_ask(user="nobody"))
    (request,) = recorded.requests
    assert (request["route"], request["status_code"], recorded.events) == ("/chat", 401, [])


def test_a_browser_that_leaves_is_recorded_as_a_cancelled_call(
    server: OpenAIServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(server, monkeypatch, recorded)
    whole = stream_as_openai({})
    server.script.append(replace(whole, pieces=whole.pieces[:2], ending="stall"))
    asyncio.run(_leave_early())
    event = recorded.event
    assert (event["status"], event["completion_tokens"], event["user_id"]) == ("cancelled", 2, "user_2abc")
    (request,) = recorded.requests
    assert request["error_type"] == "client_disconnected"


async def _leave_early() -> None:
    before = ingest.stats().recorded
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(make_app(), port=port, log_level="critical", ws="none"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
        await asyncio.sleep(0)
    headers = {"Authorization": "Bearer user_2abc"}
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as browser,
        browser.stream("POST", "/chat", json=QUESTION, headers=headers) as response,
    ):
        received = b""
        async for piece in response.aiter_bytes():
            received += piece
            if received.count(b"\n\n") == 2:
                break
    while ingest.stats().recorded == before:  # noqa: ASYNC110 -- nor has the recorder
        await asyncio.sleep(0)
    server.should_exit = True
    await serving
