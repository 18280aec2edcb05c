"""Alerts with the clock in the test's hand."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from ingest.alerts.channels import ChannelTarget
from ingest.alerts.notifier import ChannelNotifier
from ingest.alerts.sealing import SecretBox

if TYPE_CHECKING:
    from ingest.database import Database

KEY = "dGVzdC1rZXktb2YtMzItYnl0ZXMtZm9yLXRlc3RzISE="
BOX = SecretBox(SecretStr(KEY))
NOON = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
DAY = {"from_time": NOON - dt.timedelta(days=1), "to_time": NOON + dt.timedelta(days=1)}


def at(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


def call(
    seconds: float, *, cost: str | None = "1", status: str = "ok", latency_ms: float | None = 100, **fields: Any
) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "created_at": at(seconds).isoformat(),
        "user_id": "user-1",
        "model": "gpt-4o",
        "environment": "production",
        "status": status,
        "latency_ms": latency_ms,
        "estimated_cost": cost,
        "cost_source": "unpriced" if cost is None else "priced",
        **fields,
    }


class Clockwork:
    """The service's side of a test: stores calls, evaluates and sends at times of the test's choice."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def record(self, *calls: dict[str, Any]) -> None:
        self.database.call("record_usage", events=list(calls))
        self.database.call("roll_up")

    def rule(self, metric: str, threshold: str, **fields: Any) -> dict[str, Any]:
        rule = {
            "name": f"{metric} above {threshold}",
            "metric": metric,
            "threshold": threshold,
            "window_s": 300,
            "minimum_sample": 1,
        }
        return self.ask("save_alert_rule", rule={**rule, **fields})

    def channel(self, url: str, *, kind: Any = "webhook", **fields: Any) -> dict[str, Any]:
        """Save a channel as the app does: its address leaves this process sealed."""
        secret = {"signing_secret": fields.pop("signing_secret")} if "signing_secret" in fields else {}
        target = ChannelTarget(kind=kind, url=url, **secret)
        return self.ask("save_notification_channel", channel={"name": "pager", **target.seal(BOX), **fields})

    def evaluate(self, seconds: float) -> dict[str, int]:
        """Evaluate all rules; returns how many came to each end, without the zeros."""
        result = self.ask("evaluate_alerts", as_of=at(seconds))
        return {key: value for key, value in result.items() if type(value) is int and value}

    def alerts(self, **filters: Any) -> dict[str, Any]:
        return self.ask("get_alerts", **DAY, filters=filters)

    def outbox(self) -> list[tuple[str, str]]:
        """What waits or was sent, oldest first."""
        rows = sorted(self.alerts()["outbox"], key=lambda row: int(row["notification_id"]))
        return [(row["event"], row["state"]) for row in rows]

    def claim(self, seconds: float | None, worker: str = "worker-1", **arguments: Any) -> list[dict[str, Any]]:
        """Lease what is due at that second; None is the database's own time, for what it writes by its own clock."""
        as_of = None if seconds is None else at(seconds)
        claimed: Any = self.database.call("claim_notifications", worker=worker, as_of=as_of, **arguments)
        return list(claimed)

    def finish(self, number: int, seconds: float, *, ok: bool, worker: str = "worker-1", **arguments: Any) -> Any:
        return self.database.call(
            "finish_notification", notification_id=number, worker=worker, ok=ok, as_of=at(seconds), **arguments
        )

    def ask(self, function: str, **arguments: Any) -> dict[str, Any]:
        answer = self.database.call(function, **arguments)
        assert isinstance(answer, dict)
        return answer


def fire(clockwork: Clockwork) -> int:
    """Let one rule fire at second 10; returns the number of its message."""
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("spend", "0", channels=[1])
    clockwork.record(call(0))
    clockwork.evaluate(10)
    return 1


def opened(message: dict[str, Any]) -> dict[str, str]:
    """The address and the secret of a claimed message."""
    document = BOX.open(message["sealed"])
    assert document is not None
    return document


def notifier(**options: Any) -> ChannelNotifier:
    """What the worker sends with, here to loopback as well."""
    return ChannelNotifier(box=BOX, allow_private=True, **options)
