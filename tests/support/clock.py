"""Another clock for a whole test run: for Python, for Postgres and for every other program that the tests start.

`uv run python -m tests --clock WHEN` takes, once or several times,

* a shift, `+400d` (or `h`, `m`, `s`): the clock runs on from there;
* a moment in UTC, `2028-02-29 23:59:30`: every test begins at it, however many there are.

Each test then runs once at each of these times.

A preloaded library (clock.c) shifts the wall clock alone. Debian's faketime 0.9.10 cannot be used: with a shifted
monotonic clock, every wait for a lock that has a timeout hangs, for glibc's `sem_clockwait` is not shifted; without
one, `time.sleep` fails, for its deadline is shifted nevertheless.

No library reaches a program that is linked statically. PostgREST is one: its gateway (`tests.support.api`) moves the
times in tokens onto the real clock. The Supabase command line is another, and compares no times.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.leftovers import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SOURCE = Path(__file__).with_name("clock.c")
_CLOCKS = "TEST_CLOCKS"
_SEPARATOR = ";"
_FILE = "TEST_CLOCK_FILE"  # clock.c reads it too
_NS = 1_000_000_000
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_opened = ExitStack()


def check(when: str) -> str:
    """Return a text that is a shift or a moment.

    Raises:
        ValueError: It is neither.
    """
    _shift_ns(when)
    return when


@contextmanager
def environment(clocks: Sequence[str]) -> Iterator[dict[str, str]]:
    """Variables for a process of tests that is to run at these shifts and moments."""
    with _public_folder() as folder:
        library = folder / "clock.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, _SOURCE, "-ldl"], check=True
        )
        preloaded = f"{library} {os.environ.get('LD_PRELOAD', '')}".strip()
        yield {"LD_PRELOAD": preloaded, _CLOCKS: _SEPARATOR.join(clocks)}


def wanted() -> list[str]:
    """The clocks of this run, the earliest first; none for the real one."""
    return sorted((when for when in os.environ.get(_CLOCKS, "").split(_SEPARATOR) if when), key=_shift_ns)


def start() -> None:
    """Put this process, and those that it starts from now on, on the first of the run's clocks."""
    if wanted():
        file = _opened.enter_context(_public_folder()) / "shift"
        file.write_bytes(_encode(_shift_ns(wanted()[0])))
        os.environ[_FILE] = str(file)
        ctypes.CDLL(None).follow_clock_file(os.fsencode(file))


def turn_to(when: str) -> None:
    """Set the clock for the test that begins."""
    with Path(os.environ[_FILE]).open("r+b") as file:  # in place: processes have it mapped
        file.write(_encode(_shift_ns(when)))


def stop() -> None:
    """Remove what `start` made."""
    _opened.close()


def shift_s() -> int:
    """Whole seconds by which the clock is ahead of the real one."""
    return _current_ns() // _NS


def _shift_ns(when: str) -> int:
    if match := re.fullmatch(r"\+(\d+)([smhd])", when):
        return int(match[1]) * _UNITS_S[match[2]] * _NS
    moment = datetime.fromisoformat(when).replace(tzinfo=UTC)
    return int(moment.timestamp()) * _NS - (time.time_ns() - _current_ns())


def _current_ns() -> int:
    file = os.environ.get(_FILE)
    return int.from_bytes(Path(file).read_bytes(), "little", signed=True) if file else 0


def _encode(shift: int) -> bytes:
    return shift.to_bytes(8, "little", signed=True)


@contextmanager
def _public_folder() -> Iterator[Path]:
    """A folder that Postgres can read as well, which runs as somebody else."""
    folder = make_folder()
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
