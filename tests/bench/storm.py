"""Ten thousand users in breach and a critical rule in one evaluation; then messages beside a receiver that stalls.

The evaluation, the worker's delivery (`Deliverer`, asked as often as the worker does) and the receivers are real. Time
counts from the call of `evaluate_alerts`, which measures all rules in one transaction.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from ingest.alerts.channels import ChannelTarget
from ingest.alerts.notifier import ChannelNotifier
from ingest.alerts.outbox import Deliverer
from ingest.alerts.sealing import SecretBox, make_key
from ingest.database import PostgresDatabase
from tests.bench._rows import row
from tests.bench._servers import embedded
from tests.support.webhook_server import Behaviour, WebhookServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler

USERS = 10_000
# Other messages that wait before the storm, in the channel of the critical rule too.
WAITING = 120
QUICK = 40
_BATCH = 1000
_POLL_S = 1.0


class Receiver(WebhookServer):
    """Notes when each message arrived."""

    def __init__(self, *behaviours: Behaviour) -> None:
        super().__init__(*behaviours)
        self.arrived: list[tuple[float, str]] = []

    def _answer(self, request: BaseHTTPRequestHandler, behaviour: Behaviour) -> None:
        self.arrived.append((time.monotonic(), self.deliveries[-1].document["alert"]["rule_name"]))
        super()._answer(request, behaviour)


def run() -> Iterator[dict[str, object]]:
    """Yield how long the critical message took, how many messages there were, and what a stalled receiver costs."""
    with ExitStack() as stack:
        database = stack.enter_context(embedded())
        door = PostgresDatabase(database.authenticator_url)
        stack.callback(door.close)
        box = SecretBox(SecretStr(make_key()))
        receiver = stack.enter_context(Receiver())
        yield from _storm(door, box, receiver)
    worst = {}
    for is_stalled in (False, True):
        worst[is_stalled] = _beside_a_stalled_one(is_stalled=is_stalled)
    yield row("worst message of other channels, all receivers answer", worst[False], "s")
    yield row("worst message of other channels, one receiver stalls", worst[True], "s")
    yield row("worst with a stalled receiver by worst without", worst[True] / worst[False], "ratio")


def _storm(door: PostgresDatabase, box: SecretBox, receiver: Receiver) -> Iterator[dict[str, object]]:
    now = dt.datetime.now(dt.UTC)
    for first in range(0, USERS, _BATCH):
        door.call("record_usage", events=[_call(number, now) for number in range(first, first + _BATCH)])
    while _is_pending(door):
        pass
    _channel(door, box, receiver.url, "on call")
    for number in range(WAITING):  # a storm of its own: each a rule that fires
        _rule(door, f"waiting {number}", "0")
    _rule(door, "users", "0", group_by="user_id", window_s=900, group_limit=500)
    _rule(door, "critical", "100", severity="critical")
    notifier = ChannelNotifier(box=box, allow_private=True)
    deliverer = Deliverer(door, "bench", notifier=notifier)
    began = time.monotonic()
    evaluated = _evaluate(door)
    while not any(name == "critical" for _, name in receiver.arrived) and time.monotonic() - began < 120:
        if not deliverer.deliver():
            time.sleep(_POLL_S)
    deliverer.close()
    critical = next(moment for moment, name in receiver.arrived if name == "critical") - began
    written: Any = door.call(
        "get_alerts", from_time=now - dt.timedelta(hours=1), to_time=now + dt.timedelta(hours=1),
        filters={"limit": 1000},
    )  # fmt: skip
    names = [message["rule_name"] for message in written["outbox"]]
    yield row(f"one evaluation of {USERS:,} users in breach and {WAITING + 1} other rules", evaluated, "s")
    yield row("critical message on the wire after the evaluation began", critical, "s")
    told = names.count("users") + names.count("critical")
    yield row("messages about the users and the critical rule", told, "messages")
    yield row("messages that waited beside them", sum(name.startswith("waiting") for name in names), "messages")


def _beside_a_stalled_one(*, is_stalled: bool) -> float:
    with ExitStack() as stack:
        database = stack.enter_context(embedded())
        door = PostgresDatabase(database.authenticator_url)
        stack.callback(door.close)
        box = SecretBox(SecretStr(make_key()))
        behaviours: list[Behaviour] = ["stall"] * QUICK if is_stalled else []
        slow = stack.enter_context(Receiver(*behaviours))
        quick = stack.enter_context(Receiver())
        _channel(door, box, slow.url, "slow")
        _channel(door, box, quick.url, "quick")
        now = dt.datetime.now(dt.UTC)
        door.call("record_usage", events=[_call(0, now)])
        while _is_pending(door):
            pass
        for number in range(QUICK):
            _rule(door, f"rule {number}", "0", channels=[1, 2])
        deliverer = Deliverer(door, "bench", notifier=ChannelNotifier(box=box, allow_private=True))
        _evaluate(door)
        began = time.monotonic()
        while len(quick.arrived) < QUICK and time.monotonic() - began < 120:
            if not deliverer.deliver():
                time.sleep(_POLL_S)
        worst = max(moment for moment, _ in quick.arrived) - began
        deliverer.close()
    return worst


def _call(number: int, now: dt.datetime) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "created_at": now.isoformat(),
        "user_id": f"user-{number}",
        "model": "gpt-4o",
        "estimated_cost": str(1 + number / 100),
        "cost_source": "priced",
    }


def _is_pending(door: PostgresDatabase) -> bool:
    result: Any = door.call("roll_up")
    return bool(result["pending_batches"])


def _channel(door: PostgresDatabase, box: SecretBox, url: str, name: str) -> None:
    channel = {"name": name, "max_per_minute": 60, **ChannelTarget(url=SecretStr(url)).seal(box)}
    door.call("save_notification_channel", channel=channel)


def _rule(door: PostgresDatabase, name: str, threshold: str, **fields: Any) -> None:
    rule = {"name": name, "metric": "spend", "threshold": threshold, "window_s": 3600, "channels": [1], **fields}
    door.call("save_alert_rule", rule=rule)


def _evaluate(door: PostgresDatabase) -> float:
    began = time.monotonic()
    door.call("evaluate_alerts")
    return time.monotonic() - began
