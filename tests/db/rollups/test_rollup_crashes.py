"""Rollups among writers, killed workers, crashes and restored dumps."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ingest.database import PostgresDatabase
from ingest.database.migrate import apply_migrations
from ingest.errors import DatabaseError
from ingest.local.cluster import PostgresCluster
from ingest.local.embedded import find_binaries
from tests.db.rollups.verification import fill, rebuild, verify
from tests.support.events import condense_all, roll_up_all
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.database import Database
    from tests.support.doors import Door


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
