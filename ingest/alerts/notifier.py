"""Sends each notification the way of its channel: by our own webhook, or to a service."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from ingest.alerts.exchange import TIMEOUT_S, Exchange
from ingest.alerts.messages import render_message
from ingest.alerts.notification import Outcome
from ingest.alerts.notify_webhook import WebhookNotifier

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    from pydantic import JsonValue

    from ingest.alerts.messages import Message
    from ingest.alerts.notification import ClaimedNotification, Notifier
    from ingest.alerts.sealing import SecretBox
    from ingest.settings import Settings


class ChannelNotifier:
    """Opens what is sealed and sends each notification the way of its channel.

    Args:
        box: Opens addresses; None where `TREERING_SECRET_KEY` is not set.
        dashboard_url: Address of the dashboard, for links.
        zone: Zone in which times are written.
        allow_private: Whether private, loopback and link-local addresses may be sent to.
        timeout_s: Longest time for one attempt, in seconds.
        connect: Makes what carries our own requests instead of real connections.
    """

    def __init__(
        self,
        *,
        box: SecretBox | None = None,
        dashboard_url: str | None = None,
        zone: ZoneInfo | None = None,
        allow_private: bool = False,
        timeout_s: float = TIMEOUT_S,
        connect: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._exchange = Exchange(allow_private=allow_private, timeout_s=timeout_s, connect=connect)
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

    async def send(self, notification: ClaimedNotification) -> Outcome:
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
            added: dict[str, JsonValue] = {"title": message.title, "text": message.text, "link": message.link}
            if message.actions:
                added["actions"] = [{"label": label, "url": url} for label, url in message.actions]
            notification = notification.model_copy(update={"payload": {**notification.payload, **added}})
        notifier = self._notifier(notification.kind)
        if notifier is None:
            return Outcome("apprise is not installed for the worker: pip install 'treering[worker]'")
        return await notifier.send(notification)

    def write(self, notification: ClaimedNotification) -> Message:
        """Write a notification for people."""
        return render_message(
            notification.payload, dashboard_url=self._dashboard_url, zone=self._zone, links=notification.links
        )

    def _notifier(self, kind: str) -> Notifier | None:
        if kind not in self._notifiers:
            if kind == "webhook":
                self._notifiers[kind] = WebhookNotifier(timeout_s=self._timeout_s, exchange=self._exchange)
            elif find_spec("apprise") is not None:
                from ingest.alerts.notify_services import ServiceNotifier

                self._notifiers[kind] = ServiceNotifier(
                    self.write,
                    allow_private=self._allow_private,
                    timeout_s=self._timeout_s,
                    exchange=self._exchange,
                )
            else:
                return None
        return self._notifiers[kind]
