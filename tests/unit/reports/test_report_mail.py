"""A report by apprise's e-mail, against a real SMTP server on loopback."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import SecretStr

from ingest.alerts.notification import IMAGE_NAME, ClaimedNotification
from ingest.alerts.notifier import ChannelNotifier
from ingest.reports.publish import make_message
from tests.support.mail_server import MailServer
from tests.unit.reports.figures import figures


def report(server: MailServer, **message: Any) -> ClaimedNotification:
    return ClaimedNotification(
        notification_id=1,
        idempotency_key="key",
        attempt=1,
        event="report",
        channel_name="mail",
        kind="apprise",
        target_url=SecretStr(server.url),
        payload={"schema": "treering.report/1", "event": "report", "message": {**make_message(figures()), **message}},
    )


def test_a_mail_carries_the_report_with_the_picture_where_the_html_names_it() -> None:
    with MailServer() as server:
        outcome = asyncio.run(ChannelNotifier(allow_private=True).send(report(server)))
    assert outcome.error is None
    (mail,) = server.messages
    assert mail["Subject"] == "Yesterday cost $5.00, +25%"
    page = mail.get_body(("html",))
    assert page is not None
    assert f"cid:{IMAGE_NAME}" in page.get_content()
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert picture["Content-ID"] == f"<{IMAGE_NAME}>"
    assert picture["Content-Disposition"].startswith("inline")
    content: Any = picture.get_payload(decode=True)
    assert content.startswith(b"\x89PNG")


def test_a_report_without_a_picture_is_sent_all_the_same() -> None:
    with MailServer() as server:
        outcome = asyncio.run(
            ChannelNotifier(allow_private=True).send(report(server, image=None, html="<p>nothing</p>"))
        )
    assert outcome.error is None
    (mail,) = server.messages
    assert [part.get_content_type() for part in mail.walk() if part.get_content_maintype() == "image"] == []
