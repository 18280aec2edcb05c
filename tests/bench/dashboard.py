"""The pages in Chromium beside an empty Streamlit page of the same run, and the server behind them.

`TREERING_BENCH_CALLS` gives the sizes, by default ten thousand and ten million calls of 90 days. Filling the larger
takes long: `TREERING_BENCH_HOME` names the folder of a database to measure instead, filled first where there is none;
calls are added up to the present. What is measured, at each size:

- first load: from the navigation, with an empty cache, to the last change of what the page shows; the median of several
  loads, in turn with loads of the empty page;
- click: from the click to the last change of what the page shows, with the live refresh on;
- rerun: from the question to the end of a page's whole script, by a client that draws nothing;
- 20 viewers, each another analyst: the same, all at the same moment, page after page;
- memory: growth of the server by each of these sessions.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import psycopg

from ingest.database.postgres import PostgresDatabase
from ingest.errors import DatabaseError
from ingest.local.embedded import EmbeddedPostgres
from ingest.local.up import dashboard_script
from tests.bench import _calls, dashboard_sql
from tests.bench._app_servers import AppServer, serve
from tests.bench._page_clicks import CLICKS, PAGES
from tests.bench._page_times import chromium, load, new_page
from tests.bench._rows import row
from tests.bench._viewers import Viewer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Browser

SIZES: Final = [int(size) for size in os.environ.get("TREERING_BENCH_CALLS", "10_000,10_000_000").split(",")]
HOME: Final = os.environ.get("TREERING_BENCH_HOME", "")
LOADS: Final = 7
ROUNDS: Final = 2
RERUNS: Final = 24
VIEWERS: Final = 20
SEED: Final = 20261126

EMPTY: Final = "import streamlit as st\n\nst.set_page_config(page_title='Empty')\n"
OPS: Final = "bench-ops"
SECRET: Final = "a secret that only this benchmark knows"
# What a viewer looks at: each question another window, so that none is answered from memory.
QUERIES: Final[tuple[dict[str, str | list[str]], ...]] = (
    {},
    {"period": "day"},
    {"period": "month"},
    {"model": ["gpt-4o"]},
    {"period": "quarter"},
    {"period": "day", "feature": ["chat", "search"]},
)


@dataclass(frozen=True, slots=True)
class Stage:
    """The servers of one size."""

    size: str
    ours: AppServer
    embedded: AppServer
    empty: AppServer


def run() -> Iterator[dict[str, object]]:
    """Yield the rows of each size."""
    for calls in SIZES:
        with _filled(calls) as (home, stored), _served(home, f"{stored:,} calls") as stage:
            with chromium() as browser:
                yield from _first_loads(browser, stage)
                yield from _clicks(browser, stage)
            yield from asyncio.run(_reruns(stage))


@contextmanager
def _filled(calls: int) -> Iterator[tuple[Path, int]]:
    """Run a database with calls of 90 days up to now, and people who look at them."""
    home = Path(HOME) if HOME else Path(tempfile.mkdtemp(prefix="treering-bench-"))
    try:
        with EmbeddedPostgres(home) as server:
            with psycopg.connect(server.superuser_uri, autocommit=True) as connection:
                stored = _fill(connection, calls)
                people = [(OPS, "ops"), *((_analyst(number), "analyst") for number in range(VIEWERS))]
                connection.cursor().executemany(
                    "insert into observability_internal.members (user_id, role) values (%s, %s) on conflict do nothing",
                    people,
                )
            _raise_alarm(PostgresDatabase(server.authenticator_uri))
            yield home, stored
    finally:
        if not HOME:
            shutil.rmtree(home, ignore_errors=True)


def _fill(connection: psycopg.Connection, calls: int) -> int:
    """Fill an empty database, or bring one up to the present; the number of calls."""
    now = datetime.now(UTC)
    stored, newest = _state(connection)
    if not stored:
        dashboard_sql.ingest(connection, now, calls)
    elif newest is not None and (missing := now - newest) > timedelta(minutes=1):
        _calls.make_months(connection)
        share = stored / _calls.DAYS * (missing / timedelta(days=1))
        _calls.store(connection, round(share), newest, missing)
        _calls.store_requests(connection, round(share * dashboard_sql.REQUESTS_PER_CALL), newest, missing)
        _calls.roll_up(connection)
        _calls.condense(connection)
        connection.execute("select observability.refresh_aggregates()")
    return _state(connection)[0]


def _state(connection: psycopg.Connection) -> tuple[int, datetime | None]:
    found = connection.execute("select count(*), max(created_at) from observability_internal.ai_usage_metrics")
    (stored, newest) = found.fetchone() or (0, None)
    return stored, newest


def _raise_alarm(door: PostgresDatabase) -> None:
    """Have alerts firing, so that the Alerts page has what it is for."""
    for metric, threshold in (("requests", "0"), ("cost", "0"), ("error_rate", "0.001")):
        rule: dict[str, Any] = {"name": f"bench {metric}", "metric": metric, "threshold": threshold, "window_s": 86_400}
        with suppress(DatabaseError):  # a database that was measured before has the rule
            door.call("save_alert_rule", rule={**rule, "minimum_sample": 1})
    door.call("evaluate_alerts")
    door.close()


@contextmanager
def _served(home: Path, size: str) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "empty.py"
        script.write_text(EMPTY, encoding="utf-8")
        app, place = dashboard_script(), {"TREERING_HOME": str(home)}
        with (
            serve(app, TREERING_LOCAL_VIEWER=OPS, **place) as ours,
            serve(app, TREERING_EMBED_SECRET=SECRET, **place) as embedded,
            serve(script) as empty,
        ):
            yield Stage(size, ours, embedded, empty)


def _first_loads(browser: Browser, stage: Stage) -> Iterator[dict[str, object]]:
    """Load each page and the empty one in turn; the first load of all, which imports the pages, is told apart."""
    loads: dict[str, list[float]] = {name: [] for name in ("", *PAGES)}
    with new_page(browser) as page:
        yield row(f"{stage.size}: very first load after the start", load(page, f"{stage.ours.address}/"), "ms")
    for turn in range(LOADS + 1):
        for name, path in (("", ""), *PAGES.items()):
            server = stage.ours if name else stage.empty
            with new_page(browser) as page:
                took = load(page, f"{server.address}/{path}")
            if turn:  # the round before imports and compiles what is loaded when it is first needed
                loads[name].append(took)
    empty = median(loads[""])
    for name in PAGES:
        took = median(loads[name])
        yield row(f"{stage.size}: {name}, first load", took, "ms", peer="empty Streamlit page", peer_value=empty)


def _clicks(browser: Browser, stage: Stage) -> Iterator[dict[str, object]]:
    for name, path in PAGES.items():
        times: list[float] = []
        with new_page(browser) as page:
            load(page, f"{stage.ours.address}/{path}")
            for _ in range(ROUNDS):
                times += [act(page) for act in CLICKS[name]]
        yield from _quantiles(f"{stage.size}: {name}, click", times)


async def _reruns(stage: Stage) -> list[dict[str, object]]:
    """Measure the server alone: reruns of one viewer, then of twenty at the same moment, and what these hold."""
    rows: list[dict[str, object]] = []
    source = random.Random(SEED)
    async with AsyncExitStack() as sessions:
        first = await sessions.enter_async_context(Viewer(stage.embedded.address, SECRET, _analyst(0)))
        for path in PAGES.values():
            await first.run(path, {})  # imports
        for name, path in PAGES.items():
            times = [1000 * await first.run(path, QUERIES[number % len(QUERIES)]) for number in range(RERUNS)]
            rows += _quantiles(f"{stage.size}: {name}, rerun", times)
        before = stage.embedded.resident_mb()
        viewers = [
            await sessions.enter_async_context(Viewer(stage.embedded.address, SECRET, _analyst(number)))
            for number in range(VIEWERS)
        ]
        times = []
        for path in PAGES.values():
            asked = [viewer.run(path, source.choice(QUERIES)) for viewer in viewers]
            times += [1000 * seconds for seconds in await asyncio.gather(*asked)]
        rows += _quantiles(f"{stage.size}: {VIEWERS} viewers at once, rerun", times)
        grown = stage.embedded.resident_mb() - before
        rows.append(row(f"{stage.size}: memory by viewer", grown / VIEWERS, "MB"))
    return rows


def _quantiles(name: str, times: Sequence[float]) -> Iterator[dict[str, object]]:
    ordered = sorted(times)
    yield row(f"{name}, p50", median(ordered), "ms")
    yield row(f"{name}, p95", ordered[round(0.95 * len(ordered)) - 1], "ms")


def _analyst(number: int) -> str:
    return f"bench-analyst-{number}"
