"""The JSON webhook, signed after the Standard Webhooks specification.

The headers `webhook-id`, `webhook-timestamp` and `webhook-signature` are those of https://www.standardwebhooks.com, for
which receivers find libraries in most languages. `Idempotency-Key` repeats the id for gateways that look for it.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import TYPE_CHECKING

from ingest.alerts.exchange import TIMEOUT_S, Exchange, bounded, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.alerts.notification import ClaimedNotification, Outcome


class WebhookNotifier:
    """Sends notifications as signed JSON by POST.

    Args:
        allow_private: Whether private, loopback and link-local addresses may be sent to.
        timeout_s: Longest time for one attempt altogether, in seconds.
        clock: Seconds since 1970, for the signature.
        exchange: What sends the requests; None makes one.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.time,
        exchange: Exchange | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._exchange = exchange or Exchange(allow_private=allow_private, timeout_s=timeout_s)

    async def send(self, notification: ClaimedNotification) -> Outcome:
        """Try once to send a notification; see `Notifier.send`."""
        return await bounded(self._post(notification), self._timeout_s)

    async def _post(self, notification: ClaimedNotification) -> Outcome:
        key, sent_at = notification.idempotency_key, int(self._clock())
        body = json.dumps({"id": key, **notification.payload}, separators=(",", ":"), sort_keys=True).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "treering",
            "Idempotency-Key": key,
            "webhook-id": key,
            "webhook-timestamp": str(sent_at),
            "webhook-signature": sign(notification.signing_secret.get_secret_value(), key, sent_at, body),
        }
        url = notification.target_url.get_secret_value()
        # Only the status counts, so the body stays unread whatever its size.
        answer = await self._exchange.send("POST", url, content=body, headers=headers)
        return judge(answer.status, answer.retry_after_s)


def sign(secret: str, message_id: str, sent_at: int, body: bytes) -> str:
    """Sign a message after Standard Webhooks: HMAC-SHA256 over id, time and body.

    Args:
        secret: Base64 of the key after `whsec_`; any other text is the key itself.
        message_id: Value of the header `webhook-id`.
        sent_at: Value of the header `webhook-timestamp`: seconds since 1970.
        body: The body as sent.

    Returns:
        The value of the header `webhook-signature`.
    """
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    digest = hmac.digest(key, f"{message_id}.{sent_at}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"
