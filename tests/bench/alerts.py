"""From the breaching `record_usage` to the webhook's 200, under 500 calls a second and 200 rules.

The whole way with real processes: a product whose calls go through its journal, two workers as `treering worker` starts
them, Postgres with the settings of `treering up`, a receiver on loopback. Each rule watches a feature of its own and is
breached once, by one call, at a random moment. In the second run the leading worker is killed with -9 midway.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

import ingest
from ingest.alerts.channels import ChannelTarget
from ingest.alerts.sealing import SecretBox, make_key
from ingest.database import PostgresDatabase
from tests.bench._rows import row
from tests.bench._servers import BenchDatabase, embedded
from tests.support.webhook_server import Behaviour, WebhookServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler

EVENTS_PER_S = 500
BREACHES = 200
BREACH_S = 120
WARM_UP_S = 20
# Longer than a lease on a message: what a dead worker held has been sent again by then.
SETTLE_S = 40
SEED = 20261123

_METRICS = (
    ("spend", "0"), ("tokens", "1000"), ("requests", "0"), ("error_rate", "0.5"), ("p50_latency_ms", "20000"),
    ("p90_latency_ms", "20000"), ("p99_latency_ms", "20000"), ("p99_time_to_first_token_ms", "5000"),
)  # fmt: skip
_WINDOWS_S = (300, 900, 3600, 21_600, 86_400)


class Receiver(WebhookServer):
    """Notes when it has answered each message."""

    def __init__(self) -> None:
        super().__init__()
        self.answered_at: dict[str, float] = {}

    def _answer(self, request: BaseHTTPRequestHandler, behaviour: Behaviour) -> None:
        super()._answer(request, behaviour)
        self.answered_at.setdefault(request.headers["Idempotency-Key"], time.time())


@dataclass
class Outcome:
    """What a run came to."""

    latencies_s: list[float] = field(default_factory=list)
    lost: int = 0
    repeated: int = 0
    repeated_keys: int = 0
    recorded_per_s: float = 0.0
    evaluation_ms: float = 0.0


def run() -> Iterator[dict[str, object]]:
    """Yield latencies, losses and repetitions, undisturbed and with the leader killed."""
    for title, is_killed in (("", False), (", the leader killed -9 midway", True)):
        outcome = _measure(is_killed=is_killed)
        ordered = sorted(outcome.latencies_s)
        cuts = statistics.quantiles(ordered, n=100, method="inclusive")
        yield row(f"record_usage to the webhook's 200, p50{title}", cuts[49], "s")
        yield row(f"record_usage to the webhook's 200, p99{title}", cuts[98], "s")
        yield row(f"record_usage to the webhook's 200, max{title}", ordered[-1], "s")
        yield row(f"messages lost of {BREACHES}{title}", outcome.lost, "messages")
        yield row(f"alerts told twice{title}", outcome.repeated, "alerts")
        yield row(f"requests that repeated an idempotency key{title}", outcome.repeated_keys, "requests")
        yield row(f"calls stored a second meanwhile{title}", outcome.recorded_per_s, "calls/s")
        yield row(f"one evaluation of {BREACHES} rules under load{title}", outcome.evaluation_ms, "ms")


def _measure(*, is_killed: bool) -> Outcome:
    home = Path(tempfile.mkdtemp(prefix="treering-bench-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        database = stack.enter_context(embedded())
        receiver = stack.enter_context(Receiver())
        door = PostgresDatabase(database.authenticator_url)
        stack.callback(door.close)
        key = make_key()
        _make_rules(door, receiver.url, SecretBox(SecretStr(key)))
        workers = [stack.enter_context(_process(home, database, key, "ingest.cli", "worker")) for _ in range(2)]
        load = _process(home, database, key, "tests.bench._steady_load", str(home / "load"), str(EVENTS_PER_S))
        stack.enter_context(load)
        ingest.configure(home=home / "breaches", supabase_db_url=database.authenticator_url)
        stack.callback(ingest.shutdown, 10)
        time.sleep(WARM_UP_S)
        before = time.monotonic(), _stored(door)
        breached_at = _breach(door, workers if is_killed else [])
        after = time.monotonic(), _stored(door)
        outcome = Outcome(recorded_per_s=(after[1] - before[1]) / (after[0] - before[0]))
        _wait_for(receiver)
        outcome.evaluation_ms = _time_evaluation(door)
    _judge(outcome, receiver, breached_at)
    return outcome


def _make_rules(door: PostgresDatabase, url: str, box: SecretBox) -> None:
    door.call(
        "save_notification_channel",
        channel={"name": "receiver", "max_per_minute": 6000, **ChannelTarget(url=url).seal(box)},
    )
    for number in range(BREACHES):
        metric, threshold = _METRICS[number % len(_METRICS)]
        rule: dict[str, Any] = {
            "name": f"rule {number}",
            "metric": metric,
            "threshold": threshold,
            "window_s": _WINDOWS_S[number // len(_METRICS) % len(_WINDOWS_S)],
            "scope": {"feature": [f"watched_{number}"]},
            "minimum_sample": 1,
            "channels": [1],
        }
        door.call("save_alert_rule", rule=rule)


@contextmanager
def _process(home: Path, database: BenchDatabase, key: str, *command: str) -> Iterator[subprocess.Popen[str]]:
    log = (home / f"{command[-1].replace('/', '-')}.log").open("a")
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=log,
        stderr=log,
        text=True,
        env={
            **os.environ,
            "SUPABASE_DB_URL": database.authenticator_url,
            "TREERING_HOME": str(home / "worker"),
            "TREERING_SECRET_KEY": key,
            "TREERING_ALLOW_PRIVATE_WEBHOOKS": "true",
        },
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        log.close()


def _breach(door: PostgresDatabase, workers: list[subprocess.Popen[str]]) -> dict[str, float]:
    source = random.Random(SEED)
    moments = sorted(source.uniform(0, BREACH_S) for _ in range(BREACHES))
    order = source.sample(range(BREACHES), BREACHES)
    started, breached_at = time.monotonic(), {}
    for place, (number, moment) in enumerate(zip(order, moments, strict=True)):
        time.sleep(max(0.0, started + moment - time.monotonic()))
        if workers and place == BREACHES // 2:
            _kill_leader(door, workers)
        breached_at[f"rule {number}"] = time.time()
        ingest.record_usage(
            user_id="user_breach", model="gpt-4o", feature=f"watched_{number}", prompt_tokens=3_000,
            completion_tokens=500, latency_ms=30_000.0, time_to_first_token_ms=9_000.0, status="error",
        )  # fmt: skip
    return breached_at


def _kill_leader(door: PostgresDatabase, workers: list[subprocess.Popen[str]]) -> None:
    status: Any = door.call("get_status")
    leading = [worker["details"]["pid"] for worker in status["workers"] if worker["is_leader"]]
    (leader,) = (process for process in workers if process.pid in leading)
    leader.kill()


def _wait_for(receiver: Receiver) -> None:
    deadline = time.monotonic() + 120
    while len(_firing(receiver)) < BREACHES and time.monotonic() < deadline:
        time.sleep(0.5)
    time.sleep(SETTLE_S)


def _firing(receiver: Receiver) -> list[tuple[str, str]]:
    """Rule and idempotency key of every request that told of a beginning."""
    documents = [json.loads(delivery.body) for delivery in list(receiver.deliveries)]
    return [(one["alert"]["rule_name"], one["id"]) for one in documents if one["event"] == "firing"]


def _judge(outcome: Outcome, receiver: Receiver, breached_at: dict[str, float]) -> None:
    firing = _firing(receiver)
    keys = dict(reversed(firing))
    outcome.latencies_s = [receiver.answered_at[keys[rule]] - at for rule, at in breached_at.items() if rule in keys]
    outcome.lost = len(breached_at) - len(keys)
    outcome.repeated = sum(count > 1 for count in Counter(rule for rule, _ in set(firing)).values())
    requests = Counter(delivery.headers["Idempotency-Key"] for delivery in receiver.deliveries)
    outcome.repeated_keys = sum(count - 1 for count in requests.values())


def _stored(door: PostgresDatabase) -> int:
    status: Any = door.call("get_status")
    now = time.time()
    overview: Any = door.call(
        "get_overview", from_time=_iso(now - 3600), to_time=_iso(now + 60), filters={"bucket": "hour"}
    )
    return int(overview["totals"]["requests"]) + int(status["pending_rows"])


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _time_evaluation(door: PostgresDatabase) -> float:
    times = []
    for _ in range(5):
        started = time.perf_counter()
        result: Any = door.call("evaluate_alerts")
        if not result["is_busy"]:
            times.append((time.perf_counter() - started) * 1000)
        time.sleep(0.3)
    return statistics.median(times)
