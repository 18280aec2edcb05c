"""What the plan advises, as parts of the spend: for the demo and for each shared trace, by detector.

Each line is the expected part of the spend, with its low and high end; kinds that need an evaluation are in no sum. The
traces have no sessions. Mooncake's are told by its blocks: a call goes on with the session whose latest prompt it
begins with, up to that prompt's last, unfinished block. Judged by these turns alone, without a hash, its input that the
cache could give is compared with what its blocks say, block by block.
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from ingest.database.postgres import PostgresDatabase
from ingest.local.demo import load_demo
from ingest.ops.traces import Mapping, TracedCall, open_trace
from ingest.savings.reading import read_savings_plan
from pricing import PriceBook, calculate_cost
from tests.bench._rows import row
from tests.bench._servers import embedded
from tests.support.cli import shared_trace
from tests.support.events import condense_all, roll_up_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal
    from pathlib import Path

    from ingest.savings.plan import Plan

AZURE = "azure_llm_conv_2023.csv.gz"
MOONCAKE = "mooncake_conversation.jsonl.gz"
IDLE_MINUTES = (5, 10, 60)
# Of all input of Mooncake's trace, what another call had at its beginning within 5, 10 and 60 minutes, block by block.
BY_BLOCKS = (0.264, 0.323, 0.347)
_TOKENS_PER_BLOCK = 512


@dataclass
class Traffic:
    """Calls of one environment, on the day before today.

    Attributes:
        name: Name of the environment.
        events: The calls, priced.
    """

    name: str
    events: list[dict[str, Any]]


def run() -> Iterator[dict[str, object]]:
    """Yield parts of the spend, and parts of the input."""
    book = PriceBook.default()
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with embedded() as server, psycopg.connect(server.superuser_url, autocommit=True) as connection:
        database = PostgresDatabase(server.authenticator_url, role="service_role")
        load_demo(database, now=today, fallback_model="gpt-4o", days=30)
        mooncake = shared_trace(MOONCAKE)
        turns = _sessions(mooncake)
        traffic = [
            Traffic("azure", _read(shared_trace(AZURE), "azure", today, book)),
            Traffic("mooncake", _read(mooncake, "mooncake", today, book)),
            Traffic("mooncake by turns", _read(mooncake, "mooncake", today, book, turns)),
        ]
        for one in traffic:
            _store(database, one)
        roll_up_all(database)
        condense_all(database)
        while database.call("judge_savings") != {"days": 0, "waiting": 0}:
            pass
        for name in ("demo", *(one.name for one in traffic)):
            plan = read_savings_plan(database, to_time=today, filters={"environment": name}, book=book)
            yield from _advised(name, plan)
        yield from _by_turns(connection, traffic[-1], today)
        database.close()


def _read(
    path: Path, trace_format: str, today: datetime, book: PriceBook, turns: list[str] | None = None
) -> list[dict[str, Any]]:
    """Read a trace as calls of gpt-4o at yesterday noon; with turns, without any hash."""
    trace = open_trace(path, trace_format)
    last = trace.last_created_at()
    assert last is not None
    events = []
    for call in trace.calls(Mapping(users=25), shift=today - timedelta(hours=11) - last):
        assert isinstance(call, TracedCall)
        event = dict(call.arguments)
        if turns is not None:
            # The same call told in another way is another call.
            event |= {"session_id": turns[call.number - 1], "event_id": uuid.uuid5(event["event_id"], "turns")}
            for name in ("prompt_hash", "prompt_blocks", "prefix_hash"):
                event.pop(name, None)
        if event.get("prompt_blocks"):
            event["prompt_blocks"] = "\\x" + event["prompt_blocks"]
        cost = calculate_cost(event["model"], event["prompt_tokens"], event["completion_tokens"], book=book)
        events.append(
            {
                **event,
                "event_id": str(event["event_id"]),
                "created_at": event["created_at"].isoformat(),
                "feature": "chat",
                "streamed": True,
                "estimated_cost": str(cost.total),
                "cost_source": "priced",
            }
        )
    return events


def _sessions(path: Path) -> list[str]:
    """Name the session of each call of Mooncake's trace."""
    found: list[str] = []
    latest: dict[tuple[int, ...], str] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            blocks = tuple(json.loads(line)["hash_ids"])
            name = next((latest[blocks[:end]] for end in range(len(blocks), 1, -1) if blocks[:end] in latest), None)
            name = name or f"session-{number}"
            found.append(name)
            latest[blocks[:-1]] = name
    return found


def _store(database: PostgresDatabase, traffic: Traffic) -> None:
    for begin in range(0, len(traffic.events), 2000):
        batch = [{**event, "environment": traffic.name} for event in traffic.events[begin : begin + 2000]]
        assert database.call("record_usage", events=batch) == len(batch)


def _advised(name: str, plan: Plan) -> Iterator[dict[str, object]]:
    """Yield a line for each kind, and one for the sum of what needs no evaluation."""
    spend = plan.spend_per_month
    kinds: defaultdict[tuple[bool, str], list[Decimal]] = defaultdict(lambda: [0 * spend] * 3)
    for one in plan.suggestions:
        ends = (one.low, one.saved_per_month, one.high)
        label = f"{one.kind} (needs evaluation)" if one.needs_evaluation else one.kind
        for key in ((one.needs_evaluation, label), *(() if one.needs_evaluation else ((False, "all"),))):
            kinds[key] = [sum_ + end for sum_, end in zip(kinds[key], ends, strict=True)]
    kinds[False, "all"] = kinds[False, "all"]
    for (_, kind), amounts in sorted(kinds.items()):
        low, expected, high = (float(100 * amount / spend) for amount in amounts)
        yield row(f"{name}: {kind}", expected, "% of the spend") | {"low": round(low, 3), "high": round(high, 3)}


def _by_turns(connection: psycopg.Connection, traffic: Traffic, today: datetime) -> Iterator[dict[str, object]]:
    total = sum(event["prompt_tokens"] for event in traffic.events)
    found = connection.execute(
        "select sum(c.shared_5), sum(c.shared_10), sum(c.shared_60)"
        " from observability_internal.compare_calls(%s, %s) as c"
        " inner join observability_internal.ai_usage_metrics as m using (event_id) where m.environment = %s",
        [today - timedelta(days=1), today, traffic.name],
    ).fetchone()
    assert found is not None
    for minutes, tokens, truth in zip(IDLE_MINUTES, found, BY_BLOCKS, strict=True):
        name = f"mooncake: input that turns alone say is shared within {minutes} minutes"
        yield row(name, float(tokens) / total * 100, "%", peer="block by block", peer_value=truth * 100)
