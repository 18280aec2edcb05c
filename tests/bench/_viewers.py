"""Viewers without a browser: they speak Streamlit's protocol, so that the server alone is measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

import jwt
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

from dashboard.reads.embedding import AUDIENCE, PARAMETER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_LIFETIME_S = 60
# Streamlit remembers large messages by their hash; the browser asks for those that it lacks. None is dropped here.
_MOST_BYTES = 2**26


def token(user_id: str, secret: str) -> str:
    """Sign a token as a product that embeds the app does."""
    now = int(time.time())
    claims = {"sub": user_id, "aud": AUDIENCE, "jti": f"{user_id}/{time.time_ns()}"}
    return jwt.encode({**claims, "iat": now, "exp": now + _LIFETIME_S}, secret, algorithm="HS256")


class Viewer:
    """One session of the app. An async context manager.

    Args:
        address: Of the app, with its base path.
        secret: What its embed tokens are signed with.
        user_id: Who looks.
    """

    def __init__(self, address: str, secret: str, user_id: str) -> None:
        self._query = {PARAMETER: token(user_id, secret)}
        self._connection = connect(
            f"{address.replace('http', 'ws', 1)}/_stcore/stream", subprotocols=None, max_size=_MOST_BYTES
        )
        self.elements = 0
        self.bytes = 0

    async def __aenter__(self) -> Self:
        self._socket = await self._connection.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._connection.__aexit__(kind, error, traceback)

    async def run(self, page: str, query: Mapping[str, str | list[str]]) -> float:
        """Have a page's whole script run; seconds from the question to the end of the script.

        Raises:
            RuntimeError: The script raised.
        """
        asked = BackMsg()
        asked.rerun_script.query_string = urlencode({**query, **self._query}, doseq=True)
        asked.rerun_script.page_name = page
        asked.rerun_script.context_info.timezone = "UTC"
        self._query = {}  # the session remembers who looks
        self.elements = self.bytes = 0
        started = time.perf_counter()
        await self._socket.send(asked.SerializeToString())
        has_begun = False
        while True:
            data = await self._socket.recv(decode=False)
            self.bytes += len(data)
            message = ForwardMsg.FromString(data)
            kind = message.WhichOneof("type")
            has_begun = has_begun or kind == "new_session"
            self.elements += kind == "delta"
            if kind == "delta" and message.delta.new_element.WhichOneof("type") == "exception":
                raise RuntimeError(message.delta.new_element.exception.message)
            if kind == "script_finished" and has_begun:
                return time.perf_counter() - started
