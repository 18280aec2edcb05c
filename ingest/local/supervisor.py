"""Child processes of `treering up`: started with a log each, watched, and stopped in order."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from ingest.errors import ChildEndedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LOG_MAX_BYTES = 5 * 1024 * 1024
STOP_TIMEOUT_S = 20.0
_TAIL_LINES = 12


@dataclass(slots=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    log_path: Path


class Supervisor:
    """Starts processes, notices when one ends, stops the last one started first.

    Args:
        logs: Folder of the log files.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[_Child] = []

    def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> int:
        """Start a process whose output goes to `<name>.log`; returns its process id.

        It runs in a session of its own, so that Ctrl-C reaches only us, and ends when we are killed.
        """
        log_path = self._logs / f"{name}.log"
        with _open_log(log_path) as log:
            process = subprocess.Popen(  # noqa: S603 -- our own commands
                [sys.executable, "-m", "ingest.local.child", str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        self._children.append(_Child(name, process, log_path))
        return process.pid

    def check(self) -> None:
        """Raise when a child has ended.

        Raises:
            ChildEndedError: Names the child, its exit code, and the end of its log.
        """
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                raise ChildEndedError(
                    f"the {child.name} stopped unexpectedly ({_describe_exit(code)}); "
                    f"the end of {child.log_path}:\n{_tail(child.log_path)}"
                )

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask each child to stop, the last started first, and wait for it; one that does not is killed."""
        while self._children:
            process = self._children.pop().process
            process.terminate()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_MAX_BYTES:
            path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])


def _describe_exit(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
