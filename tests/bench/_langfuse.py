"""The best known SDK of this field as a peer: start and end of one generation, as its documentation shows it.

Only where `langfuse` can be imported: `uv run --with langfuse python -m tests.bench capture`.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import multiprocessing
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

NAME = "langfuse"


def is_installed() -> bool:
    """Whether the peer can take part."""
    return importlib.util.find_spec("langfuse") is not None


@contextmanager
def client(port: int) -> Iterator[tuple[Callable[[], None], Any]]:
    """Yield a function that records one generation, and the client itself."""
    from langfuse import Langfuse

    peer: Any = Langfuse(public_key="pk-lf-bench", secret_key="sk-lf-bench", base_url=f"http://127.0.0.1:{port}")

    def record() -> None:
        generation = peer.start_observation(name="chat", as_type="generation", model="gpt-4o")
        generation.update(usage_details={"input": 150, "output": 50}, metadata={"user_id": "user_2abc"})
        generation.end()

    try:
        yield record, peer
    finally:
        peer.shutdown()


@contextmanager
def openai_client(url: str) -> Iterator[Any]:
    """Yield the peer's own client of openai; from then on it watches every other client of the process too."""
    made: Any = importlib.import_module("langfuse.openai").OpenAI(api_key="k", base_url=url)
    with made:
        yield made


class Sink:
    """A server in a process of its own that takes OpenTelemetry's traces and counts their spans."""

    def __init__(self, port: int) -> None:
        self._pipe, other = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(port, other), daemon=True)
        self._process.start()
        self._pipe.recv()

    def stop(self) -> int:
        """Stop it and return how many different spans have come."""
        self._pipe.send(None)
        count: int = self._pipe.recv()
        self._process.join()
        return count


def _serve(port: int, pipe: Connection) -> None:
    # Comes with the peer, so the type checker does not know it.
    messages: Any = importlib.import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    spans: set[bytes] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path.endswith("/v1/traces"):
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                request = messages.ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        spans.update(span.span_id for span in scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send("ready")
    pipe.recv()
    server.shutdown()
    pipe.send(len(spans))
