"""Whoever a request says it is for is named by all calls of models that it makes, wherever FastAPI makes them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import StreamingResponse

import ingest
from ingest import PerformanceMiddleware, set_usage
from tests.unit.tracking.conftest import ASK
from tests.unit.tracking.test_asgi import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.support.openai_server import OpenAIServer
    from tests.unit.tracking.conftest import Recorded


@pytest.fixture
def call(recorded: Recorded, server: OpenAIServer) -> Iterator[Callable[[], Any]]:
    with openai.OpenAI(api_key="k", base_url=server.url, max_retries=0) as client:
        ingest.track(client)
        yield lambda: client.chat.completions.create(**ASK)
    assert recorded.database is not None


def application(call: Callable[[], Any]) -> FastAPI:
    app = FastAPI()

    def sign_in(request: Request) -> Iterator[None]:
        # FastAPI runs it in threads, each step in a copy of the context.
        set_usage(user_id=f"user of {request.url.path}")
        yield

    signed_in = [Depends(sign_in)]

    @app.get("/sync", dependencies=signed_in)
    def answer() -> None:
        call()

    @app.get("/async", dependencies=signed_in)
    async def answer_async() -> None:
        call()

    @app.get("/stream", dependencies=signed_in)
    async def stream() -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            call()
            yield "x"
            await asyncio.to_thread(call)

        return StreamingResponse(body())

    @app.get("/sync-stream", dependencies=signed_in)
    def stream_sync() -> StreamingResponse:
        def body() -> Iterator[str]:
            call()
            yield "x"
            call()

        return StreamingResponse(body())

    @app.get("/background", dependencies=signed_in)
    async def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(call)

    @app.get("/executors", dependencies=signed_in)
    async def pools() -> None:
        await asyncio.get_running_loop().run_in_executor(None, call)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(call).result()

    return app


@pytest.mark.parametrize(
    ("path", "calls"),
    [("/sync", 1), ("/async", 1), ("/stream", 2), ("/sync-stream", 2), ("/background", 1), ("/executors", 2)],
)
def test_what_a_dependency_says_reaches_every_call(
    path: str, calls: int, call: Callable[[], Any], recorded: Recorded
) -> None:
    ask(PerformanceMiddleware(application(call)), path)
    assert [event["user_id"] for event in recorded.events] == [f"user of {path}"] * calls
    (request,) = recorded.requests
    assert request["user_id"] == f"user of {path}"
    assert len({event["request_group_id"] for event in recorded.events}) == 1
    call()
    assert recorded.events[-1]["user_id"] == "anonymous"


def test_the_user_of_the_middleware_is_that_of_the_calls(call: Callable[[], Any], recorded: Recorded) -> None:
    app = FastAPI()

    def sign_in(request: Request) -> None:
        request.state.user = "user_7"

    @app.get("/", dependencies=[Depends(sign_in)])
    def answer() -> None:
        call()

    def find_user(scope: Any) -> str | None:
        user: str | None = scope["state"]["user"]  # a KeyError until the dependency has run
        return user

    ask(PerformanceMiddleware(app, user_id=find_user))
    assert (recorded.event["user_id"], recorded.requests[0]["user_id"]) == ("user_7", "user_7")


def test_a_websocket_has_a_scope_and_is_no_request(call: Callable[[], Any], recorded: Recorded) -> None:
    async def app(*_: object) -> None:
        assert set_usage(user_id="user_8")
        call()

    asyncio.run(PerformanceMiddleware(app)({"type": "websocket"}, None, None))  # type: ignore[arg-type]
    assert (recorded.event["user_id"], recorded.requests) == ("user_8", [])


def test_a_derived_client_adds_fields_and_leaves_the_first_as_it_is(client: openai.OpenAI, recorded: Recorded) -> None:
    derived = ingest.track(client, feature="search", metadata={"a": 1})
    again = ingest.track(derived.with_options(timeout=5), metadata={"b": 2})
    assert ingest.track(derived) is derived
    with ingest.usage_context(user_id="user_1"):
        for one in (client, derived, again):
            one.chat.completions.create(**ASK)
    assert [(event["feature"], event.get("metadata")) for event in recorded.events] == [
        ("chat", None),
        ("search", {"a": 1}),
        ("search", {"a": 1, "b": 2}),
    ]
    assert type(derived) is openai.OpenAI


def test_an_asynchronous_client_derives_too(server: OpenAIServer, recorded: Recorded) -> None:
    async def run() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=server.url) as client:
            await ingest.track(ingest.track(client), feature="search").chat.completions.create(**ASK)

    asyncio.run(run())
    assert recorded.event["feature"] == "search"


def test_one_call_says_its_own_fields_which_are_not_sent(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    with ingest.usage_context(user_id="user_1", feature="chat"):
        for extra in ({"treering": {"feature": "title"}}, {"treering": {"feature": "title"}, "top_k": 3}):
            client.chat.completions.create(**ASK, extra_body=extra)
    assert [(event["user_id"], event["feature"]) for event in recorded.events] == [("user_1", "title")] * 2
    first, second = (request.body for request in server.requests)
    assert first == ASK
    assert second == {**ASK, "top_k": 3}


@pytest.mark.parametrize("said", [{"prompt_tokens": 5}, "title"])
def test_what_is_no_field_of_a_call_is_refused(said: object, client: openai.OpenAI, recorded: Recorded) -> None:
    with pytest.raises(TypeError, match=r"prompt_tokens|str"):
        client.chat.completions.create(**ASK, extra_body={"treering": said})
    assert recorded.events == []


@pytest.mark.parametrize(
    ("asked", "said", "expected"),
    [
        ({"user": "old"}, {}, "old"),
        ({"user": "old", "safety_identifier": "new"}, {}, "new"),
        ({"user": "old"}, {"user_id": "product"}, "product"),
        ({}, {}, "anonymous"),
    ],
)
def test_the_user_of_the_request_is_taken_where_that_is_wanted_and_none_is_set(
    asked: dict[str, Any], said: dict[str, Any], expected: str, client: openai.OpenAI, recorded: Recorded
) -> None:
    with ingest.usage_context(**said):
        client.chat.completions.create(**ASK, **asked)
        ingest.configure(database=recorded.database, flush_interval_s=3600, user_from_request=True)
        client.chat.completions.create(**ASK, **asked)
    assert [event["user_id"] for event in recorded.events] == [said.get("user_id", "anonymous"), expected]
