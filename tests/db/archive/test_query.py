"""The archive answers with the same numbers on every engine, and as the database did before the rows went."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ingest.archive.archiver import Archiver
from ingest.archive.query import BY, DuckDB, Spark, open_engine, query
from tests.db.archive.conftest import RETENTION_DAYS
from tests.support.events import NOON
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ingest.archive.query import By, Engine, Row
    from ingest.archive.storage import Storage
    from ingest.database import Database
    from tests.support.doors import Door

    Fill = Callable[[Database], None]

FROM, TO = NOON - dt.timedelta(days=3), NOON + dt.timedelta(days=20)


@pytest.fixture
def archived(direct: Door, storage: Storage, fill: Fill) -> Storage:
    fill(direct.service())
    Archiver(direct.service(), storage, retention_days=RETENTION_DAYS, rows_per_group=2, groups_per_part=1).run()
    return storage


def answers(storage: Storage, engine: Engine, bys: Sequence[By | None] = (None, *BY)) -> list[list[Row]]:
    return [query(storage, engine, FROM, TO, by) for by in bys]


def test_the_archive_says_what_the_dashboard_said(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    page = service.call("get_costs", from_time=FROM, to_time=TO)
    assert isinstance(page, dict)
    totals = page["totals"]
    assert isinstance(totals, dict)
    Archiver(service, storage, retention_days=RETENTION_DAYS).run()
    (row,) = query(storage, DuckDB(), FROM, TO, None)
    for name in (
        "requests",
        "errors",
        "prompt_tokens",
        "completion_tokens",
        "cached_tokens",
        "unpriced_requests",
        "users",
    ):
        assert row[name] == totals[name], name
    # The archive's decimals end at the 24th place.
    assert str(totals["cost"]).startswith(f"{row['cost']:f}")


def test_groups_are_sorted_by_cost_and_days_by_date(archived: Storage) -> None:
    engine = DuckDB()
    assert [row["key"] for row in query(archived, engine, FROM, TO, "user")] == ["user_c", "user_b", "user_a"] or [
        row["key"] for row in query(archived, engine, FROM, TO, "user")
    ] == ["user_c", "user_a", "user_b"]
    days = [row["key"] for row in query(archived, engine, FROM, TO, "day")]
    assert days == sorted(days)
    assert len(days) == 5
    features = {row["key"]: row["cost"] for row in query(archived, engine, FROM, TO, "feature")}
    assert features[None] is None


def test_the_range_is_cut_to_the_microsecond(archived: Storage) -> None:
    start = NOON + dt.timedelta(days=1, microseconds=123_457)
    assert query(archived, DuckDB(), start, TO, None)[0]["requests"] == 4
    assert query(archived, DuckDB(), start + dt.timedelta(microseconds=1), TO, None)[0]["requests"] == 3
    assert query(archived, DuckDB(), FROM - dt.timedelta(days=90), FROM, None) == []


@pytest.fixture
def spark_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where Spark is; all of it stays on loopback, and a handful of rows is not spread over 200 tasks."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        pytest.skip("pyspark is not installed: uv run --isolated --extra spark pytest -m spark")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed: apt-get install default-jre-headless")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    (tmp_path / "spark-defaults.conf").write_text("spark.sql.shuffle.partitions 2\n")
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    return Path(spec.origin).parent


@pytest.fixture
def cluster(spark_home: Path, tmp_path: Path) -> Iterator[str]:
    """A standalone Spark cluster on loopback: a master and two workers of one core each."""
    port = free_port()
    master = f"spark://127.0.0.1:{port}"
    base = [str(spark_home / "bin" / "spark-class")]
    deploy = "org.apache.spark.deploy"
    options = ["--host", "127.0.0.1", "--webui-port", "0"]
    commands = [[*base, f"{deploy}.master.Master", *options, "--port", str(port)]]
    for number in range(2):
        folder = tmp_path / f"worker-{number}"
        commands.append(
            [*base, f"{deploy}.worker.Worker", *options, "--cores", "1", "--memory", "512m", "-d", str(folder), master]
        )
    logs = [(tmp_path / f"spark-{number}.log").open("w") for number in range(3)]
    processes = [
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        for command, log in zip(commands, logs, strict=True)
    ]
    yield master
    for process in processes:
        process.terminate()
    for process, log in zip(processes, logs, strict=True):
        process.wait(timeout=120)
        log.close()


@pytest.mark.spark
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # Spark's and ibis's own
@pytest.mark.usefixtures("spark_home")
def test_spark_in_this_process_gives_the_same_numbers(archived: Storage) -> None:
    with open_engine("local[2]") as spark, open_engine(None) as duckdb:
        assert answers(archived, spark) == answers(archived, duckdb)


@pytest.mark.spark
@pytest.mark.timeout(600)  # five Java processes start on what may be a busy machine
@pytest.mark.filterwarnings("ignore")
def test_a_spark_cluster_with_two_workers_gives_the_same_numbers(archived: Storage, cluster: str) -> None:
    spark = Spark(
        cluster,
        {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.executor.memory": "512m",
            "spark.cores.max": "2",
            "spark.scheduler.minRegisteredResourcesRatio": "1.0",
            "spark.scheduler.maxRegisteredResourcesWaitingTime": "240s",
        },
    )
    try:
        bys: tuple[By | None, ...] = (None, "model")
        assert answers(archived, spark, bys) == answers(archived, DuckDB(), bys)
        executors = spark._session.sparkContext._jsc.sc().getExecutorMemoryStatus().size()  # the driver counts too
    finally:
        spark.close()
    assert executors == 3
