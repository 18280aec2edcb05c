"""A report by apprise's e-mail, against a real SMTP server on loopback."""

from __future__ import annotations

import asyncio
import email
import email.policy
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller
from pydantic import SecretStr

from ingest.alerts import ChannelNotifier
from ingest.notify import Notification
from ingest.report_job import make_message
from ingest.report_text import IMAGE_NAME
from tests.unit.forecasts.figures import figures

if TYPE_CHECKING:
    from collections.abc import Iterator


class Postbox:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 -- aiosmtpd's name
        self.mails.append(email.message_from_bytes(envelope.content, EmailMessage, policy=email.policy.default))
        return "250 taken"


@pytest.fixture
def postbox() -> Iterator[tuple[Postbox, int]]:
    handler = Postbox()
    controller = Controller(handler, hostname="127.0.0.1", port=0)
    controller.start()
    try:
        yield handler, controller.server.sockets[0].getsockname()[1]
    finally:
        controller.stop()


def report(port: int, **message: Any) -> Notification:
    return Notification(
        notification_id=1,
        idempotency_key="key",
        attempt=1,
        event="report",
        channel_name="mail",
        kind="apprise",
        target_url=SecretStr(f"mailto://127.0.0.1:{port}/?from=treering@example.com&to=ops@example.com&mode=insecure"),
        payload={"schema": "treering.report/1", "event": "report", "message": {**make_message(figures()), **message}},
    )


def test_a_mail_carries_the_report_with_the_picture_where_the_html_names_it(postbox: tuple[Postbox, int]) -> None:
    handler, port = postbox
    outcome = asyncio.run(ChannelNotifier(allow_private=True).send(report(port)))
    assert outcome.error is None
    (mail,) = handler.mails
    assert mail["Subject"] == "Yesterday cost $5.00, +25%"
    page = mail.get_body(("html",))
    assert page is not None
    assert f"cid:{IMAGE_NAME}" in page.get_content()
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert picture["Content-ID"] == f"<{IMAGE_NAME}>"
    assert picture["Content-Disposition"].startswith("inline")
    content: Any = picture.get_payload(decode=True)
    assert content.startswith(b"\x89PNG")


def test_a_report_without_a_picture_is_sent_all_the_same(postbox: tuple[Postbox, int]) -> None:
    handler, port = postbox
    outcome = asyncio.run(ChannelNotifier(allow_private=True).send(report(port, image=None, html="<p>nothing</p>")))
    assert outcome.error is None
    (mail,) = handler.mails
    assert [part.get_content_type() for part in mail.walk() if part.get_content_maintype() == "image"] == []
