"""Requests are measured to their last byte, under their route's template."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

import ingest
from ingest.tracking.asgi import PerformanceMiddleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.unit.tracking.conftest import Recorded


def ask(app: Any, path: str = "/", method: str = "GET", *, disconnects: bool = False) -> list[Any]:
    """Send one request through an application and return its messages."""
    sent: list[Any] = []
    came: list[bool] = []

    async def receive() -> dict[str, Any]:
        if disconnects:
            return {"type": "http.disconnect"}
        if came:
            await asyncio.Event().wait()  # nothing more comes
        came.append(True)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": "",
             "query_string": b"", "headers": [], "http_version": "1.1", "scheme": "http"}  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent


async def hello(request: Any) -> PlainTextResponse:
    return PlainTextResponse(f"hello {request.path_params.get('name')}")


async def fail(_: Any) -> PlainTextResponse:
    raise ValueError("secret words")


async def drip(_: Any) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    return StreamingResponse(body())


STARLETTE = Starlette(
    routes=[
        Route("/hello/{name}", hello),
        Route("/fail", fail),
        Route("/drip", drip),
        Mount("/inner", routes=[Route("/hello/{name}", hello)]),
    ]
)
FASTAPI = FastAPI()
router = APIRouter(prefix="/api")


@router.get("/items/{item_id}")
async def read_item(item_id: int) -> int:
    return item_id


FASTAPI.include_router(router)


@pytest.mark.parametrize(
    ("app", "path", "route", "status"),
    [
        (STARLETTE, "/hello/ann", "/hello/{name}", 200),
        (STARLETTE, "/inner/hello/ann", "/inner/hello/{name}", 200),
        (FASTAPI, "/api/items/17", "/api/items/{item_id}", 200),
        (FASTAPI, "/api/items/x", "/api/items/{item_id}", 422),
        (STARLETTE, "/wp-admin/1", "unmatched", 404),
    ],
)
def test_the_route_is_the_template(app: Any, path: str, route: str, status: int, recorded: Recorded) -> None:
    ask(PerformanceMiddleware(app), path)
    (request,) = recorded.requests
    assert (request["route"], request["status_code"], request["method"]) == (route, status, "GET")
    assert request["sample_weight"] == 1.0


def test_a_streamed_answer_is_timed_to_its_end(recorded: Recorded) -> None:
    ask(PerformanceMiddleware(STARLETTE), "/drip")
    (request,) = recorded.requests
    assert 0 <= request["time_to_first_byte_ms"] <= request["latency_ms"]  # type: ignore[operator]


def test_an_exception_is_recorded_by_its_kind_and_passed_on(recorded: Recorded) -> None:
    with pytest.raises(ValueError, match="secret"):
        ask(PerformanceMiddleware(STARLETTE), "/fail")
    (request,) = recorded.requests
    assert (request["status_code"], request["route"]) == (500, "/fail")
    assert "secret" not in str(request)


def plain_app(handle: Callable[[Any], Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await receive()
        await handle(send)

    return PerformanceMiddleware(app)


async def answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


def test_an_application_without_routes_has_bounded_ones(recorded: Recorded) -> None:
    app = plain_app(answer)
    for number in range(250):
        ask(app, f"/users/{number}/things-{'abcdefghij'[number % 10]}{'x' * (number % 30)}")
    ask(app, "/a/8f14e45fceea167a5a36dedd4bea2543")
    routes = {str(request["route"]) for request in recorded.requests}
    assert all(route.startswith(("/users/{}/", "/a/{}", "other")) for route in routes)
    assert len(routes) <= 201


def test_an_application_that_never_answers_is_a_failure(recorded: Recorded) -> None:
    async def nothing(_: Any) -> None:
        return

    ask(plain_app(nothing))
    (request,) = recorded.requests
    assert (request["status_code"], request["error_type"]) == (500, "incomplete_answer")


def test_a_failure_before_the_answer_names_its_kind(recorded: Recorded) -> None:
    async def broken(_: Any) -> None:
        raise KeyError("secret")

    with pytest.raises(KeyError):
        ask(plain_app(broken))
    (request,) = recorded.requests
    assert (request["status_code"], request["error_type"]) == (500, "KeyError")


def test_a_client_that_leaves_is_no_failure(recorded: Recorded) -> None:
    async def half(send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    ask(plain_app(half), disconnects=True)
    (request,) = recorded.requests
    assert (request["status_code"], request["error_type"]) == (200, "client_disconnected")


def test_a_file_that_the_server_sends_is_an_answer(recorded: Recorded) -> None:
    async def send_path(send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/x"})

    ask(plain_app(send_path))
    (request,) = recorded.requests
    assert (request["status_code"], request.get("error_type")) == (200, None)


def test_samples_stand_for_the_rest_and_failures_for_themselves(recorded: Recorded) -> None:
    dice = iter([0.1, 0.3, 0.9, 0.24])
    app = PerformanceMiddleware(STARLETTE, sample_rate=0.25, random_source=lambda: next(dice))
    for _ in range(4):
        ask(app, "/hello/ann")
    with pytest.raises(ValueError, match="secret"):
        ask(app, "/fail")
    assert [request["sample_weight"] for request in recorded.requests] == [4.0, 4.0, 1.0]


@pytest.mark.parametrize("rate", [0, -1, 1.5])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="sample_rate"):
        PerformanceMiddleware(STARLETTE, sample_rate=rate)


def test_the_user_is_who_the_callable_says(recorded: Recorded) -> None:
    ask(PerformanceMiddleware(STARLETTE, user_id=lambda scope: str(scope["path"])), "/hello/ann")
    with ingest.usage_context(user_id="user_1"):
        ask(PerformanceMiddleware(STARLETTE), "/hello/ann")

    def fail_to_say(_: Any) -> str:
        raise RuntimeError("secret")

    ask(PerformanceMiddleware(STARLETTE, user_id=fail_to_say), "/hello/ann")
    assert [request.get("user_id") for request in recorded.requests] == ["/hello/ann", "user_1", None]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_what_is_no_request_passes_through(kind: str, recorded: Recorded) -> None:
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.extend(arguments)

    given: Any = ({"type": kind}, object(), object())
    asyncio.run(PerformanceMiddleware(app)(*given))
    assert tuple(seen) == given
    assert recorded.requests == []


def test_a_wrong_answer_of_ours_does_not_reach_the_request(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_to_record(**_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("ingest.record.capture.record_performance", fail_to_record)
    assert ask(PerformanceMiddleware(STARLETTE), "/hello/ann")[0]["status"] == 200
    assert recorded.requests == []
