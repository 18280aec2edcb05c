"""A server on loopback that speaks websockets: answers each message of a client with scripted ones."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

if TYPE_CHECKING:
    from types import TracebackType

    from websockets.sync.server import ServerConnection


class RealtimeServer:
    """Sends the first part of its script when a client connects, and one more for each message that it gets.

    Attributes:
        paths: What clients connected to.
        script: Events to send, in parts.
    """

    def __init__(self, *script: list[dict[str, Any]]) -> None:
        self.paths: list[str] = []
        self.script = script
        self._server = serve(self._talk, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.socket.getsockname()[1]}/v1"

    def __enter__(self) -> RealtimeServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()

    def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        parts = iter(self.script)
        try:
            self._send(connection, next(parts))
            for part, _ in zip(parts, connection, strict=False):
                self._send(connection, part)
        except ConnectionClosed:
            return

    def _send(self, connection: ServerConnection, events: list[dict[str, Any]]) -> None:
        for number, event in enumerate(events):
            connection.send(json.dumps({"event_id": f"event_{number}", **event}))
