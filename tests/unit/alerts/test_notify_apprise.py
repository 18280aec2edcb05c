from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest
from pydantic import SecretStr

from ingest.alerts.messages import Message
from ingest.alerts.notification import ClaimedNotification, Outcome
from ingest.alerts.notify_apprise import AppriseNotifier
from tests.support.mail_server import MailServer
from tests.support.servers import free_port

MESSAGE = Message("! Spend spike", "! Spend spike\n\nSpend: $61.20", "<h3>! Spend spike</h3><p>Spend: $61.20</p>")


def send(url: str, **options: Any) -> Outcome:
    notification = ClaimedNotification(
        notification_id=1,
        idempotency_key="key-1",
        attempt=1,
        event="firing",
        channel_name="mail",
        kind="apprise",
        target_url=SecretStr(url),
        payload={},
    )
    notifier = AppriseNotifier(lambda _: MESSAGE, **{"allow_private": True, "timeout_s": 60, **options})
    return asyncio.run(notifier.send(notification))


def test_an_e_mail_arrives_in_plain_text_and_html() -> None:
    with MailServer() as server:
        assert send(server.url) == Outcome()
    (mail,) = server.messages
    assert mail["Subject"] == "! Spend spike"
    assert {part.get_content_type() for part in mail.walk()} >= {"text/plain", "text/html"}
    html = mail.get_body(preferencelist=("html",))
    plain = mail.get_body(preferencelist=("plain",))
    assert html is not None
    assert plain is not None
    assert "$61.20" in html.get_content()
    assert "$61.20" in plain.get_content()


def test_a_mail_server_that_refuses_is_tried_again() -> None:
    with MailServer("451 try again later") as server:
        outcome = send(server.url)
    assert (outcome.is_final, server.messages) == (False, [])
    assert outcome.error is not None
    assert "did not accept it" in outcome.error


def test_a_mail_server_that_is_down_is_tried_again() -> None:
    outcome = send(f"mailto://127.0.0.1:{free_port()}?from=a@example.com&to=b@example.com&mode=insecure")
    assert (outcome.error is not None, outcome.is_final) == (True, False)


def test_a_mail_server_that_never_answers_costs_the_time_limit_only() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"mailto://127.0.0.1:{silent.getsockname()[1]}?from=a@example.com&to=b@example.com&mode=insecure"
        outcome = send(url, timeout_s=0.6)
    assert outcome.error is not None
    assert not outcome.is_final


def test_a_private_address_is_refused_unless_allowed() -> None:
    with MailServer() as server:
        outcome = send(server.url, allow_private=False)
    assert outcome == Outcome("the name resolves to a private, loopback or link-local address", is_final=True)
    assert server.messages == []


@pytest.mark.parametrize("url", ["json://127.0.0.1/x", "slack://hidden"])
def test_an_address_that_apprise_must_not_or_cannot_use_is_final(url: str) -> None:
    assert send(url) == Outcome("apprise does not understand the address", is_final=True)


def test_a_token_that_looks_like_a_host_is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError("unknown host")

    monkeypatch.setattr("ingest.alerts.notify_apprise.socket.getaddrinfo", unknown)
    monkeypatch.setattr("apprise.NotifyBase.notify", lambda *_, **__: True)
    assert send("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", allow_private=False) == Outcome()


def test_nothing_of_an_address_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), MailServer("550 no") as server:
        send(server.url.replace("127.0.0.1", "me:hidden@127.0.0.1"))
    assert "hidden" not in caplog.text
