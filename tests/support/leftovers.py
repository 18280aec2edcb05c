"""Temporary folders that tell whose they are, so that what a killed test run left behind goes with the next one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

_PID_FILES = ("postgrest.pid", "pgbouncer.pid", "nginx.pid")
# The name holds the process that made it. Short, for sockets have short names; pytest's own folders are too deep.
_NAME = re.compile(r"treering-test-(\d+)-\w+")


def make_folder() -> Path:
    """Make a folder that is this process's to remove."""
    return Path(tempfile.mkdtemp(prefix=f"treering-test-{os.getpid()}-"))


def remove_leftovers() -> None:
    """Stop the servers of test processes that are no more, and remove their folders."""
    for folder in Path(tempfile.gettempdir()).iterdir():
        if (match := _NAME.fullmatch(folder.name)) and not psutil.pid_exists(int(match[1])):
            for pid_file in (folder / "data" / "postmaster.pid", *map(folder.joinpath, _PID_FILES)):
                _stop(pid_file, folder)
            shutil.rmtree(folder, ignore_errors=True)


def _stop(pid_file: Path, folder: Path) -> None:
    with suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        # The number may belong to somebody else by now; a server of ours names the folder.
        if str(folder) in " ".join([*process.cmdline(), *process.environ().values()]):
            process.send_signal(signal.SIGINT)
