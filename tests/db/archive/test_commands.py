"""The commands of the archive, the daily job, and storage that speaks S3."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from moto.server import ThreadedMotoServer

from ingest.alerts.notifier import ChannelNotifier
from ingest.archive.archiver import Archiver, verify_month
from ingest.archive.forget import forget_user
from ingest.archive.query import DuckDB, query
from ingest.archive.restore import restore_month
from ingest.archive.service import archive_url, open_storage, run_retention
from ingest.archive.storage import Storage
from ingest.errors import ArchiveError, ConfigurationError
from ingest.settings import load_settings
from ingest.worker.jobs import Tools, plan_lanes
from tests.db.archive.conftest import MAY, RETENTION_DAYS
from tests.db.archive.test_query import FROM, TO
from tests.support.cli import door_environment, run_cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ingest.database import Database
    from tests.support.doors import Door

    Fill = Callable[[Database], None]


def test_months_are_archived_listed_verified_queried_restored_and_forgotten(
    door: Door, fill: Fill, tmp_path: Path
) -> None:
    fill(door.service())
    env = door_environment(door, tmp_path) | {"TREERING_ARCHIVE_URL": str(tmp_path / "archive")}
    assert "the archive is empty" in run_cli("archive", "list", env=env).stdout
    assert "usage 2026-05: 5 rows in" in run_cli("archive", "run", env=env).stdout
    assert "nothing is past retention" in run_cli("archive", "run", env=env).stdout
    assert "123456789.00175000000000000000000100012345" in run_cli("archive", "list", env=env).stdout
    listed = json.loads(run_cli("archive", "list", "--json", env=env).stdout)
    assert [(one["kind"], one["rows"]) for one in listed] == [("usage", 5), ("performance", 2)]
    assert "5 rows, OK" in run_cli("archive", "verify", env=env).stdout
    span = ("--from", "2026-05-01", "--to", "2026-06-01")
    assert "gpt-4o-mini" in run_cli("archive", "query", *span, "--by", "model", env=env).stdout
    total = json.loads(run_cli("archive", "query", *span, "--json", env=env).stdout)
    # 0.000875 of gpt-4o and 0.000875 at the fallback price, which stands beside the certain sum.
    assert (total[0]["requests"], total[0]["cost"]) == (5, "123456789.000875000000000000000001")
    assert total[0]["fallback_cost"].rstrip("0") == "0.000875"
    assert (
        "no archived calls" in run_cli("archive", "query", "--from", "2025-01-01", "--to", "2025-02-01", env=env).stdout
    )
    assert "5 of 5 rows" in run_cli("archive", "restore", "2026-05", "--rows", "usage", env=env).stdout
    forgotten = run_cli("forget", "user_a", "--yes", env=env).stdout
    assert "calls anonymised: 2" in forgotten
    assert "archived rows anonymised: 3 in 2 files" in forgotten
    assert run_cli("forget", "user_b", env=env).exit_code == 1
    part = next((tmp_path / "archive/usage/month=2026-05").glob("*.parquet"))
    part.write_bytes(b"")
    assert run_cli("archive", "verify", "--month", "2026-05", env=env).exit_code == 1


def test_mistakes_are_explained(direct: Door, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = direct.service()
    fill(service)
    env = door_environment(direct, tmp_path)
    assert "TREERING_ARCHIVE_URL" in run_cli("archive", "list", env=env).stderr
    assert "no archive was searched" in run_cli("forget", "user_x", "--yes", env=env).stdout
    env["TREERING_ARCHIVE_URL"] = str(tmp_path / "archive")
    assert "2026-05 is not archived" in run_cli("archive", "restore", "2026-05", env=env).stderr
    assert "not a month" in run_cli("archive", "restore", "May", env=env).stderr
    backwards = ("--from", "2026-05-02", "--to", "2026-05-01")
    assert "--from must be before" in run_cli("archive", "query", *backwards, env=env).stderr
    direct.database.execute("alter table observability_internal.ai_usage_metrics add column mood text")
    result = run_cli("archive", "run", env=env)
    assert (result.exit_code, "stays: this version does not know" in result.stdout) == (1, True)
    monkeypatch.setattr("ingest.cli.archive.find_spec", lambda _: None)
    assert "pip install 'treering[archive]'" in run_cli("archive", "list", env=env).stderr


def test_rollups_have_a_retention_of_their_own(direct: Door, fill: Fill, tmp_path: Path) -> None:
    service = direct.service()
    fill(service)
    settings = load_settings(archive_url=str(tmp_path / "archive"), rollup_retention_days=100)
    assert len(run_retention(service, settings)) == 2
    page = service.call("get_costs", from_time=FROM, to_time=TO)
    assert isinstance(page, dict)
    totals = page["totals"]
    assert isinstance(totals, dict)
    assert totals["requests"] == 0


def test_rollups_cannot_go_before_raw_rows() -> None:
    with pytest.raises(ConfigurationError, match="TREERING_ROLLUP_RETENTION_DAYS: must not be below"):
        load_settings(metrics_retention_days=90, rollup_retention_days=89)


def test_only_the_embedded_database_has_an_archive_by_default(tmp_path: Path) -> None:
    embedded = load_settings(home=tmp_path)
    hosted = load_settings(home=tmp_path, supabase_db_url="postgresql://nobody@127.0.0.1:9/none")
    assert archive_url(embedded) == str(tmp_path / "archive")
    assert archive_url(hosted) is None
    with pytest.raises(ConfigurationError, match="TREERING_ARCHIVE_URL"):
        open_storage(hosted)
    with pytest.raises(ConfigurationError, match="TREERING_ARCHIVE_URL"):
        Storage("nosuch://bucket")


def test_the_worker_archives_what_is_past_retention(direct: Door, fill: Fill, tmp_path: Path) -> None:
    service = direct.service()
    fill(service)
    settings = load_settings(archive_url=str(tmp_path / "archive"))
    tools = Tools(service, settings, "worker", ChannelNotifier())
    (job,) = (job for lane in plan_lanes(tools) for job in lane if job.name == "archive")
    assert job.run() is False
    assert [one.rows for one in Storage(str(tmp_path / "archive")).read_manifests()] == [5, 2]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on loopback with one bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "only-for-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "only-for-tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("treering-test")
    yield "s3://treering-test/archive"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.filterwarnings("ignore")  # the S3 server's own
def test_s3_holds_the_archive_as_a_folder_does(direct: Door, fill: Fill, bucket: str) -> None:
    service = direct.service()
    fill(service)
    storage = Storage(bucket)
    outcomes = Archiver(service, storage, retention_days=RETENTION_DAYS, rows_per_group=2, groups_per_part=2).run()
    assert [one.problem for one in outcomes] == [None, None]
    assert [(one.rows, verify_month(storage, one)) for one in storage.read_manifests()] == [(5, []), (2, [])]
    assert query(storage, DuckDB(), FROM, TO, None)[0]["requests"] == 5
    assert forget_user(service, storage, "user_a").archive_parts == 2
    assert [restore_month(service, storage, one) for one in storage.read_manifests()] == [5, 2]
    usage = next(storage.read_manifests())
    storage.filesystem.rm(storage.path_of("usage", MAY, next(usage.parts()).file))
    with pytest.raises(ArchiveError, match="is missing"):
        restore_month(service, storage, usage)
