"""Sends what the database's alerts have written to the outbox.

The database decides when a rule fires and writes the message in the same transaction (`evaluate_alerts`). Sending comes
afterwards, under a lease: a worker that dies midway loses nothing, another takes the message over when the lease ends.
A message may therefore arrive twice, always with the same idempotency key; it never gets lost, and after the last
attempt it is kept as dead.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ingest.alerts.notification import ClaimedNotification, Outcome
from ingest.alerts.notify_webhook import TIMEOUT_S
from ingest.database import fetch
from ingest.errors import DatabaseError

if TYPE_CHECKING:
    from ingest.alerts.notification import Notifier
    from ingest.database import Database

logger = logging.getLogger("treering.alerts")

# All messages of a turn are sent at once, so a turn lasts about as long as its slowest attempt.
MAX_COUNT = 50

# How long a message stays with this worker beyond the attempt itself: time to record 50 outcomes on a slow database.
# A worker that is killed holds its messages up for as long.
_LEASE_MARGIN_S = 15


def deliver_notifications(
    database: Database,
    worker: str,
    *,
    notifier: Notifier,
    timeout_s: float = TIMEOUT_S,
    max_count: int = MAX_COUNT,
) -> int:
    """Claim the messages that are due, try each once, and record how that ended.

    Args:
        database: Opened as service_role.
        worker: Name of this worker, which holds the lease.
        notifier: Sends them.
        timeout_s: Longest time that the notifier takes for one attempt, in seconds.
        max_count: Most messages of one turn.

    Returns:
        How many messages were tried. As many as max_count means that more may be waiting.

    Raises:
        DatabaseError: Claiming failed, or an outcome could not be recorded (that message is sent again later).
    """
    claimed = fetch(
        database,
        list[ClaimedNotification],
        "claim_notifications",
        worker=worker,
        max_count=max_count,
        lease_s=round(timeout_s) + _LEASE_MARGIN_S,
    )
    if claimed:
        asyncio.run(_send_all(database, worker, notifier, claimed))
    return len(claimed)


async def _send_all(database: Database, worker: str, notifier: Notifier, claimed: list[ClaimedNotification]) -> None:
    # Names are looked up in these threads too: with one each, a name that hangs holds up no other message.
    threads = ThreadPoolExecutor(max_workers=len(claimed) + 1, thread_name_prefix="treering-alerts")
    asyncio.get_running_loop().set_default_executor(threads)
    failure: DatabaseError | None = None
    for attempt in asyncio.as_completed([_try_once(notifier, notification) for notification in claimed]):
        notification, outcome = await attempt
        try:
            # In a thread, so that a slow database does not eat into the time of the attempts still under way.
            await asyncio.to_thread(_record, database, worker, notification, outcome)
        except DatabaseError as error:
            failure = error
    if failure is not None:
        raise failure


async def _try_once(notifier: Notifier, notification: ClaimedNotification) -> tuple[ClaimedNotification, Outcome]:
    try:
        return notification, await notifier.send(notification)
    except Exception as error:  # noqa: BLE001 -- a fault of ours in one message must not cost the others their turn
        return notification, Outcome(f"unexpected {type(error).__name__}")


def _record(database: Database, worker: str, notification: ClaimedNotification, outcome: Outcome) -> None:
    if outcome.error is not None:
        logger.warning(
            "message %d to channel %s failed at attempt %d: %s",
            notification.notification_id,
            notification.channel_name,
            notification.attempt,
            outcome.error,
        )
    database.call(
        "finish_notification",
        notification_id=notification.notification_id,
        worker=worker,
        ok=outcome.error is None,
        error=outcome.error,
        is_final=outcome.is_final,
    )
