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
from importlib.util import find_spec
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pydantic import SecretStr, TypeAdapter

from ingest.alerts.messages import render_message
from ingest.alerts.notification import Notification, Outcome
from ingest.alerts.notify_webhook import TIMEOUT_S, WebhookNotifier
from ingest.errors import DatabaseError

if TYPE_CHECKING:
    from ingest.alerts.messages import Message
    from ingest.alerts.notification import Notifier
    from ingest.alerts.sealing import SecretBox
    from ingest.database import Database
    from ingest.settings import Settings

logger = logging.getLogger(__name__)

# All messages of a turn are sent at once, so a turn lasts about as long as its slowest attempt.
MAX_COUNT = 50

# How long a message stays with this worker beyond the attempt itself: time to record 50 outcomes on a slow database.
# A worker that is killed holds its messages up for as long.
_LEASE_MARGIN_S = 15

_notifications = TypeAdapter(list[Notification])


class ChannelNotifier:
    """Opens what is sealed and sends each notification the way of its channel.

    Args:
        box: Opens addresses; None where `TREERING_SECRET_KEY` is not set.
        dashboard_url: Address of the dashboard, for links.
        zone: Zone in which times are written.
        allow_private: Whether private, loopback and link-local addresses may be sent to.
        timeout_s: Longest time for one attempt, in seconds.
    """

    def __init__(
        self,
        *,
        box: SecretBox | None = None,
        dashboard_url: str | None = None,
        zone: ZoneInfo | None = None,
        allow_private: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._box = box
        self._dashboard_url = dashboard_url
        self._zone = zone or ZoneInfo("UTC")
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._notifiers: dict[str, Notifier] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> ChannelNotifier:
        """Make one as the settings say.

        Raises:
            ConfigurationError: `TREERING_SECRET_KEY` is not a valid key.
        """
        from ingest.alerts.sealing import SecretBox

        return cls(
            box=SecretBox(settings.secret_key) if settings.secret_key else None,
            dashboard_url=settings.dashboard_url,
            zone=ZoneInfo(settings.timezone),
            allow_private=settings.allow_private_webhooks,
        )

    async def send(self, notification: Notification) -> Outcome:
        """Try once to send a notification; see `Notifier.send`."""
        if notification.sealed is not None:
            if self._box is None:
                return Outcome("TREERING_SECRET_KEY is not set for the worker, so the address cannot be decrypted")
            opened = self._box.open(notification.sealed.get_secret_value())
            if opened is None:
                return Outcome("TREERING_SECRET_KEY is not the key that the address was sealed with")
            secrets = {name: SecretStr(opened[name]) for name in ("target_url", "signing_secret")}
            notification = notification.model_copy(update={"sealed": None, **secrets})
        if notification.kind == "webhook":
            message = self.write(notification)
            added = {"title": message.title, "text": message.text, "link": message.link}
            notification = notification.model_copy(update={"payload": {**notification.payload, **added}})
        notifier = self._notifier(notification.kind)
        if notifier is None:
            return Outcome("apprise is not installed for the worker: pip install 'treering[worker]'")
        return await notifier.send(notification)

    def write(self, notification: Notification) -> Message:
        """Write a notification for people."""
        return render_message(notification.payload, dashboard_url=self._dashboard_url, zone=self._zone)

    def _notifier(self, kind: str) -> Notifier | None:
        if kind not in self._notifiers:
            if kind == "webhook":
                self._notifiers[kind] = WebhookNotifier(allow_private=self._allow_private, timeout_s=self._timeout_s)
            elif find_spec("apprise") is not None:
                from ingest.alerts.notify_apprise import AppriseNotifier

                self._notifiers[kind] = AppriseNotifier(
                    self.write, allow_private=self._allow_private, timeout_s=self._timeout_s
                )
            else:
                return None
        return self._notifiers[kind]


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
    claimed = _notifications.validate_python(
        database.call(
            "claim_notifications", worker=worker, max_count=max_count, lease_s=round(timeout_s) + _LEASE_MARGIN_S
        )
    )
    if claimed:
        asyncio.run(_send_all(database, worker, notifier, claimed))
    return len(claimed)


async def _send_all(database: Database, worker: str, notifier: Notifier, claimed: list[Notification]) -> None:
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


async def _try_once(notifier: Notifier, notification: Notification) -> tuple[Notification, Outcome]:
    try:
        return notification, await notifier.send(notification)
    except Exception as error:  # noqa: BLE001 -- a fault of ours in one message must not cost the others their turn
        return notification, Outcome(f"unexpected {type(error).__name__}")


def _record(database: Database, worker: str, notification: Notification, outcome: Outcome) -> None:
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
