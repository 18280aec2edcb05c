"""Rollups equal the raw rows, whatever happens to the processes, and can be computed anew."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.database import PostgresDatabase
from ingest.database.migrate import apply_migrations
from ingest.errors import DatabaseError, InvalidArgumentError
from ingest.local.cluster import PostgresCluster
from ingest.local.embedded import find_binaries
from tests.support.events import NOON, condense_all, performance_event, roll_up_all, usage_event
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door

DAY = NOON.replace(hour=0)


def fill(service: Database, seed: int = 1, count: int = 60) -> None:
    """Calls and requests of three days; some calls without a latency or a cost."""
    rng = random.Random(seed)
    usage = [
        usage_event(
            created_at=DAY + timedelta(minutes=rng.randrange(3 * 1440)),
            user_id=f"user_{rng.randrange(5)}",
            model=rng.choice(["gpt-4o", "o4-mini"]),
            prompt_tokens=rng.randrange(1000),
            latency_ms=rng.choice([None, rng.lognormvariate(6, 1)]),
        )
        for _ in range(count)
    ]
    performance = [
        performance_event(
            created_at=DAY + timedelta(minutes=rng.randrange(3 * 1440)), sample_weight=rng.choice([1, 3.3])
        )
        for _ in range(count // 3)
    ]
    service.call("record_usage", events=usage)
    service.call("record_performance", events=performance)


def verify(service: Database) -> dict[str, Any]:
    result = service.call("verify_rollups", from_time=DAY, to_time=DAY + timedelta(days=3))
    assert isinstance(result, dict)
    return result


def rebuild(service: Database, days: int = 3) -> dict[str, Any]:
    result = service.call("rebuild_rollups", from_time=DAY, to_time=DAY + timedelta(days=days))
    assert isinstance(result, dict)
    return result


def test_rollups_equal_the_raw_rows_at_every_level(service_db: Database) -> None:
    fill(service_db)
    roll_up_all(service_db)
    fill(service_db, seed=2)  # waits: in neither side
    assert (verify(service_db)["is_exact"], set(verify(service_db)["levels"])) == (
        True,
        {"minute", "user", "minute of requests"},
    )
    roll_up_all(service_db)
    condense_all(service_db)
    result = verify(service_db)
    assert result["is_exact"], result["differences"]
    assert result["requests"] == 120
    assert result["levels"] == dict.fromkeys(
        ["minute", "user", "hour", "day", "user day", "merged day", "minute of requests", "day of requests"], 3
    )


@pytest.mark.parametrize(
    ("statement", "level"),
    [
        ("update observability_internal.usage_by_minute set requests = requests + 1 where dim_id = 1", "minute"),
        ("update observability_internal.usage_by_minute set cost = cost + 0.00000001 where dim_id = 1", "minute"),
        ("update observability_internal.usage_by_minute set latency = latency || latency where dim_id = 1", "minute"),
        ("update observability_internal.usage_by_user set prompt_tokens = prompt_tokens + 1 where dim_id = 1", "user"),
        ("delete from observability_internal.usage_by_user", "user"),
        ("update observability_internal.usage_by_hour set requests = requests - 1", "hour"),
        ("update observability_internal.usage_by_day set requests = requests - 1", "day"),
        ("update observability_internal.usage_by_user_day set cost = 0", "user day"),
        ("update observability_internal.latency_by_group set latency = null where level = 'day'", "merged day"),
        ("update observability_internal.performance_by_minute set requests = requests + 1", "minute of requests"),
        ("update observability_internal.performance_by_day set requests = requests + 1", "day of requests"),
    ],
)
def test_a_difference_at_any_level_is_found_and_shown_in_the_status(direct: Door, statement: str, level: str) -> None:
    service = direct.service()
    fill(service)
    roll_up_all(service)
    condense_all(service)
    with psycopg.connect(direct.database.superuser_url) as connection:
        assert connection.execute(statement.encode()).rowcount
    result = verify(service)
    assert not result["is_exact"]
    assert {difference["level"] for difference in result["differences"]} == {level}
    status = service.call("get_status")
    assert isinstance(status, dict)
    shown = status["verification"]
    assert isinstance(shown, dict)
    assert (shown["is_exact"], shown["difference_count"]) == (False, result["difference_count"])


def test_rebuilding_puts_right_what_was_wrong(direct: Door) -> None:
    service = direct.service()
    fill(service)
    roll_up_all(service)
    condense_all(service)
    fill(service, seed=2)
    direct.database.execute(
        "update observability_internal.usage_by_minute set requests = 7;"
        " delete from observability_internal.usage_by_user where user_key = 1;"
        " insert into observability_internal.usage_by_minute select bucket + interval '1 day', dim_id, 1, 1, 1, 1, 1,"
        " 1, 1, 1, 1, 1, 1, 1, 1, 1 from observability_internal.usage_by_minute on conflict do nothing"
    )
    assert rebuild(service) == {"days": 3, "skipped_days": 0, "usage_rows": 60, "performance_rows": 20}
    assert verify(service)["is_exact"]
    roll_up_all(service)
    condense_all(service)
    result = verify(service)
    assert (result["is_exact"], result["requests"]) == (True, 120)


def test_days_whose_raw_rows_are_archived_keep_their_rollups(direct: Door) -> None:
    service = direct.service()
    fill(service)
    roll_up_all(service)
    direct.database.execute(
        "drop table observability_internal.ai_usage_metrics_202605, observability_internal.performance_metrics_202605"
    )
    assert rebuild(service) == {"days": 0, "skipped_days": 3, "usage_rows": 0, "performance_rows": 0}
    result = verify(service)
    assert (result["is_exact"], result["levels"]) == (True, {})
    document = service.call("get_overview", from_time=DAY, to_time=DAY + timedelta(days=3))
    assert isinstance(document, dict)
    totals = document["totals"]
    assert isinstance(totals, dict)
    assert totals["requests"] == 60


@pytest.mark.parametrize("days", [0, -1, 40])
def test_an_endless_rebuild_is_refused(direct: Door, days: int) -> None:
    with pytest.raises(InvalidArgumentError, match="at most 31 days"):
        rebuild(direct.service(), days)


def test_an_endless_comparison_is_refused(direct: Door) -> None:
    with pytest.raises(InvalidArgumentError, match="at most 400 days"):
        direct.service().call("verify_rollups", from_time=DAY, to_time=DAY + timedelta(days=401))


def test_rebuilding_among_writers_and_workers_counts_each_row_once(direct: Door) -> None:
    def write(seed: int) -> None:
        service = direct.service()
        for part in range(4):
            fill(service, seed * 10 + part, 30)

    def work() -> None:
        service = direct.service()
        for _ in range(8):
            service.call("roll_up", max_rows=50)
            service.call("condense_rollups")

    def rebuild_again_and_again() -> None:
        service = direct.service()
        for _ in range(4):
            rebuild(service)
            assert verify(service)["is_exact"]

    run_together([*(lambda seed=seed: write(seed) for seed in range(4)), work, rebuild_again_and_again])
    service = direct.service()
    roll_up_all(service)
    condense_all(service)
    result = verify(service)
    assert (result["is_exact"], result["requests"]) == (True, 4 * 4 * 30)


def run_together(tasks: list[Any]) -> None:
    """Run each task in a thread; the first failure is raised."""
    failures: list[BaseException] = []

    def guarded(task: Any) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 -- raised below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


WORK_FOREVER = """
import sys
from ingest.database import PostgresDatabase

service = PostgresDatabase(sys.argv[1])
while True:
    service.call("roll_up", max_rows=20)
    service.call("condense_rollups")
    print("worked", flush=True)
"""


def test_a_worker_that_is_killed_at_any_moment_loses_and_doubles_nothing(direct: Door) -> None:
    service = direct.service()
    command = [sys.executable, "-c", WORK_FOREVER, direct.database.authenticator_url]
    for round_ in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"worked\n"
            for part in range(round_ + 1):
                fill(service, round_ * 10 + part, 100)
            worker.send_signal(signal.SIGKILL)
    roll_up_all(service)
    condense_all(service)
    result = verify(service)
    assert (result["is_exact"], result["requests"]) == (True, 10 * 100)


@contextmanager
def own_cluster() -> Iterator[PostgresCluster]:
    """A server of its own whose commits survive a crash."""
    folder = Path(tempfile.mkdtemp(prefix="treering-test-"))
    cluster = PostgresCluster(find_binaries(), folder / "data", "only-for-tests", port=free_port())
    cluster.create()
    cluster.start({"max_connections": 30})
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def crash(cluster: PostgresCluster) -> None:
    """Kill the server's main process; its children end with it."""
    pid = int((cluster.folder / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGQUIT)  # immediate shutdown: nothing is flushed, recovery runs at the next start
    while cluster.is_running():
        pass


def test_a_database_that_crashes_and_starts_again_counts_each_row_once() -> None:
    with own_cluster() as cluster:
        apply_migrations(cluster.uri())
        url = cluster.uri()
        stored = 0
        for round_ in range(3):
            service = PostgresDatabase(url)
            ends = threading.Event()

            def work(service: Database = service, ends: threading.Event = ends) -> None:
                while not ends.is_set():
                    try:
                        service.call("roll_up", max_rows=20)
                        service.call("condense_rollups")
                    except DatabaseError:
                        return

            worker = threading.Thread(target=work)
            worker.start()
            for part in range(3):
                fill(service, round_ * 10 + part, 60)
                stored += 60
            crash(cluster)
            ends.set()
            worker.join()
            service.close()
            cluster.start({"max_connections": 30})
        service = PostgresDatabase(url)
        roll_up_all(service)
        condense_all(service)
        result = verify(service)
        service.close()
        assert (result["is_exact"], result["requests"]) == (True, stored)


def test_a_dump_that_is_restored_goes_on_where_it_was(direct: Door, tmp_path: Path) -> None:
    binaries = find_binaries()
    if not (binaries / "pg_dump").exists():
        pytest.skip("this Postgres has no pg_dump")
    service = direct.service()
    fill(service, seed=1)
    roll_up_all(service)
    condense_all(service)
    fill(service, seed=2)  # waits in the dump
    dump = tmp_path / "dump"
    environment = {**os.environ, "LC_ALL": "C"}
    subprocess.run(
        [binaries / "pg_dump", "--format=custom", f"--file={dump}", direct.database.superuser_url],
        check=True, env=environment,
    )  # fmt: skip
    server = direct.database.server
    restored = server.create_database(empty=True)
    try:
        subprocess.run(
            [binaries / "pg_restore", f"--dbname={restored.superuser_url}", "--exit-on-error", dump],
            check=True, env=environment,
        )  # fmt: skip
        again = PostgresDatabase(restored.authenticator_url)
        fill(again, seed=3)
        roll_up_all(again)
        condense_all(again)
        result = verify(again)
        again.close()
        assert (result["is_exact"], result["requests"]) == (True, 180)
    finally:
        restored.drop()


DIFFERENCE = """
select observability_internal.add_usage_difference(array(
  select row(m.created_at, d.dim_id, u.user_key, null, null, null, null, null, null, null, null,
    -m.estimated_cost, 0.5, null, null, 1, null)::observability_internal.usage_difference
  from observability_internal.ai_usage_metrics m
  join observability_internal.users u using (user_id)
  join observability_internal.dimensions d on d.model = m.model
))
"""


def test_a_difference_reaches_every_level(direct: Door) -> None:
    service = direct.service()
    fill(service)
    roll_up_all(service)
    condense_all(service)
    with psycopg.connect(direct.database.superuser_url) as connection:
        connection.execute("select pg_advisory_xact_lock(hashtextextended('treering.roll_up', 0))")
        connection.execute(DIFFERENCE)
        connection.execute(
            "update observability_internal.ai_usage_metrics set estimated_cost = 0.5, cost_source = 'fallback'"
        )
    for _ in range(2):
        result = verify(service)
        assert (result["is_exact"], result["cost"]) == (True, "0")
        document = service.call("get_costs", from_time=DAY, to_time=DAY + timedelta(days=3))
        assert isinstance(document, dict)
        totals: JsonValue = document["totals"]
        assert isinstance(totals, dict)
        assert (totals["cost"], totals["fallback_cost"], totals["fallback_requests"]) == (None, "30.0", 60)
        condense_all(service)
    assert len(result["levels"]) == 8


def test_a_difference_of_a_call_that_was_never_counted_is_refused(direct: Door) -> None:
    with (
        psycopg.connect(direct.database.superuser_url) as connection,
        pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="lack rows of the calls"),
    ):
        connection.execute(
            "select observability_internal.add_usage_difference(array[row(now(), 1, 1, 1, null, null, null, null, null,"
            " null, null, null, null, null, null, null, null)::observability_internal.usage_difference])"
        )
