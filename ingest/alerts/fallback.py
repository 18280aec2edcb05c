"""Tells the fallback channel of a deployment about messages that other channels did not get.

Its address comes from the environment, so that it works where the addresses of the others cannot be decrypted. What is
sent is not in the outbox: a message about the outbox that waits in it would help nobody.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING

from pydantic import SecretStr

from ingest.alerts.notification import ClaimedNotification
from ingest.database import parse
from ingest.documents.delivery import DeliveryHealth

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.alerts.notification import Notifier
    from ingest.database import Database

logger = logging.getLogger("treering.alerts")


def tell_fallback(database: Database, notifier: Notifier, address: SecretStr) -> bool:
    """Send what is overdue or dead to the fallback channel, at most once an hour and only where it is news.

    Args:
        database: Opened as service_role.
        notifier: Sends it.
        address: `TREERING_FALLBACK_CHANNEL`: a service that apprise knows, or a web address; what follows its `#` is
            the signing secret.

    Returns:
        Whether it was told.
    """
    document = database.call("get_delivery_report")
    said = None if document is None else parse(DeliveryHealth, document, "get_delivery_report").describe()
    if said is None:
        return False
    url, _, secret = address.get_secret_value().partition("#")
    is_webhook = url.startswith(("http://", "https://"))
    title = "‼ Treering's messages do not arrive"
    text = f"{title}\n\n{said}\nThe Alerts page shows them and sends them again."
    written: dict[str, JsonValue] = {"title": title, "text": text, "html": "", "image": None}
    notification = ClaimedNotification(
        notification_id=0,
        idempotency_key=str(uuid.uuid4()),
        attempt=1,
        event="fallback",
        channel_name="fallback",
        kind="webhook" if is_webhook else "apprise",
        target_url=SecretStr(url if is_webhook else address.get_secret_value()),
        signing_secret=SecretStr(secret),
        payload={"schema": "treering.alert/1", "event": "fallback", "message": written},
    )
    outcome = asyncio.run(notifier.send(notification))
    if outcome.error is not None:
        logger.error("the fallback channel did not get the news that %s: %s", said, outcome.error)
        return False
    database.call("note_delivery_report")
    return True
