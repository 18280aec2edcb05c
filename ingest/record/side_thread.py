"""A thread that does one piece of work at a time while its owner does something else."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class SideThread:
    """Runs what it is given on a daemon thread of its own, started when first needed.

    Not an executor of the standard library: those refuse work once the interpreter begins to end, which is when the
    last events are sent.
    """

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Start the work; call `wait` before the next `start`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="treering-side", daemon=True)
            self._thread.start()
        self._work.put(work)

    def wait(self) -> None:
        """Wait for the work to end and raise what it raised."""
        error = self._done.get()
        if error is not None:
            raise error

    def stop(self) -> None:
        """End the thread; another `start` creates a new one."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 -- handed to the owner
                self._done.put(error)
            else:
                self._done.put(None)
