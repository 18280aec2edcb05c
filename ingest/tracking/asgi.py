"""Measures the requests of any ASGI application: FastAPI, Starlette and others."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from uuid_utils.compat import uuid7

from ingest.record import capture
from ingest.record.context import current_fields, request_scope
from ingest.tracking.emit import report

if TYPE_CHECKING:
    from collections.abc import Mapping

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_MAX_ROUTES = 200
_UNMATCHED = "unmatched"
_OTHER = "other"
# Parts of a path that name one thing among many: numbers, UUIDs, long or mixed identifiers.
_VARIABLE = re.compile(r"\d+|[0-9a-fA-F-]{16,}|(?=.*\d)[\w~.-]{9,}|.{33,}")
_NOT_FOUND = 404
_SERVER_ERROR = 500


class PerformanceMiddleware:
    """Records route, status and times of each HTTP request; a streamed answer is timed to its last byte.

    Opens the scope of a request, which `set_usage` adds to. Calls of models made within an HTTP request are grouped by
    it (`request_group_id`). Websockets have a scope too and are not recorded; lifespan passes through.

    Args:
        app: The application.
        sample_rate: Share of the requests that is recorded, above 0 to 1; each then stands for `1 / sample_rate`.
            Requests that fail (5xx or an exception) are all recorded and stand for themselves.
        user_id: Says who asks, from the ASGI scope; called at each call of a model until it says so, and when the
            request has been answered. Where it says nothing: the user of `set_usage`, else of a `usage_context` around
            this middleware.
        environment: production, staging, …
        metadata: Anything else for every request.
        executors: Carry the fields of a request into thread pools; see `carry_into_executors`.

    Raises:
        ValueError: `sample_rate` is out of range.
    """

    def __init__(
        self,
        app: App,
        *,
        sample_rate: float = 1.0,
        user_id: Callable[[Scope], str | None] | None = None,
        environment: str = "production",
        metadata: Mapping[str, object] | None = None,
        executors: bool = True,
        random_source: Callable[[], float] = random.random,
    ) -> None:
        if not 0 < sample_rate <= 1:
            raise ValueError("sample_rate must be above 0 and at most 1")
        if executors:
            from ingest.record.executors import carry_into_executors  # imports 10 ms of what many never need

            carry_into_executors()
        self.app = app
        self._sample_rate = sample_rate
        self._user_id = user_id
        self._environment = environment
        self._metadata = metadata
        self._random = random_source
        self._routes: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request through the application and record it."""
        if scope["type"] not in ("http", "websocket") or not capture.is_on():
            await self.app(scope, receive, send)
            return
        late_user = None if self._user_id is None else lambda: self._ask(scope, is_early=True)
        if scope["type"] == "websocket":
            with request_scope(late_user=late_user):
                await self.app(scope, receive, send)
            return
        outer = current_fields()
        with request_scope(
            {} if outer.get("request_group_id") else {"request_group_id": uuid7().hex}, late_user
        ) as layer:
            request = _Request(self, scope, receive, send)
            request.find_user = lambda: layer.current().get("user_id") or outer.get("user_id")
            try:
                await self.app(scope, request.receive, request.send)
            except BaseException as error:
                request.finish(error)
                raise
            request.finish(None)

    def record(self, request: _Request, error_type: str | None) -> None:
        """Record a request that is over; never raises."""
        try:
            status = request.status if request.status is not None else _SERVER_ERROR
            is_failure = status >= _SERVER_ERROR or request.is_broken
            if not is_failure and self._sample_rate < 1 and self._random() >= self._sample_rate:
                return
            capture.record_performance(
                route=self._route(request.scope, status),
                method=str(request.scope.get("method", "")),
                status_code=status,
                latency_ms=request.milliseconds(request.ended_at or perf_counter()),
                time_to_first_byte_ms=request.milliseconds(request.first_byte_at),
                user_id=self._ask(request.scope) or request.find_user(),
                error_type=error_type,
                environment=self._environment,
                sample_weight=1.0 if is_failure else 1 / self._sample_rate,
                metadata=self._metadata,
            )
        except Exception as error:  # noqa: BLE001 -- a fault of ours is not the request's
            report(error)

    def _ask(self, scope: Scope, *, is_early: bool = False) -> str | None:
        """Ask the application who asks; it may fail while that is not known yet."""
        if self._user_id is None:
            return None
        try:
            return self._user_id(scope)
        except Exception as error:  # noqa: BLE001 -- whoever it was, the request counts
            if not is_early:
                report(error)
            return None

    def _route(self, scope: Scope, status: int) -> str:
        route = _template(scope)
        if route is None:
            if status == _NOT_FOUND:
                return _UNMATCHED  # any path that a scanner invents
            route = "/".join("{}" if _VARIABLE.fullmatch(part) else part for part in str(scope["path"]).split("/"))
        if route not in self._routes:
            if len(self._routes) >= _MAX_ROUTES:
                return _OTHER
            self._routes.add(route)
        return route


class _Request:
    """One request on its way.

    Attributes:
        scope: The request's scope, which routers add to.
        status: What was answered.
        first_byte_at: When the first byte of the body was sent.
        ended_at: When the last one was.
        is_broken: Whether the answer did not come to its end by a fault of the application.
        find_user: Says who asks, as far as the application has told.
    """

    def __init__(self, middleware: PerformanceMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.status: int | None = None
        self.first_byte_at: float | None = None
        self.ended_at: float | None = None
        self.is_broken = False
        self.find_user: Callable[[], str | None] = lambda: None
        self._middleware = middleware
        self._receive = receive
        self._send = send
        self._is_client_gone = False
        self._is_recorded = False
        self._started_at = perf_counter()

    async def receive(self) -> Message:
        """Stand in for the server's `receive`."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and self.ended_at is None:
            self._is_client_gone = True
        return message

    async def send(self, message: Message) -> None:
        """Stand in for the server's `send`."""
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
        await self._send(message)
        if kind == "http.response.body":
            if self.first_byte_at is None and message.get("body"):
                self.first_byte_at = perf_counter()
            if not message.get("more_body", False):
                self.ended_at = perf_counter()
                self.finish(None)  # now: background tasks may run for minutes
        elif kind in ("http.response.pathsend", "http.response.zerocopysend") and not message.get("more_body", False):
            self.first_byte_at = self.ended_at = perf_counter()
            self.finish(None)

    def finish(self, error: BaseException | None) -> None:
        """Record the request, once."""
        if self._is_recorded:
            return
        self._is_recorded = True
        error_type = None
        if self.ended_at is None:
            if self._is_client_gone or (error is not None and not isinstance(error, Exception)):
                error_type = "client_disconnected"
                self.status = self.status if self.status is not None else 499
            else:
                self.is_broken = True
                error_type = type(error).__name__ if error is not None else "incomplete_answer"
                self.status = self.status if self.status is not None else _SERVER_ERROR
        self._middleware.record(self, error_type)

    def milliseconds(self, moment: float | None) -> Any:
        """Time from the request's start, in milliseconds; None without a moment."""
        return None if moment is None else round((moment - self._started_at) * 1000, 3)


def _template(scope: Scope) -> str | None:
    """The route's template where a framework left one in the scope."""
    fastapi = scope.get("fastapi")
    context = fastapi.get("effective_route_context") if isinstance(fastapi, dict) else None
    for owner in (context, scope.get("route")):
        for name in ("path_format", "path"):
            path = getattr(owner, name, None)
            if isinstance(path, str):
                return _mounted_at(scope) + path
    litestar = scope.get("path_template")
    return litestar if isinstance(litestar, str) else None


def _mounted_at(scope: Scope) -> str:
    """The path at which the routing application is mounted inside of this middleware's."""
    root = str(scope.get("root_path", ""))
    outer = str(scope.get("app_root_path", ""))
    return root.removeprefix(outer) if "app_root_path" in scope else ""
