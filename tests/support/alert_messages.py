"""Messages as the outbox hands them out, and a world in which every service is a server on loopback."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import httpx

from ingest.alerts.notification import ClaimedNotification
from ingest.alerts.notifier import ChannelNotifier

if TYPE_CHECKING:
    from collections.abc import Collection

    from ingest.alerts.notification import Outcome

KEY = "11111111-2222-4333-8444-555555555555"


def fired(event: str = "firing", *, bundle: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A message about an alert on spend, as the database writes it."""
    is_over = event == "resolved"
    alert = {
        "alert_id": 7, "rule_id": 4, "rule_name": "Spend spike", "metric": "spend", "severity": "critical",
        "state": "resolved" if is_over else "firing", "comparator": "above", "value": "61.204118", "threshold": "50",
        "scope": {}, "group_by": None, "group_key": "", "sample_count": 1204, "evidence": {},
        "window_start": "2026-11-23T10:01:00+00:00", "window_end": "2026-11-23T11:00:20+00:00",
        "started_at": "2026-11-23T11:00:20+00:00", **fields,
    }  # fmt: skip
    if is_over:
        alert |= {"resolved_at": "2026-11-23T12:00:00+00:00", "resolution": "recovered", "resolved_value": "12"}
    return {
        "schema": "treering.alert/1",
        "event": event,
        "occurred_at": "2026-11-23T11:00:20+00:00",
        "alert": alert,
        "bundle": {"key": KEY, "count": 1, "firing": 0 if is_over else 1, "alerts": [], "more": None, **(bundle or {})},
        "rule": {"description": "Ask finance first.", "runbook_url": "https://wiki.example.com/spend", "labels": {}},
    }


def claimed(
    url: str, payload: dict[str, Any] | None = None, *, kind: str = "apprise", taken: Collection[str] = ()
) -> ClaimedNotification:
    payload = payload or fired()
    return ClaimedNotification.model_validate(
        {
            "notification_id": 1,
            "idempotency_key": "0b2f2d3a-7a0e-4f0c-9d3c-3f8a3f6f9a11",
            "attempt": 1,
            "event": payload["event"],
            "channel_name": "pager",
            "kind": kind,
            "target_url": url,
            "payload": payload,
            "taken": list(taken),
            "links": {"acknowledge": "key-of-a-link"} if "alert" in payload else {},
        }
    )


class Loopback(httpx.AsyncBaseTransport):
    """Carries every request to a server on this machine, whatever service its address names, over real HTTP."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["X-Meant-For"] = f"{request.url.scheme}://{request.url.netloc.decode()}"
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def send_to(
    url: str,
    payload: dict[str, Any] | None = None,
    *,
    port: int | None = None,
    allow_private: bool = True,
    taken: Collection[str] = (),
    **options: Any,
) -> Outcome:
    """Send one message to an address, where a port is given to the server that stands for the service.

    `taken` are the targets that have it already.
    """
    notifier = ChannelNotifier(
        dashboard_url="https://x.example/obs",
        zone=ZoneInfo("UTC"),
        allow_private=allow_private,
        connect=None if port is None else lambda: Loopback(port),
        **options,
    )
    return asyncio.run(notifier.send(claimed(url, payload, taken=taken)))
