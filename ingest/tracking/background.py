"""One daemon thread for what no caller should wait for: single pieces of work, and sweeps that repeat.

It starts with the first piece and belongs to the process; a forked child begins with none. `flush` and `shutdown`
settle it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from ingest.record.capture import add_source
from ingest.tracking.emit import report

if TYPE_CHECKING:
    from collections.abc import Iterator

# Both are told whether there is no time for anything slow; a sweep says whether it wants to be called again.
Work: TypeAlias = Callable[[bool], object]
Sweep: TypeAlias = Callable[[bool], bool]

_PAUSE_S = 0.02


class Background:
    """The thread, its queue and its sweeps.

    Args:
        is_inline: Whether work is done by the caller at once, in a hurry, and sweeps wait for `settle`: no thread.
    """

    def __init__(self, *, is_inline: bool = False) -> None:
        self.is_inline = is_inline
        # Put to from finalizers that run in the middle of another put, which only a SimpleQueue allows.
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._sweeps: dict[Sweep, _Schedule] = {}
        self._lock = threading.RLock()  # re-entrant, for the same reason
        self._open = 0
        self._thread: threading.Thread | None = None
        self._progress = threading.Event()

    def submit(self, work: Work) -> None:
        """Do `work` soon, after what was submitted before."""
        with self._lock:
            self._open += 1
        self._put(work)

    def every(self, seconds: float, sweep: Sweep) -> None:
        """Call `sweep` after `seconds`, and again as long as it says so."""
        schedule = self._sweeps.setdefault(sweep, _Schedule(seconds))
        if schedule.due_at is None:  # else it is near enough, and a busy product must not put it off for ever
            schedule.begin()
        self._put(None)

    def settle(self, timeout_s: float) -> None:
        """Sweep at once and wait for all work submitted so far; what takes longer than that is done in a hurry."""
        deadline = time.monotonic() + timeout_s
        for sweep in tuple(self._sweeps):
            self._sweep(sweep, is_hurried=True)
        while self._open and self._thread is not None and time.monotonic() < deadline:
            self._progress.wait(_PAUSE_S)
            self._progress.clear()
        self._drain()

    def _put(self, work: Work | None) -> None:
        self._queue.put(work)
        if self.is_inline:
            self._drain()
            return
        thread = self._thread
        if thread is None or not thread.is_alive():
            thread = threading.Thread(target=self._run, name="treering-tracking", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self._thread = None
                self._drain()

    def _run(self) -> None:
        while True:
            with suppress(Empty):
                self._do(self._queue.get(timeout=self._time_to_next_sweep()), is_hurried=False)
            for sweep in self._due_sweeps():
                self._sweep(sweep, is_hurried=False)

    def _drain(self) -> None:
        with suppress(Empty):
            while True:
                self._do(self._queue.get_nowait(), is_hurried=True)

    def _do(self, work: Work | None, *, is_hurried: bool) -> None:
        if work is None:  # only to wake the thread
            return
        try:
            work(is_hurried)
        except Exception as error:  # noqa: BLE001 -- the thread must live on
            report(error)
        finally:
            with self._lock:
                self._open -= 1
            self._progress.set()

    def _sweep(self, sweep: Sweep, *, is_hurried: bool) -> None:
        schedule = self._sweeps[sweep]
        schedule.due_at = None  # before it looks, so that what is announced meanwhile is looked for again
        try:
            if sweep(is_hurried):
                schedule.begin()
        except Exception as error:  # noqa: BLE001 -- as above
            report(error)

    def _due_sweeps(self) -> Iterator[Sweep]:
        now = time.monotonic()
        for sweep, schedule in tuple(self._sweeps.items()):
            if schedule.due_at is not None and schedule.due_at <= now:
                yield sweep

    def _time_to_next_sweep(self) -> float | None:
        due = [schedule.due_at for schedule in tuple(self._sweeps.values()) if schedule.due_at is not None]
        return max(min(due) - time.monotonic(), 0.0) if due else None


class _Schedule:
    """When a sweep is due; None while it waits to be asked for."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.due_at: float | None = None
        self.begin()

    def begin(self) -> None:
        self.due_at = time.monotonic() + self._seconds


_background = Background()


def submit(work: Work) -> None:
    """Do `work` in the background."""
    _background.submit(work)


def every(seconds: float, sweep: Sweep) -> None:
    """Call `sweep` in the background after `seconds`, and again as long as it says so."""
    _background.every(seconds, sweep)


def settle(timeout_s: float) -> None:
    """Have everything done that was submitted so far."""
    _background.settle(timeout_s)


def replace(background: Background) -> Background:
    """Have `background` do the work from now on; returns the one before."""
    global _background
    former, _background = _background, background
    return former


def _begin_anew() -> None:
    """Leave what is under way to the parent, in a forked child."""
    replace(Background(is_inline=_background.is_inline))


add_source(settle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
