"""An OpenAI-compatible server on loopback: answers with scripted bodies, byte for byte, or as OpenAI does."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

WORDS = ("Water", " your", " living", " tree", ".")
USAGE = {
    "prompt_tokens": 21,
    "completion_tokens": 5,
    "total_tokens": 26,
    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}


@dataclass(frozen=True)
class Reply:
    """One answer.

    Attributes:
        pieces: The body; each piece is sent on its own.
        status: HTTP status.
        content_type: Of the body.
        headers: More headers.
        ending: "whole"; "cut" breaks the connection off after the last piece; "stall" keeps it open and silent.
    """

    pieces: tuple[bytes, ...]
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    ending: str = "whole"


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


def frames(chunks: Iterable[object], *, done: bool = True, end: str = "\n\n") -> tuple[bytes, ...]:
    """Make the frames of a stream, one a chunk."""
    made = [f"data: {json.dumps(chunk, separators=(',', ':'))}{end}".encode() for chunk in chunks]
    return (*made, f"data: [DONE]{end}".encode()) if done else tuple(made)


def events(chunks: Iterable[dict[str, Any]]) -> tuple[bytes, ...]:
    """Make the frames of the Responses API, which name their event."""
    return tuple(f"event: {chunk['type']}\ndata: {json.dumps(chunk)}\n\n".encode() for chunk in chunks)


def document(body: object, status: int = 200, **headers: str) -> Reply:
    """Make an answer that is not streamed."""
    return Reply((json.dumps(body).encode(),), status, "application/json", headers)


def chunk(content: str | None = None, *, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """Make a chunk of a chat completion."""
    delta: dict[str, Any] = {} if content is None else {"content": content}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1764000000,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        **fields,
    }


def completion(content: str = "Water your living tree.", **fields: Any) -> dict[str, Any]:
    """Make a whole chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764000000,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
        **fields,
    }


def stream_as_openai(body: dict[str, Any]) -> Reply:
    """Answer a streamed chat completion as OpenAI does: `usage` in each chunk where it was asked for."""
    asks = bool((body.get("stream_options") or {}).get("include_usage"))
    extra: dict[str, Any] = {"usage": None} if asks else {}
    chunks = [chunk(word, **extra) for word in WORDS]
    chunks.append(chunk(finish="stop", **extra))
    if asks:
        chunks.append(chunk(choices=[], usage=USAGE))
    return Reply(frames(chunks))


def answer_as_openai(path: str, body: dict[str, Any]) -> Reply:
    """Answer requests that no test scripted."""
    if path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        return document({"object": "list", "data": data, "model": body["model"], "usage": usage})
    if path.endswith("/responses"):
        return document(RESPONSE)
    return stream_as_openai(body) if body.get("stream") else document(completion())


RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1764000000,
    "status": "completed",
    "model": "gpt-4o-2024-08-06",
    "service_tier": "flex",
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Water your living tree.", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 4},
        "output_tokens": 12,
        "output_tokens_details": {"reasoning_tokens": 6},
        "total_tokens": 42,
    },
}


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up: tests do that."""


class OpenAIServer:
    """Keeps what it gets; answers with the next scripted reply, else as OpenAI does.

    Attributes:
        requests: What arrived.
        script: Replies to come.
        answer: Answers requests that no test scripted.
    """

    def __init__(self, *script: Reply) -> None:
        self.requests: list[Request] = []
        self.script = deque(script)
        self.answer: Callable[[str, dict[str, Any]], Reply] = answer_as_openai
        self.is_over = threading.Event()
        self._server = _QuietServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                is_json = "json" in self.headers.get("Content-Type", "")
                self._reply(json.loads(content) if is_json and content else {})

            def do_GET(self) -> None:
                self._reply({})

            def _reply(self, body: dict[str, Any]) -> None:
                server.requests.append(Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                reply = server.script.popleft() if server.script else server.answer(self.path.split("?")[0], body)
                try:
                    server._answer(self, reply)
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it so
                """Keep the test's output clean."""

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler, reply: Reply) -> None:
        request.send_response(reply.status)
        request.send_header("Content-Type", reply.content_type)
        for name, value in reply.headers.items():
            request.send_header(name, value)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for piece in reply.pieces:
            request.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            request.wfile.flush()
        if reply.ending == "whole":
            request.wfile.write(b"0\r\n\r\n")
            return
        request.close_connection = True
        if reply.ending == "stall":
            self.is_over.wait()
