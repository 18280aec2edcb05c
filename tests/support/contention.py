"""Processes that write, read, roll up, condense, refresh, rebuild, make and drop partitions in one database at once."""

from __future__ import annotations

import multiprocessing
import random
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import psycopg

from ingest.database import PostgresDatabase
from ingest.errors import DatabaseError
from tests.support.events import condense_all, performance_event, roll_up_all, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Event

    from ingest.database import Database

_RETENTION_DAYS = 90
_LOCK_NOT_AVAILABLE = "55P03"
_OLD_MONTHS = 2

PAGES = ("get_overview", "get_usage", "get_costs", "get_performance")


class Addresses(Protocol):
    """A database that these processes can reach."""

    @property
    def superuser_url(self) -> str: ...

    @property
    def authenticator_url(self) -> str: ...


@dataclass(frozen=True)
class Outcome:
    """What happened.

    Attributes:
        errors: Messages of calls that failed; a wait for a lock of more than a second is one.
        deadlocks: How many the server broke.
        is_exact: Whether the rollups equal the raw rows at the end.
        stored: Calls stored.
        reads: Pages read.
        read_p95_ms: 95th percentile of a page.
        write_p95_ms: 95th percentile of a batch of 50.
        increments: Increments that found something to do.
        condensations: Runs that condensed something.
        refreshes: Refreshes done.
        dropped_months: Months that retention took out.
    """

    errors: list[str]
    deadlocks: int
    is_exact: bool
    stored: int
    reads: int
    read_p95_ms: float
    write_p95_ms: float
    increments: int
    condensations: int
    refreshes: int
    dropped_months: int


class Contention:
    """Runs writers, readers, two workers and maintenance until the writers have stored their batches.

    Args:
        database: Where.
        writers: Processes that store batches of 50 calls of the last three days.
        readers: Processes that read one page after the other.
        batches: Batches of each writer.
    """

    def __init__(self, database: Addresses, *, writers: int, readers: int, batches: int) -> None:
        self._database = database
        self._writers = writers
        self._readers = readers
        self._batches = batches

    def run(self) -> Outcome:
        """Start everything, wait for the writers, stop the others, compare."""
        with psycopg.connect(self._database.superuser_url, autocommit=True) as connection:
            connection.execute("alter role authenticator set lock_timeout = '1s'")
            self._store_old_months(connection)
        context = multiprocessing.get_context("fork")
        results = context.Queue()
        stop = context.Event()
        url = self._database.authenticator_url

        def start(task: Callable[..., dict[str, Any]], *arguments: object) -> multiprocessing.process.BaseProcess:
            process = context.Process(target=_report, args=(results, task, url, stop, *arguments))
            process.start()
            return process

        writers = [start(_write, number, self._batches) for number in range(self._writers)]
        others = [start(_read, number) for number in range(self._readers)]
        others += [start(_work), start(_work), start(_maintain), start(_retain)]
        reports = [results.get() for _ in writers]
        stop.set()
        reports += [results.get() for _ in others]
        for process in [*writers, *others]:
            process.join()
        return self._judge(reports)

    def _store_old_months(self, connection: psycopg.Connection) -> None:
        """Store calls of two months past retention, for it to take out meanwhile."""
        service = PostgresDatabase(self._database.authenticator_url)
        now = datetime.now(UTC)
        for number in range(_OLD_MONTHS):
            created_at = now - timedelta(days=150 + 50 * number)
            service.call("record_usage", events=[usage_event(created_at=created_at)])
        roll_up_all(service)
        service.close()
        connection.execute("update observability_internal.ai_usage_metrics set received_at = created_at")

    def _judge(self, reports: list[dict[str, Any]]) -> Outcome:
        service = PostgresDatabase(self._database.authenticator_url)
        roll_up_all(service)
        condense_all(service)
        verification = service.call("verify_rollups")
        service.close()
        assert isinstance(verification, dict)
        with psycopg.connect(self._database.superuser_url, autocommit=True) as connection:
            connection.execute("alter role authenticator reset lock_timeout")
            found = connection.execute(
                "select deadlocks from pg_stat_database where datname = current_database()"
            ).fetchone()
        assert found is not None

        def total(name: str) -> int:
            return sum(report.get(name, 0) for report in reports)

        def p95(name: str) -> float:
            times = sorted(value for report in reports for value in report.get(name, []))
            return times[int(len(times) * 0.95)] if times else 0.0

        return Outcome(
            errors=[error for report in reports for error in report["errors"]],
            deadlocks=int(found[0]),
            is_exact=verification["is_exact"] is True and verification["requests"] == total("stored"),
            stored=total("stored"),
            reads=len([1 for report in reports for _ in report.get("read_ms", [])]),
            read_p95_ms=p95("read_ms"),
            write_p95_ms=p95("write_ms"),
            increments=total("increments"),
            condensations=total("condensations"),
            refreshes=total("refreshes"),
            dropped_months=total("dropped_months"),
        )


def _report(results: Any, task: Callable[..., dict[str, Any]], url: str, stop: Event, *arguments: object) -> None:
    report: dict[str, Any] = {"errors": []}
    database = PostgresDatabase(url, max_connections=1)
    try:
        report = task(database, stop, *arguments)
    except DatabaseError as error:
        report["errors"].append(f"{task.__name__}: {error}")
    finally:
        database.close()
        results.put(report)


def _write(database: Database, _stop: Event, number: int, batches: int) -> dict[str, Any]:
    rng = random.Random(number)
    report: dict[str, Any] = {"errors": [], "stored": 0, "write_ms": []}
    for _ in range(batches):
        now = datetime.now(UTC)
        events = [
            usage_event(
                created_at=now - timedelta(hours=rng.choice([0, 0, 0, 30]), seconds=rng.randrange(60)),
                user_id=f"user_{rng.randrange(50)}",
                model=f"model-{rng.randrange(6)}",
                latency_ms=rng.lognormvariate(6, 1),
            )
            for _ in range(50)
        ]
        started = time.perf_counter()
        report["stored"] += database.call("record_usage", events=events)
        report["write_ms"].append((time.perf_counter() - started) * 1000)
        database.call("record_performance", events=[performance_event(created_at=now)])
    return report


def _read(database: Database, stop: Event, number: int) -> dict[str, Any]:
    rng = random.Random(number)
    report: dict[str, Any] = {"errors": [], "read_ms": []}
    while not stop.is_set() or not report["read_ms"]:
        now = datetime.now(UTC)
        span = rng.choice([timedelta(hours=1), timedelta(days=1), timedelta(days=7), timedelta(days=90)])
        started = time.perf_counter()
        database.call(rng.choice(PAGES), from_time=now - span, to_time=now)
        report["read_ms"].append((time.perf_counter() - started) * 1000)
    return report


def _work(database: Database, stop: Event) -> dict[str, Any]:
    report: dict[str, Any] = {"errors": [], "increments": 0, "condensations": 0}
    while not stop.is_set() or not report["increments"]:
        increment = database.call("roll_up")
        condensed = database.call("condense_rollups", max_hours=8)
        assert isinstance(increment, dict)
        assert isinstance(condensed, dict)
        report["increments"] += bool(increment["batches"])
        report["condensations"] += bool(condensed["hours"])
        if stop.is_set() and not increment["is_busy"] and not increment["pending_batches"]:
            break
    return report


def _maintain(database: Database, stop: Event) -> dict[str, Any]:
    report: dict[str, Any] = {"errors": [], "refreshes": 0}
    while not stop.is_set() or not report["refreshes"]:
        database.call("ensure_partitions")
        report["refreshes"] += not dict(database.call("refresh_aggregates"))["is_busy"]  # type: ignore[arg-type]
        database.call("evaluate_alerts")
        database.call("verify_rollups")
        now = datetime.now(UTC)
        database.call("rebuild_rollups", from_time=now - timedelta(hours=1), to_time=now)
    return report


def _retain(database: Database, stop: Event) -> dict[str, Any]:
    """Drop what is due as the archiver does once its files are proved, and prune the rollups."""
    report: dict[str, Any] = {"errors": [], "dropped_months": 0}
    while not stop.is_set() or report["dropped_months"] < _OLD_MONTHS:
        months: Any = database.call("list_partitions", retention_days=_RETENTION_DAYS)
        for found in months:
            if found["state"] != "due":
                continue
            month = {"kind": found["kind"], "month": found["month"]}
            try:
                watch_id = database.call("watch_partition", **month)
                summary: Any = database.call("summarize_partition", **month)
                report["dropped_months"] += bool(
                    database.call(
                        "drop_archived_partition",
                        **month,
                        retention_days=_RETENTION_DAYS,
                        archive_id=str(uuid.uuid4()),
                        watch_id=watch_id,
                        row_count=summary["rows"],
                    )
                )
            except DatabaseError as error:
                if error.sqlstate != _LOCK_NOT_AVAILABLE:  # after 200 ms retention lets the others go first
                    raise
        database.call("prune_rollups", retention_days=400)
    return report
