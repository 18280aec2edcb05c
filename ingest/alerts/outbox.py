"""Sends what the database's alerts have written to the outbox.

The database decides when a rule fires and writes the message in the same transaction (`evaluate_alerts`). Sending comes
afterwards, under a lease: a worker that dies midway loses nothing, another takes the message over when the lease ends.
A message may therefore arrive twice, always with the same idempotency key; it never gets lost, and after the last
attempt it is kept as dead.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from ingest.alerts.exchange import TIMEOUT_S
from ingest.alerts.notification import ClaimedNotification, Outcome
from ingest.database import fetch
from ingest.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from ingest.alerts.notification import Notifier
    from ingest.database import Database

logger = logging.getLogger("treering.alerts")

# Messages under way at once, and how many of them may be of one channel: a receiver that stalls holds up its own only.
MAX_COUNT: Final = 50
CHANNEL_COUNT: Final = 5

# How long a message stays with this worker beyond the attempt itself: time to record 50 outcomes on a slow database.
# A worker that is killed holds its messages up for as long.
_LEASE_MARGIN_S: Final = 15


class Deliverer:
    """Keeps messages under way, in threads of its own, while the next ones are claimed.

    Args:
        database: Opened as service_role; used by several threads at once.
        worker: Name of this worker, which holds the lease.
        notifier: Sends them.
        timeout_s: Longest time that the notifier takes for one attempt, in seconds.
        max_count: Most messages under way at once.
    """

    def __init__(
        self,
        database: Database,
        worker: str,
        *,
        notifier: Notifier,
        timeout_s: float = TIMEOUT_S,
        max_count: int = MAX_COUNT,
    ) -> None:
        self._database = database
        self._worker = worker
        self._notifier = notifier
        self._timeout_s = timeout_s
        self._max_count = max_count
        self._lock = threading.Lock()
        self._under_way: Counter[int | None] = Counter()
        self._failure: DatabaseError | None = None
        self._threads = ThreadPoolExecutor(max_workers=max_count, thread_name_prefix="treering-alerts")

    def deliver(self, notification_ids: Sequence[int] | None = None) -> int:
        """Claim the messages that are due and begin to send them.

        Args:
            notification_ids: Only these; None is whatever is due.

        Returns:
            How many were begun.

        Raises:
            DatabaseError: Claiming failed, or since the last call an outcome could not be recorded (that message is
                sent again later).
        """
        return len(self._begin(notification_ids))

    def wait(self, begun: Sequence[Future[None]]) -> None:
        """Wait for attempts to end.

        Raises:
            DatabaseError: An outcome could not be recorded.
        """
        for attempt in begun:
            attempt.result()
        self._raise_failure()

    def deliver_and_wait(self, notification_ids: Sequence[int] | None = None) -> int:
        """Claim the messages that are due, try each once and wait for their ends; as `deliver` else."""
        begun = self._begin(notification_ids)
        self.wait(begun)
        return len(begun)

    def close(self) -> None:
        """Let what is under way end; nothing new begins."""
        self._threads.shutdown()

    def _begin(self, notification_ids: Sequence[int] | None) -> list[Future[None]]:
        self._raise_failure()
        with self._lock:
            free = self._max_count - self._under_way.total()
            under_way: dict[str, JsonValue] = {str(one): count for one, count in self._under_way.items() if count}
        if free <= 0:
            return []
        claimed = fetch(
            self._database,
            list[ClaimedNotification],
            "claim_notifications",
            worker=self._worker,
            max_count=free,
            lease_s=round(self._timeout_s) + _LEASE_MARGIN_S,
            notification_ids=None if notification_ids is None else list(notification_ids),
            max_per_channel=CHANNEL_COUNT,
            under_way=under_way,
        )
        with self._lock:
            self._under_way.update(notification.channel_id for notification in claimed)
        return [self._threads.submit(self._attempt, notification) for notification in claimed]

    def _attempt(self, notification: ClaimedNotification) -> None:
        try:
            asyncio.run(self._try_and_record(notification))
        except DatabaseError as error:
            self._failure = error
        finally:
            with self._lock:
                self._under_way[notification.channel_id] -= 1

    async def _try_and_record(self, notification: ClaimedNotification) -> None:
        # Recorded before the loop ends: that waits for a name that is still being looked up, however long.
        self._record(notification, await _try_once(self._notifier, notification))

    def _record(self, notification: ClaimedNotification, outcome: Outcome) -> None:
        if outcome.error is not None:
            logger.warning(
                "message %d to channel %s failed at attempt %d: %s",
                notification.notification_id,
                notification.channel_name,
                notification.attempt,
                outcome.error,
            )
        self._database.call(
            "finish_notification",
            notification_id=notification.notification_id,
            worker=self._worker,
            ok=outcome.error is None,
            error=outcome.error,
            is_final=outcome.is_final,
            is_refused=outcome.is_refused,
            retry_after_s=outcome.retry_after_s,
            taken=list(outcome.taken),
        )

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


def deliver_notifications(
    database: Database,
    worker: str,
    *,
    notifier: Notifier,
    timeout_s: float = TIMEOUT_S,
    max_count: int = MAX_COUNT,
    notification_ids: Sequence[int] | None = None,
) -> int:
    """Claim the messages that are due, try each once, and record how that ended; see `Deliverer`.

    Returns:
        How many messages were tried.

    Raises:
        DatabaseError: Claiming failed, or an outcome could not be recorded (that message is sent again later).
    """
    deliverer = Deliverer(database, worker, notifier=notifier, timeout_s=timeout_s, max_count=max_count)
    try:
        return deliverer.deliver_and_wait(notification_ids)
    finally:
        deliverer.close()


async def _try_once(notifier: Notifier, notification: ClaimedNotification) -> Outcome:
    try:
        return await notifier.send(notification)
    except Exception as error:  # noqa: BLE001 -- a fault of ours in one message must not cost the others their turn
        return Outcome(f"unexpected {type(error).__name__}")
