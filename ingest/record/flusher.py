"""The background thread that takes events from the journal to the database."""

from __future__ import annotations

import logging
import queue
import threading
import time
from itertools import islice
from typing import TYPE_CHECKING

from ingest.errors import DatabaseUnavailableError, TreeringError
from ingest.record.side_thread import SideThread

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from ingest.database import Database
    from ingest.notices import Notices
    from ingest.record.delivery import Batch, Delivery
    from ingest.record.journal import Journal

MAINTENANCE_INTERVAL_S = 30.0
FIRST_BACKOFF_S = 0.25
# A database that is back should be noticed soon: one call per process every few seconds does not burden it.
MAX_BACKOFF_S = 5.0
# Most batches of one look into the journal; between looks there is time for its maintenance.
BATCHES_PER_READ = 8


class Backoff:
    """Growing pauses with jitter: half to all of a time that doubles up to a limit.

    Args:
        random_source: Where the jitter comes from.
    """

    def __init__(self, random_source: random.Random) -> None:
        self._random = random_source
        self.failures = 0

    def next_delay_s(self) -> float:
        """Count a failure and return the pause after it, in seconds."""
        longest = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return longest * self._random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Start over after a success."""
        self.failures = 0


class Flusher:
    """Decides when to send and sends.

    Args:
        journal: Where events wait.
        delivery: Sends them; made by the thread itself, since what it imports takes a while.
        open_database: Opens the database; raises a `TreeringError` while there is none.
        notices: Where trouble is reported.
        backoff: Pauses after failures.
        batch_size: Most events of a call.
        interval_s: Longest time an event waits for others to travel with.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        journal: Journal,
        delivery: Callable[[], Delivery],
        open_database: Callable[[], Database],
        notices: Notices,
        backoff: Backoff,
        *,
        batch_size: int,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._make_delivery = delivery
        self._open_database = open_database
        self._notices = notices
        self._backoff = backoff
        self._batch_size = batch_size
        self._interval_s = interval_s
        self._clock = clock
        self.delivery: Delivery | None = None
        self._database: Database | None = None
        self._records: Iterator[tuple[bytes, int]] = iter(())
        self._batch: Batch | None = None
        self._next: Batch | None = None
        self._side_thread = SideThread()
        # A SimpleQueue may be put to from a finalizer that runs in the middle of another put; an Event may not.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._progress = threading.Condition()
        self._hurry_to = 0
        self._maintain_at = self._not_before = self._linger_until = 0.0
        self._is_lingering = False
        self._is_stopping = False
        self.is_idle = True
        self.failed_calls = 0
        self.last_error: str | None = None
        self.needs_repair = False

    def ring(self) -> None:
        """Wake the thread: there is something to do."""
        self.is_idle = False
        self._bell.put(None)

    def stop(self) -> None:
        """Make `run` return after the current call."""
        self._is_stopping = True
        self._bell.put(None)
        with self._progress:
            self._progress.notify_all()

    def wait_settled(self, timeout_s: float, *, is_patient: bool = True) -> bool:
        """Send without pauses until everything recorded so far is stored or refused.

        Args:
            timeout_s: Longest time to wait.
            is_patient: Whether to go on after a failed try that may succeed by itself later.

        Returns:
            False where that did not come about in time, or cannot before somebody repairs the set-up.
        """
        target = self._journal.appended
        failed_calls = self.failed_calls
        deadline = self._clock() + timeout_s
        with self._progress:
            self._hurry_to = max(self._hurry_to, target)
            self._not_before = 0.0  # one immediate attempt, whatever the result of the last one
            self.ring()
            while self._journal.settled < target:
                remaining_s = deadline - self._clock()
                has_failed = self.failed_calls > failed_calls
                if remaining_s <= 0 or self._is_stopping or (has_failed and (self.needs_repair or not is_patient)):
                    return False
                self._progress.wait(remaining_s)
        return True

    def run(self) -> None:
        """Work until stopped."""
        while not self._is_stopping:
            try:
                delay_s = self.step()
            except Exception as error:  # noqa: BLE001 -- this thread must outlive any fault, or nothing is sent again
                delay_s = self._fail(error)
            if delay_s > 0:
                self._wait(delay_s)
        self._side_thread.stop()
        self._close_database()

    def step(self) -> float:
        """Do the next piece of work and return for how many seconds there is nothing to do."""
        now = self._clock()
        if now >= self._maintain_at:
            self._maintain_at = now + MAINTENANCE_INTERVAL_S
            self._journal.maintain()
        if self._batch is None:
            waiting_s = self._time_to_next_batch(now)
            if waiting_s > 0:
                return waiting_s
        if now < self._not_before:
            return self._not_before - now
        return self._send()

    def _time_to_next_batch(self, now: float) -> float:
        pending = self._journal.pending
        if not pending:
            self._is_lingering = False
            self.is_idle = True
            # An event that arrived just now saw the old flag and did not wake us.
            if not self._journal.pending:
                return max(self._maintain_at - now, 0.001)
            self.is_idle = False
        if pending >= self._batch_size or self._journal.settled < self._hurry_to:
            return 0.0
        if not self._is_lingering:
            self._is_lingering = True
            self._linger_until = now + self._interval_s
        return self._linger_until - now

    def _send(self) -> float:
        if self.delivery is None:
            self.delivery = self._make_delivery()
        if self._database is None:
            self._database = self._open_database()
        if self._batch is None:
            self.delivery.refresh(self._database)
            self._records = self._journal.read(self._batch_size * BATCHES_PER_READ)
            self._batch = self._prepare(self.delivery)
        while self._batch is not None and not self._is_stopping:
            self._deliver(self._batch, self.delivery, self._database)
            self._batch, self._next = self._next, None
            self._backoff.reset()
            self.last_error = None
            self.needs_repair = False
            with self._progress:
                self._progress.notify_all()
        self._is_lingering = False
        return 0.0

    def _prepare(self, delivery: Delivery) -> Batch | None:
        return delivery.prepare(islice(self._records, self._batch_size))

    def _deliver(self, batch: Batch, delivery: Delivery, database: Database) -> None:
        """Send a batch and forget it; if another full one waits, prepare it meanwhile."""
        if self._next is not None or self._journal.pending < batch.count + self._batch_size:
            delivery.send(batch, database)
        else:
            self._side_thread.start(lambda: delivery.send(batch, database))
            try:
                self._next = self._prepare(delivery)
            finally:
                self._side_thread.wait()
        self._journal.acknowledge(batch.offset, batch.count)

    def _fail(self, error: Exception) -> float:
        self.last_error = f"{type(error).__name__}: {error}"
        self.needs_repair = isinstance(error, TreeringError) and not getattr(error, "retryable", False)
        self.failed_calls += 1  # last: whoever waits looks at it first
        self._notices.warn(
            f"delivery {type(error).__name__}",
            f"{self._journal.pending} events wait in the journal: {error}",
            level=logging.ERROR if self.needs_repair else logging.WARNING,
        )
        if isinstance(error, DatabaseUnavailableError):
            self._close_database()  # the next one may be elsewhere: an embedded server moves when it restarts
        delay_s = self._backoff.next_delay_s()
        with self._progress:
            self._not_before = self._clock() + delay_s
            self._progress.notify_all()
        return delay_s

    def _wait(self, delay_s: float) -> None:
        try:
            self._bell.get(timeout=delay_s)
            while True:
                self._bell.get_nowait()
        except queue.Empty:
            pass

    def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            try:
                database.close()
            except Exception as error:  # noqa: BLE001 -- it is of no use any more
                self._notices.warn("close", f"the database could not be closed: {type(error).__name__}")
