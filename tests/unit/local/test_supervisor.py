from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from ingest.cli.signals import stop_on_signals
from ingest.errors import ChildEndedError
from ingest.local import child, supervisor
from ingest.local.supervisor import Supervisor

if TYPE_CHECKING:
    from pathlib import Path

# Reports through a named pipe that it runs, so that the test need not guess how long that takes.
READY = "f = open(sys.argv[1], 'w'); f.write('ready'); f.close(); "


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def start(one: Supervisor, pipe: Path, code: str, *, before: str = "") -> int:
    script = f"import signal, sys; {before}{READY}{code}"
    pid = one.start("part", [sys.executable, "-c", script, str(pipe)], env=os.environ)
    assert pipe.read_text() == "ready"
    return pid


def wait_until_ended(one: Supervisor) -> ChildEndedError:
    one._children[0].process.wait(30)
    with pytest.raises(ChildEndedError) as caught:
        one.check()
    return caught.value


def test_a_running_child_is_fine_and_ends_when_asked(tmp_path: Path, pipe: Path) -> None:
    one = Supervisor(tmp_path / "logs")
    pid = start(one, pipe, "signal.pause()")
    one.check()
    one.stop()
    assert not psutil.pid_exists(pid)
    one.check()


def test_a_child_that_ends_by_itself_is_named_with_the_end_of_its_log(tmp_path: Path, pipe: Path) -> None:
    one = Supervisor(tmp_path / "logs")
    start(one, pipe, "print('no more ink'); sys.exit(3)")
    error = wait_until_ended(one)
    assert "the part stopped unexpectedly (exit code 3)" in str(error)
    assert "no more ink" in str(error)


def test_a_killed_child_is_named_with_its_signal(tmp_path: Path, pipe: Path) -> None:
    one = Supervisor(tmp_path / "logs")
    os.kill(start(one, pipe, "signal.pause()"), signal.SIGKILL)
    assert "signal 9" in str(wait_until_ended(one))


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path, pipe: Path) -> None:
    one = Supervisor(tmp_path / "logs")
    pid = start(one, pipe, "signal.pause()", before="signal.signal(signal.SIGTERM, signal.SIG_IGN); ")
    one.stop(timeout_s=0.01)
    assert not psutil.pid_exists(pid)


def test_children_end_with_a_supervisor_that_is_killed(tmp_path: Path, pipe: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom ingest.local.supervisor import Supervisor\n"
        "sup = Supervisor(Path(sys.argv[1]))\n"
        "command = [sys.executable, '-c', 'import signal, sys; open(sys.argv[1], \"w\").close(); signal.pause()']\n"
        "print(sup.start('part', [*command, sys.argv[2]], env=os.environ), flush=True)\nsignal.pause()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, tmp_path, pipe], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        grandchild = psutil.Process(int(parent.stdout.readline()))
        pipe.read_text()
        parent.kill()
    psutil.wait_procs([grandchild], timeout=30)
    assert not grandchild.is_running()


def test_a_child_whose_parent_is_gone_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["child", "1", "true"])
    monkeypatch.setattr("ingest.local.child.ctypes.CDLL", lambda _name: _Libc())
    with pytest.raises(SystemExit):
        child.main()


def test_a_child_becomes_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr(sys, "argv", ["child", str(os.getppid()), "streamlit", "run"])
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("ingest.local.child.os.execvp", lambda _file, command: begun.append(command))
    child.main()
    assert begun == [["streamlit", "run"]]


class _Libc:
    def prctl(self, *_: int) -> int:
        return 0


def test_a_log_that_has_grown_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_MAX_BYTES", 3)
    (tmp_path / "part.log").write_text("long")
    with supervisor._open_log(tmp_path / "part.log") as log:
        log.write(b"new")
    with supervisor._open_log(tmp_path / "part.log") as log:
        log.write(b"er")
    assert (tmp_path / "part.log.1").read_text() == "long"
    assert (tmp_path / "part.log").read_text() == "newer"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_sets_the_event_and_the_usual_handlers_return(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = threading.Event()
    with stop_on_signals(stop):
        os.kill(os.getpid(), number)
        assert stop.wait(30)
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before
