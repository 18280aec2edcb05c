"""OpenAI's organization API on loopback, with its buckets, pages and refusals."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from types import TracebackType

ADMIN_KEY = "sk-admin-for-tests"
_DAY_S = 86_400
_LARGEST_LIMIT = {"costs": 180, "usage/completions": 31, "usage/embeddings": 31}


def cost(value: str, line_item: str | None, **fields: Any) -> dict[str, Any]:
    """A result of the Costs API; the value is sent as the JSON number with exactly these digits."""
    return {
        "object": "organization.costs.result",
        "amount": {"value": f"number:{value}", "currency": fields.pop("currency", "usd")},
        "line_item": line_item,
        "project_id": None,
        "api_key_id": None,
        "quantity": None,
        "quantity_unit": None,
        **fields,
    }


def usage(model: str, requests: int, **fields: Any) -> dict[str, Any]:
    """A result of the Usage API for completions."""
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": 1000,
        "input_cached_tokens": 400,
        "input_cache_write_tokens": 100,
        "input_uncached_tokens": 500,
        "output_tokens": 500,
        "num_model_requests": requests,
        "project_id": None,
        "user_id": None,
        "api_key_id": None,
        "model": model,
        "batch": False,
        "service_tier": "default",
        **fields,
    }


class OrganizationServer:
    """Answers `/v1/organization/...` from what the test put in; every asked day has a bucket, if an empty one.

    Attributes:
        results: By path ("costs", "usage/completions") and day: the results of that day's bucket.
        asked: Path and query of each request.
        failures: Answers for the next requests, first in first out: status, headers, body.
        results_key: What a bucket calls its results.
        page_days: Most buckets of a page, whatever the limit says.
    """

    def __init__(self) -> None:
        self.results: dict[str, dict[date, list[dict[str, Any]]]] = {}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.failures: list[tuple[int, dict[str, str], str]] = []
        self.results_key = "results"
        self.page_days = 1000
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def add(self, path: str, day: date, *results: dict[str, Any]) -> None:
        self.results.setdefault(path, {}).setdefault(day, []).extend(results)

    def __enter__(self) -> OrganizationServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                path = parts.path.removeprefix("/v1/organization/")
                server.asked.append((path, query))
                status, headers, body = server._answer(path, query, self.headers.get("authorization"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it so
                """Keep the test's output clean."""

        return Handler

    def _answer(
        self, path: str, query: dict[str, list[str]], authorization: str | None
    ) -> tuple[int, dict[str, str], str]:
        if authorization != f"Bearer {ADMIN_KEY}":
            return 401, {}, '{"error": {"message": "Incorrect API key provided", "type": "invalid_request_error"}}'
        if self.failures:
            return self.failures.pop(0)
        limit = int(query["limit"][0])
        assert 1 <= limit <= _LARGEST_LIMIT[path]
        assert query["bucket_width"] == ["1d"]
        start, end = int(query["start_time"][0]), int(query["end_time"][0])
        cursor = int(query["page"][0].removeprefix("page_")) if "page" in query else start
        stop = min(cursor + min(limit, self.page_days) * _DAY_S, end)
        buckets = [self._bucket(path, at, query) for at in range(cursor, stop, _DAY_S)]
        has_more = stop < end
        page = {
            "object": "page",
            "data": buckets,
            "has_more": has_more,
            "next_page": f"page_{stop}" if has_more else None,
        }
        return 200, {}, re.sub(r'"number:([^"]*)"', r"\1", json.dumps(page))

    def _bucket(self, path: str, at: int, query: dict[str, list[str]]) -> dict[str, Any]:
        day = datetime.fromtimestamp(at, UTC).date()
        projects = query.get("project_ids")
        results = [
            result
            for result in self.results.get(path, {}).get(day, [])
            if projects is None or result["project_id"] in projects
        ]
        return {"object": "bucket", "start_time": at, "end_time": at + _DAY_S, self.results_key: results}
