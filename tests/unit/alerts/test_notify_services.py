"""What apprise sends, and what goes out as e-mail; the services with writers of their own are in test_services."""

from __future__ import annotations

import logging
import smtplib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from ingest.alerts.addresses import PRIVATE_ADDRESS
from ingest.alerts.connection_guard import watched_connections
from ingest.alerts.notification import Outcome
from tests.support.alert_messages import claimed, fired, send_to
from tests.support.mail_server import MailServer
from tests.support.servers import free_port
from tests.support.webhook_server import WebhookServer

if TYPE_CHECKING:
    from email.message import EmailMessage

HOSTILE = "<!channel> <b>@everyone</b>\n[free](http://evil.example)"


def part(mail: EmailMessage, kind: str) -> EmailMessage:
    found = mail.get_body(preferencelist=(kind,))
    assert found is not None
    return found  # type: ignore[return-value]


def mails(*payloads: dict[str, Any]) -> list[EmailMessage]:
    with MailServer() as server:
        for payload in payloads:
            assert send_to(server.url, payload) == Outcome()
    return server.messages


def test_an_e_mail_has_the_same_in_text_and_in_escaped_html() -> None:
    (mail,) = mails(fired(rule_name="Spend & more", scope={"feature": [HOSTILE]}))
    assert mail.get_content_type() == "multipart/alternative"
    assert [one.get_content_type() for one in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail["Subject"] == "‼ Spend & more"
    text, page = part(mail, "plain").get_content(), part(mail, "html").get_content()
    # A name stays one line of the text and is no element of the page.
    assert "Scope: feature <!channel> <b>@everyone</b> [free](http://evil.example)\n" in text.replace("\r\n", "\n")
    assert "&lt;!channel&gt; &lt;b&gt;@everyone&lt;/b&gt; [free](http://evil.example)" in page
    assert "<h3>‼ Spend &amp; more</h3>" in page
    assert page.count("<tr>") == 7  # figure, scope, severity, sample, window, since, and what the rule is about


def test_messages_of_an_alert_belong_together_and_what_is_critical_is_important() -> None:
    fire, end = mails(fired(), fired("resolved", severity="warning"))
    assert fire["References"] == end["References"] == "<11111111-2222-4333-8444-555555555555@example.com>"
    assert (fire["Importance"], end["Importance"]) == ("high", "normal")
    assert fire["Auto-Submitted"] == "auto-generated"
    assert fire["Message-ID"] != end["Message-ID"]


def test_a_report_shows_its_picture_inside_the_html() -> None:
    picture = b"\x89PNG not really"
    report = {
        "event": "report",
        "message": {
            "title": "Week 47", "text": "Spend: $5.00", "image": "iVBORw0KGgo=",
            "html": '<p>Spend: $5.00</p><img src="cid:treering-trend.png">',
        },
    }  # fmt: skip
    (mail,) = mails(report)
    page = part(mail, "html")
    related = next(one for one in mail.walk() if one.get_content_type() == "multipart/related")
    (image,) = (one for one in related.iter_attachments() if one.get_content_type() == "image/png")
    assert (image["Content-ID"], image.get_content_disposition()) == ("<treering-trend.png>", "inline")
    assert image.get_content() == b"\x89PNG\r\n\x1a\n" != picture
    assert "cid:treering-trend.png" in page.get_content()
    assert part(mail, "plain").get_content().strip() == "Spend: $5.00"


def test_a_mail_server_that_refuses_is_tried_again() -> None:
    with MailServer("451 try again later") as server:
        outcome = send_to(server.url)
    assert outcome == Outcome("the mail server did not accept it (451)")
    assert server.messages == []


def test_a_mail_server_that_is_down_is_tried_again() -> None:
    outcome = send_to(f"mailto://127.0.0.1:{free_port()}?from=a@example.com&to=b@example.com&mode=insecure")
    assert outcome == Outcome("no connection to the mail server (ConnectionRefusedError)")


def test_a_mail_server_that_never_answers_costs_the_time_limit_only() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"mailto://127.0.0.1:{silent.getsockname()[1]}?from=a@example.com&to=b@example.com&mode=insecure"
        outcome = send_to(url, timeout_s=0.6)
    assert outcome.error is not None
    assert not outcome.is_final


def test_a_private_mail_server_is_refused_unless_allowed() -> None:
    with MailServer() as server:
        assert send_to(server.url, allow_private=False) == Outcome(PRIVATE_ADDRESS, is_final=True)
    assert server.messages == []


def test_a_name_that_turns_private_when_it_is_connected_to_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["1.1.1.1", "127.0.0.1"])
    with WebhookServer() as receiver:

        def rebound(*_: object, **__: object) -> list[Any]:
            address = next(answers, "127.0.0.1")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, receiver.port))]

        next(answers)  # as a check before the attempt would have seen it
        monkeypatch.setattr("socket.getaddrinfo", rebound)
        outcome = send_to(f"gotify://rebinding.example:{receiver.port}/Atoken12345678", allow_private=False)
    assert outcome == Outcome(PRIVATE_ADDRESS, is_final=True)
    assert receiver.deliveries == []


def test_a_redirect_into_the_private_network_is_refused() -> None:
    with WebhookServer(307) as receiver, watched_connections(allow_private=False) as connections:
        connections.allow_private = True  # the first server stands for a public one
        import requests

        original = requests.Session.rebuild_method

        def after_redirect(self: Any, *arguments: Any) -> None:
            connections.allow_private = False
            original(self, *arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(requests.Session, "rebuild_method", after_redirect)
            with pytest.raises(requests.ConnectionError, match="private, loopback"):
                requests.post(receiver.url, data=b"x", timeout=60)
    assert len(receiver.deliveries) == 1
    assert (connections.count, connections.is_forbidden) == (1, True)


@pytest.mark.parametrize("target", ["localhost", "/tmp/socket"])
def test_what_is_not_an_address_when_it_is_connected_to_is_refused(target: str) -> None:
    kind, where = (socket.AF_UNIX, target) if target.startswith("/") else (socket.AF_INET, (target, 9))
    with (
        watched_connections(allow_private=False),
        socket.socket(kind) as one,
        pytest.raises(PermissionError, match="private, loopback"),
    ):
        one.connect(where)


def test_connections_outside_an_attempt_are_nobodys_business() -> None:
    with watched_connections(allow_private=False):
        pass
    with MailServer() as server, smtplib.SMTP("127.0.0.1", server.port, timeout=60) as client:
        assert client.noop()[0] == 250


@pytest.mark.parametrize("url", ["json://127.0.0.1/x", "slack://hidden"])
def test_an_address_that_apprise_must_not_or_cannot_use_is_final(url: str) -> None:
    assert send_to(url) == Outcome("apprise does not understand the address", is_final=True)


def test_a_service_whose_connections_cannot_be_seen_is_not_used() -> None:
    outcome = send_to("rsyslog://127.0.0.1")
    assert outcome == Outcome("rsyslog:// is not supported: what it connects to cannot be checked", is_final=True)


def test_apprise_is_told_how_bad_it_is_and_that_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[str] = []
    from apprise.plugins.gotify import NotifyGotify

    send: Any = NotifyGotify.send

    def watch(self: Any, *arguments: Any, **options: Any) -> bool:
        kinds.append(str(options["notify_type"].value))
        return bool(send(self, *arguments, **options))

    monkeypatch.setattr(NotifyGotify, "send", watch)
    with WebhookServer() as receiver:
        url = f"gotify://127.0.0.1:{receiver.port}/Atoken12345678"
        for payload in (fired(severity="warning"), fired("escalated"), fired("resolved")):
            assert send_to(url, payload) == Outcome()
    assert kinds == ["warning", "failure", "success"]
    assert len(receiver.deliveries) == 3


def test_a_service_that_apprise_reaches_but_refuses_is_judged_by_its_status() -> None:
    with WebhookServer(429, headers={"Retry-After": "30"}) as receiver:
        url = f"gotify://127.0.0.1:{receiver.port}/Atoken12345678"
        assert send_to(url) == Outcome("answered 429", retry_after_s=30)
    with WebhookServer(401) as receiver:
        assert send_to(f"gotify://127.0.0.1:{receiver.port}/Atoken12345678") == Outcome("answered 401", is_refused=True)


def test_what_made_no_request_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apprise.plugins.gotify.NotifyGotify.notify", lambda *_, **__: True)
    outcome = send_to("gotify://127.0.0.1/Atoken12345678")
    assert outcome == Outcome("Gotify was sent nothing: its address asks for no request", is_final=True)


def test_nothing_of_an_address_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), MailServer("550 no") as server:
        send_to(server.url.replace("127.0.0.1", "me:hidden@127.0.0.1"))
        send_to("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV-hidden", timeout_s=0.01)
    assert "hidden" not in caplog.text
    assert "hidden" not in repr(claimed("slack://hidden/hidden/hidden"))
