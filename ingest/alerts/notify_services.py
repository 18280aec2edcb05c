"""Sends to addresses that apprise reads: by our own writers, as e-mail, or through apprise."""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ingest.alerts.addresses import PRIVATE_ADDRESS
from ingest.alerts.channels import REFUSED_SCHEMES
from ingest.alerts.connection_guard import watched_connections
from ingest.alerts.exchange import TIMEOUT_S, Exchange, bounded, judge
from ingest.alerts.mail import send_mail
from ingest.alerts.notification import IMAGE_NAME, MailFile, Outcome, join_outcomes, target_key
from ingest.alerts.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apprise import AppriseAttachment, NotifyBase

    from ingest.alerts.connection_guard import Connections
    from ingest.alerts.messages import Message
    from ingest.alerts.notification import ClaimedNotification
    from ingest.alerts.services import Call

# Apprise writes addresses to its log, tokens and passwords with them.
_SILENCED: Final = ("apprise", "urllib3", "requests")
_WORD_JOINER: Final = "\u2060"
_MARKDOWN: Final = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]()<>#+-.!|~@"})


class ServiceNotifier:
    """Sends notifications to services and by e-mail, each within a bounded time.

    Args:
        write: Turns a notification into a message for people.
        allow_private: Whether services at private, loopback and link-local addresses may be used.
        timeout_s: Longest time for one attempt altogether, in seconds.
        exchange: What sends our own requests; None makes one.
    """

    def __init__(
        self,
        write: Callable[[ClaimedNotification], Message],
        *,
        allow_private: bool = False,
        timeout_s: float = TIMEOUT_S,
        exchange: Exchange | None = None,
    ) -> None:
        self._write = write
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._exchange = exchange or Exchange(allow_private=allow_private, timeout_s=timeout_s)
        for name in _SILENCED:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)

    async def send(self, notification: ClaimedNotification) -> Outcome:
        """Try once to send a notification; see `Notifier.send`."""
        service = await asyncio.to_thread(read_service, notification.target_url.get_secret_value())
        if isinstance(service, Outcome):
            return service
        message = self._write(notification)
        taken = set(notification.taken)
        writer = SERVICES.get(type(service).__name__)
        # A report has a picture, which apprise uploads where the service takes one.
        calls = writer(service, message) if writer is not None and notification.event != "report" else None
        attempt = (
            self._make_calls(calls, taken)
            if calls
            else asyncio.to_thread(self._send, service, message, notification, taken)
        )
        outcome = await bounded(attempt, self._timeout_s)
        return outcome if outcome.error is None else replace(outcome, taken=tuple(sorted(taken)))

    async def _make_calls(self, calls: Sequence[Call], taken: set[str]) -> Outcome:
        outcomes: list[Outcome] = []
        for call in calls:
            if call.key in taken or (call.follows and outcomes and outcomes[-1].error is not None):
                continue
            headers = {"Content-Type": "application/json", "User-Agent": "treering", **call.headers}
            answer = await self._exchange.send(
                call.method, call.url, content=call.content, headers=headers, reads_body=True
            )
            outcomes.append(call.judge(answer))
            if outcomes[-1].error is None:
                taken.add(call.key)
        return join_outcomes(outcomes)

    def _send(
        self, service: NotifyBase, message: Message, notification: ClaimedNotification, taken: set[str]
    ) -> Outcome:
        picture = picture_of(notification)
        if type(service).__name__ == "NotifyEmail":
            with watched_connections(allow_private=self._allow_private) as connections:
                return send_mail(
                    service,
                    message,
                    picture,
                    timeout_s=self._timeout_s,
                    connections=connections,
                    taken=taken,
                    files=files_of(notification),
                )
        outcomes: list[Outcome] = []
        end = time.monotonic() + self._timeout_s
        for key, one in split_targets(service):
            if key in taken:
                continue
            left_s = end - time.monotonic()
            if outcomes and left_s < self._timeout_s / 4:
                outcomes.append(Outcome("there was no time left for the other targets"))
                break
            with watched_connections(allow_private=self._allow_private) as connections:
                outcomes.append(self._send_by_apprise(one, message, picture, connections, left_s))
            if outcomes[-1].error is None:
                taken.add(key)
        return join_outcomes(outcomes)

    def _send_by_apprise(
        self, service: NotifyBase, message: Message, picture: bytes | None, connections: Connections, left_s: float
    ) -> Outcome:
        from apprise import NotifyFormat

        # Each attempt ends within the time, so that none is still under way when the next begins.
        service.socket_connect_timeout = left_s / 3
        service.socket_read_timeout = left_s / 2
        text = message.text.removeprefix(message.title).lstrip("\n")
        title = message.title
        if service.notify_format == NotifyFormat.HTML:
            text = message.html
        elif service.notify_format == NotifyFormat.MARKDOWN:
            title, text = title.translate(_MARKDOWN), text.translate(_MARKDOWN).replace("\n", "  \n")
        else:
            title, text = _defuse(title), _defuse(text)
        attachment = _attach(picture) if picture and service.attachment_support else None
        was_taken = service.notify(
            body=text, title=title, notify_type=_kind(message), body_format=service.notify_format, attach=attachment
        )
        return _judge(service, connections, was_taken=bool(was_taken))


def split_targets(service: NotifyBase) -> list[tuple[str, NotifyBase]]:
    """Return a service once for each of its targets, with what the target is remembered by.

    Apprise sends to all targets of an address and says only whether all have taken it.
    """
    targets = getattr(service, "targets", None)
    name = type(service).__name__
    if not isinstance(targets, list) or len(targets) < 2:
        return [(target_key(name), service)]
    split = []
    for target in targets:
        one: Any = copy.copy(service)
        one.targets = [target]
        split.append((target_key(name, repr(target)), one))
    return split


def read_service(url: str) -> NotifyBase | Outcome:
    """Let apprise read an address; what it must not or cannot be used for is an outcome.

    A service is accepted where its connections can be watched: over `requests` or as e-mail.
    """
    from apprise import Apprise

    scheme = urlsplit(url).scheme.lower()
    service = None if scheme in REFUSED_SCHEMES else Apprise.instantiate(url)
    if service is None:
        return Outcome("apprise does not understand the address", is_final=True)
    module = sys.modules.get(type(service).__module__)
    if type(service).__name__ != "NotifyEmail" and not hasattr(module, "requests"):
        return Outcome(f"{scheme}:// is not supported: what it connects to cannot be checked", is_final=True)
    return service


def picture_of(notification: ClaimedNotification) -> bytes | None:
    """Return the picture of a report, as PNG."""
    message = notification.payload.get("message")
    image = message.get("image") if isinstance(message, dict) else None
    return base64.b64decode(image) if isinstance(image, str) else None


def files_of(notification: ClaimedNotification) -> list[MailFile]:
    """Return the files of a message that carries some, as a statement does."""
    message = notification.payload.get("message")
    files = message.get("files") if isinstance(message, dict) else None
    return [
        MailFile(str(file["name"]), str(file["mime"]), base64.b64decode(str(file["content"])))
        for file in (files if isinstance(files, list) else ())
        if isinstance(file, dict)
    ]


def _judge(service: NotifyBase, connections: Connections, *, was_taken: bool) -> Outcome:
    if connections.is_forbidden and not was_taken:
        return Outcome(PRIVATE_ADDRESS, is_final=True)
    name = service.service_name or "the service"
    if connections.count == 0:
        return Outcome(f"{name} was sent nothing: its address asks for no request", is_final=was_taken)
    if was_taken:
        return Outcome()
    if connections.status is not None and connections.status >= 300:
        return judge(connections.status, connections.retry_after_s)
    return Outcome(f"{name} did not accept it", retry_after_s=connections.retry_after_s)


def _kind(message: Message) -> Any:
    from apprise import NotifyType

    if message.event == "resolved":
        return NotifyType.SUCCESS
    return {"critical": NotifyType.FAILURE, "warning": NotifyType.WARNING}.get(message.severity, NotifyType.INFO)


def _defuse(text: str) -> str:
    """Break up what some services read as a mention or a link, without changing what is seen."""
    for mark in ("@", "<", "](", "*", "`"):
        text = text.replace(mark, f"{mark[0]}{_WORD_JOINER}{mark[1:]}")
    return text


def _attach(picture: bytes) -> AppriseAttachment:
    from apprise import AppriseAttachment
    from apprise.attachment.memory import AttachMemory

    return AppriseAttachment(AttachMemory(picture, name=IMAGE_NAME, mimetype="image/png"))  # type: ignore[no-untyped-call]
