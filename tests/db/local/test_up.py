from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from ingest.database import open_viewer_database
from ingest.settings import load_settings
from tests.support.leftovers import make_folder
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UP = [sys.executable, "-m", "ingest.cli", "up"]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # What a shell may hold of another project must not matter.
    monkeypatch.setenv("SUPABASE_URL", "https://elsewhere.supabase.co")
    folder = make_folder()  # pytest's own are closed to the account that Postgres runs as
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(home: Path, port: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [*UP, "--home", str(home), "--port", str(port), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    seen = ""
    assert process.stdout is not None
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"it ended without saying {text!r}:\n{seen}")


def second_try(home: Path, port: int) -> tuple[int, str]:
    result = subprocess.run(
        [*UP, "--home", str(home), "--port", str(port)], capture_output=True, text=True, check=False, timeout=120
    )
    return result.returncode, result.stderr


def test_one_command_brings_a_page_with_data_and_stops_everything_in_order(home: Path) -> None:
    port = free_port()
    with running(home, port, "--demo") as process:
        said = read_until(process, "demo data:")
        address = f"http://localhost:{port}/dashboard/observability"
        assert address in said
        assert "record_usage(" in said
        assert httpx.get(f"{address}/", follow_redirects=True).is_success

        viewer = open_viewer_database(load_settings(home=home, supabase_url=""), user_id="local-ops")
        now = datetime.now(UTC)
        page: Any = viewer.call("get_overview", from_time=now - timedelta(days=91), to_time=now)
        viewer.close()
        assert page["access"] == "ops"
        assert page["has_demo_data"] is True
        assert page["totals"]["requests"] > 40_000

        code, message = second_try(home, free_port())
        assert code == 1
        assert (
            message == f"treering: treering up is already running in {home} (process {process.pid}): open {address}\n"
        )

        code, message = second_try(home.with_name("other"), port)
        assert code == 1
        assert message.startswith(f"treering: port {port} is used by another program")

        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(120) == 0
        assert not any(child.is_running() for child in children)
    assert not (home / "database.uri").exists()
    assert "stopping" in (home / "logs" / "worker.log").read_text()


def test_a_child_that_dies_is_reported_and_ends_the_rest(home: Path) -> None:
    with running(home, free_port()) as process:
        read_until(process, "Ctrl-C")
        children = psutil.Process(process.pid).children(recursive=True)
        (worker,) = (child for child in children if "worker" in child.cmdline())
        worker.kill()
        assert "the worker stopped unexpectedly (signal 9)" in read_until(process, "stopped unexpectedly")
        assert process.wait(120) == 1
        assert not any(child.is_running() for child in children)


def test_a_database_that_dies_is_reported_and_ends_the_rest(home: Path) -> None:
    with running(home, free_port()) as process:
        read_until(process, "Ctrl-C")
        children = psutil.Process(process.pid).children(recursive=True)
        server = psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0]))
        server.send_signal(signal.SIGINT)  # its own "fast" stop
        assert "the database stopped unexpectedly" in read_until(process, "stopped unexpectedly")
        assert process.wait(120) == 1
        assert not any(child.is_running() for child in children)


def test_a_port_that_may_not_be_used_is_named(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, message = second_try(home, taken.getsockname()[1])
    assert code == 1
    assert "choose another with --port" in message
    assert not (home / "postgres").exists()
