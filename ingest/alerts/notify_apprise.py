"""Sends to what apprise knows: Slack, Teams, Discord, e-mail and some hundred more."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ingest.alerts.channels import REFUSED_SCHEMES
from ingest.alerts.notification import IMAGE_NAME, Outcome
from ingest.alerts.notify_webhook import TIMEOUT_S, is_public

if TYPE_CHECKING:
    from collections.abc import Callable

    from apprise import AppriseAttachment, NotifyBase

    from ingest.alerts.messages import Message
    from ingest.alerts.notification import ClaimedNotification

# Apprise writes addresses to its log, tokens and passwords with them.
_SILENCED = ("apprise", "urllib3", "requests")


class AppriseNotifier:
    """Sends notifications by apprise, each within a bounded time.

    Args:
        write: Turns a notification into a message for people.
        allow_private: Whether services at private, loopback and link-local addresses may be used.
        timeout_s: Longest time for one attempt altogether, in seconds.
    """

    def __init__(
        self,
        write: Callable[[ClaimedNotification], Message],
        *,
        allow_private: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._write = write
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        for name in _SILENCED:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)

    async def send(self, notification: ClaimedNotification) -> Outcome:
        """Try once to send a notification; see `Notifier.send`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.to_thread(self._send, notification)
        except TimeoutError:
            return Outcome(f"no response within {self._timeout_s:g} s")

    def _send(self, notification: ClaimedNotification) -> Outcome:
        from apprise import Apprise, NotifyFormat

        url = notification.target_url.get_secret_value()
        service = None if urlsplit(url).scheme.lower() in REFUSED_SCHEMES else Apprise.instantiate(url)
        if service is None:
            return Outcome("apprise does not understand the address", is_final=True)
        if not self._allow_private and not _is_public_service(service):
            return Outcome("the name resolves to a private, loopback or link-local address", is_final=True)
        # Each attempt ends within the time, so that none is still under way when the next begins.
        service.socket_connect_timeout = self._timeout_s / 3
        service.socket_read_timeout = self._timeout_s / 2
        message = self._write(notification)
        is_html = service.notify_format == NotifyFormat.HTML
        body = message.html if is_html else message.text.removeprefix(message.title).lstrip("\n")
        picture = _picture(notification) if service.attachment_support else None
        if picture is not None and hasattr(service, "inline"):
            service.inline = True  # e-mail shows it where the HTML names it
        sent = service.notify(body=body, title=message.title, body_format=service.notify_format, attach=picture)
        return Outcome() if sent else Outcome(f"{service.service_name or 'the service'} did not accept it")


def _picture(notification: ClaimedNotification) -> AppriseAttachment | None:
    from apprise import AppriseAttachment
    from apprise.attachment.memory import AttachMemory

    message = notification.payload.get("message")
    image = message.get("image") if isinstance(message, dict) else None
    if not isinstance(image, str):
        return None
    content = base64.b64decode(image)
    return AppriseAttachment(AttachMemory(content, name=IMAGE_NAME, mimetype="image/png"))  # type: ignore[no-untyped-call]


def _is_public_service(service: NotifyBase) -> bool:
    for name in (getattr(service, "smtp_host", None), getattr(service, "host", None)):
        if not name:
            continue
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None)}
        except OSError:
            continue  # what looks like a host is often a token
        if not all(is_public(address) for address in found if _is_address(address)):
            return False
    return True


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
