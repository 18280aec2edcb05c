"""Anthropic's Usage and Cost Admin API on loopback, with its buckets, pages and refusals."""

from __future__ import annotations

import json
import threading
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from types import TracebackType

ADMIN_KEY = "sk-ant-admin-for-tests"
_PATHS = {
    "cost_report": {"workspace_id", "description"},
    "usage_report/messages": {"model", "workspace_id", "service_tier"},
}
_DAY = timedelta(days=1)


def cost(cents: str, token_type: str | None = "uncached_input_tokens", **fields: Any) -> dict[str, Any]:
    """A result of the cost report; the amount is in cents, as text."""
    return {
        "currency": "USD",
        "amount": cents,
        "workspace_id": None,
        "description": "Claude Sonnet 4 Usage - Input Tokens",
        "cost_type": "tokens",
        "context_window": "0-200k",
        "model": "claude-sonnet-4-20250514",
        "service_tier": "standard",
        "token_type": token_type,
        "inference_geo": "not_available",
        **fields,
    }


def usage(uncached: int, output: int, **fields: Any) -> dict[str, Any]:
    """A result of the usage report for messages."""
    return {
        "uncached_input_tokens": uncached,
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        "cache_read_input_tokens": 0,
        "output_tokens": output,
        "server_tool_use": {"web_search_requests": 0},
        "api_key_id": None,
        "workspace_id": None,
        "model": "claude-sonnet-4-20250514",
        "service_tier": "standard",
        "context_window": None,
        **fields,
    }


class AnthropicAdminServer:
    """Answers `/v1/organizations/...` from what the test put in; every asked day has a bucket, if an empty one.

    Attributes:
        results: By path ("cost_report", "usage_report/messages") and day: the results of that day's bucket.
        asked: Path and query of each request.
        failures: Answers for the next requests, first in first out: status and body.
        page_days: Most buckets of a page, whatever the limit says.
    """

    def __init__(self) -> None:
        self.results: dict[str, dict[date, list[dict[str, Any]]]] = {}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.failures: list[tuple[int, str]] = []
        self.page_days = 31
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def add(self, path: str, day: date, *results: dict[str, Any]) -> None:
        self.results.setdefault(path, {}).setdefault(day, []).extend(results)

    def __enter__(self) -> AnthropicAdminServer:
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
                path, query = parts.path.removeprefix("/v1/organizations/"), parse_qs(parts.query)
                server.asked.append((path, query))
                is_known = self.headers.get("x-api-key") == ADMIN_KEY and self.headers.get("anthropic-version")
                status, body = server._answer(path, query) if is_known else (401, _error("invalid x-api-key"))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it so
                """Keep the test's output clean."""

        return Handler

    def _answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, str]:
        if self.failures:
            return self.failures.pop(0)
        limit = int(query["limit"][0])
        assert 1 <= limit <= 31
        assert query["bucket_width"] == ["1d"]
        assert set(query["group_by[]"]) == _PATHS[path]
        start, end = (datetime.fromisoformat(query[name][0]) for name in ("starting_at", "ending_at"))
        at = datetime.fromisoformat(query["page"][0].removeprefix("page_")) if "page" in query else start
        stop = min(at + min(limit, self.page_days) * _DAY, end)
        days = [at + n * _DAY for n in range((stop - at) // _DAY)]
        page = {
            "data": [
                {
                    "starting_at": _rfc3339(day),
                    "ending_at": _rfc3339(day + _DAY),
                    "results": self.results.get(path, {}).get(day.date(), []),
                }
                for day in days
            ],
            "has_more": stop < end,
            "next_page": f"page_{_rfc3339(stop)}" if stop < end else None,
        }
        return 200, json.dumps(page)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _error(message: str) -> str:
    return json.dumps({"type": "error", "error": {"type": "authentication_error", "message": message}})
