"""A receiver of webhooks on loopback that behaves well or badly, as the test wants."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

Behaviour = int | Literal["close", "stall", "drip"]


@dataclass(frozen=True)
class Delivery:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


class WebhookServer:
    """Keeps what it gets and answers each request with the next behaviour, at last with 200.

    Args:
        *behaviours: A status; "close" hangs up without an answer, "stall" never answers, "drip" sends its answer a byte
            at a time without end.
        headers: Added to every answer that has a status.
        body: Of every answer that has a status.
    """

    def __init__(self, *behaviours: Behaviour, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self._headers = headers or {}
        self._body = body
        self.deliveries: list[Delivery] = []
        self._behaviours: Iterator[Behaviour] = iter(behaviours)
        self._is_over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=hidden-in-the-address"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait(self, seconds: float) -> None:
        """Let the senders work, at most until the end."""
        self._is_over.wait(seconds)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.deliveries.append(Delivery(self.path, dict(self.headers), body, self.command))
                receiver._answer(self, next(receiver._behaviours, 200))

            do_PUT = do_POST  # noqa: N815 -- the base class names it so

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it so
                """Keep the test's output clean."""

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler, behaviour: Behaviour) -> None:
        request.close_connection = True
        if behaviour == "stall":
            self._is_over.wait()
        elif behaviour == "drip":
            self._drip(request)
        elif isinstance(behaviour, int):
            request.send_response(behaviour)
            if 300 <= behaviour < 400:
                request.send_header("Location", f"http://127.0.0.1:{self.port}/elsewhere")
            for name, value in self._headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(self._body)))
            request.end_headers()
            request.wfile.write(self._body)

    def _drip(self, request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not self._is_over.wait(0.02):
            try:
                request.wfile.write(b"x")
            except OSError:
                return
