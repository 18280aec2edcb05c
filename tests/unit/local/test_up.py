from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from ingest.alerts.sealing import SecretBox
from ingest.errors import EmbeddedServerError, UpError
from ingest.local import demo, up
from ingest.local.supervisor import Supervisor
from ingest.local.up import UpOptions, run_up
from ingest.settings import load_settings
from tests.support.cli import run_cli
from tests.support.scripted_database import ScriptedDatabase
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_it_says_each_step_and_ends_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "load_demo", partial(demo.load_demo, days=1))
    said: list[str] = []
    stop = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        if text.startswith("demo data:"):
            stop.set()

    run_up(UpOptions(load_settings(home=tmp_path), port=free_port(), demo=True), stop, say)
    assert said[0] == "creating the database (first start) …"
    assert f"configure(home='{tmp_path}')" in said[1]
    assert said[-1] == "stopping …"


def test_stopping_while_it_starts_says_nothing_of_a_dashboard(tmp_path: Path) -> None:
    said: list[str] = []
    stop = threading.Event()
    stop.set()
    run_up(UpOptions(load_settings(home=tmp_path), port=free_port()), stop, said.append)
    assert said == ["creating the database (first start) …", "stopping …"]


def test_a_dashboard_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "_READY_TIMEOUT_S", -1.0)
    with pytest.raises(UpError, match="did not answer"):
        up._wait_until_healthy(free_port(), Supervisor(tmp_path), threading.Event())


def test_a_dashboard_that_answers_late_or_with_an_error_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(up, "_POLL_S", 0.0)
    monkeypatch.setattr("httpx.Client.get", lambda _self, _url: _Answer(next(answers)))
    up._wait_until_healthy(1, Supervisor(tmp_path), threading.Event())
    assert next(answers, None) is None


class _Answer:
    def __init__(self, is_success: bool) -> None:
        self.is_success = is_success


def test_the_demo_is_refreshed_once_it_is_rolled_up() -> None:
    database = ScriptedDatabase(roll_up=[{"pending_batches": 2}, {"pending_batches": 0}])
    assert up._roll_up_everything(database, lambda: False)
    assert database.called == ["roll_up", "roll_up", "refresh_aggregates"]


def test_rolling_up_ends_when_told() -> None:
    assert not up._roll_up_everything(ScriptedDatabase(), lambda: True)


def test_the_place_is_taken_by_the_first_who_comes(tmp_path: Path) -> None:
    second = UpOptions(load_settings(home=tmp_path), port=free_port())
    with (
        up._only_one(tmp_path, "http://localhost:1/first"),
        pytest.raises(UpError, match="open http://localhost:1/first"),
    ):
        run_up(second, threading.Event(), lambda _: None)


def test_a_port_that_is_taken_is_named_with_another_to_choose(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UpError, match=f"port {port} is used .* --port {port + 1}"):
            run_up(UpOptions(load_settings(home=tmp_path), port=port), threading.Event(), lambda _: None)


def test_a_holder_that_is_just_starting_is_still_told(tmp_path: Path) -> None:
    lock = tmp_path / "up.lock"
    lock.write_text("")
    assert up._already_running(str(lock), tmp_path) == f"treering up is already running in {tmp_path}"


def test_a_port_that_needs_more_rights_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, _address: object, /) -> None:
            raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("ingest.local.up.socket.socket", Refusing)
    with pytest.raises(UpError, match="port 80 cannot be used: Permission denied"):
        up._check_port(80)


def test_without_streamlit_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "find_spec", lambda _name: None)
    with pytest.raises(UpError, match=r"pip install 'treering\[all\]'"):
        up.dashboard_script()


def test_children_do_not_see_another_database(tmp_path: Path) -> None:
    env = up._child_environment({"SUPABASE_DB_URL": "x", "SUPABASE_ANON_KEY": "y", "PATH": "p"}, tmp_path, "http://d")
    assert env.pop("TREERING_SECRET_KEY") == (tmp_path / "secret.key").read_text()
    assert env == {
        "PATH": "p", "TREERING_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1", "TREERING_DASHBOARD_URL": "http://d"
    }  # fmt: skip


def test_the_key_of_channels_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    key = up._secret_key(tmp_path)
    assert (up._secret_key(tmp_path), stat.S_IMODE((tmp_path / "secret.key").stat().st_mode)) == (key, 0o600)
    assert SecretBox(SecretStr(key)).open(SecretBox(SecretStr(key)).seal({"a": "b"})) == {"a": "b"}


def test_a_key_of_the_shell_goes_before_the_one_of_the_folder(tmp_path: Path) -> None:
    env = up._child_environment({"TREERING_SECRET_KEY": "own"}, tmp_path, "http://d")
    assert env["TREERING_SECRET_KEY"] == "own"


@pytest.mark.parametrize(("is_stopping", "code"), [(True, 130), (False, 1)])
def test_a_start_that_fails_because_of_ctrl_c_is_no_failure_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_stopping: bool, code: int
) -> None:
    def fail(_options: UpOptions, stop: threading.Event, _say: Callable[[str], None]) -> None:
        if is_stopping:
            stop.set()
        raise EmbeddedServerError("initdb was interrupted")

    monkeypatch.setattr(up, "run_up", fail)
    result = run_cli("up", "--home", tmp_path)
    assert result.exit_code == code
    assert ("initdb" in result.stderr) is not is_stopping


@pytest.mark.parametrize("content", [None, "4194999\n/data\n"])
def test_a_database_that_is_gone_is_noticed(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "postgres").mkdir()
    if content is not None:
        (tmp_path / "postgres" / "postmaster.pid").write_text(content)
    with pytest.raises(UpError, match="the database stopped unexpectedly"):
        up._check_database(tmp_path)


def test_a_database_that_runs_is_fine(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n/data\n")
    up._check_database(tmp_path)
