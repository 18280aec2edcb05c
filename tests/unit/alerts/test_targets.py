"""An address may stand for several targets: what one of them has taken is not sent to it again."""

from __future__ import annotations

import pytest

from ingest.alerts.notification import Outcome, join_outcomes
from tests.support.alert_messages import fired, send_to
from tests.support.mail_server import MailServer
from tests.support.servers import free_port
from tests.support.webhook_server import WebhookServer


def test_only_the_channel_that_failed_is_tried_again() -> None:
    url = "slack://xoxb-1234-1234-abc124/#alerts/#broken/#ops"
    with WebhookServer(200, 500, 200, 200, body=b'{"ok": true}') as receiver:
        first = send_to(url, fired(), port=receiver.port)
        assert (first.error, first.is_final, len(first.taken)) == ("1 of 3 targets: answered 500", False, 2)
        again = send_to(url, fired(), port=receiver.port, taken=first.taken)
    assert again == Outcome()
    channels = [one.document["channel"] for one in receiver.deliveries]
    assert channels == ["#alerts", "#broken", "#ops", "#broken"]
    assert "xoxb" not in "".join(first.taken)


def test_a_connection_that_breaks_midway_keeps_what_was_taken() -> None:
    url = "tgram://123456789:abcdefg_hijklmnop/-1001/-1002"
    with WebhookServer(200, "close", 200, body=b'{"ok": true}') as receiver:
        first = send_to(url, fired(), port=receiver.port)
        assert first.error is not None
        assert len(first.taken) == 1
        assert send_to(url, fired(), port=receiver.port, taken=first.taken) == Outcome()
    assert [one.document["chat_id"] for one in receiver.deliveries] == [-1001, -1002, -1002]


def test_a_step_that_builds_on_another_waits_for_it_and_is_not_repeated() -> None:
    url = "opsgenie://12345678-1234-1234-1234-123456789012/#platform"
    with WebhookServer(500, 202, 500, 202, body=b"{}") as receiver:
        first = send_to(url, fired("escalated"), port=receiver.port)  # creates, and then raises the priority
        assert (len(receiver.deliveries), first.taken) == (1, ())
        second = send_to(url, fired("escalated"), port=receiver.port, taken=first.taken)
        assert len(second.taken) == 1
        assert send_to(url, fired("escalated"), port=receiver.port, taken=second.taken) == Outcome()
    assert [one.method for one in receiver.deliveries] == ["POST", "POST", "PUT", "PUT"]


def test_a_recipient_who_was_refused_gets_the_mail_alone_later() -> None:
    with MailServer(refused={"two@example.com"}) as server:
        url = server.url.replace("to=oncall@example.com", "to=one@example.com,two@example.com")
        first = send_to(url)
        assert (first.error, len(first.taken)) == ("the mail server refused 1 of 2 recipients", 1)
        server.refused.clear()
        assert send_to(url, taken=first.taken) == Outcome()
    assert server.recipients == [["one@example.com"], ["two@example.com"]]
    assert server.messages[1]["To"] == "one@example.com, two@example.com"


def test_a_service_that_apprise_sends_to_is_asked_once_for_each_target() -> None:
    numbers = "/+12025550101/+12025550102/+12025550103"
    with WebhookServer(201, 500, 201, 201) as receiver:
        url = f"signal://127.0.0.1:{receiver.port}/+12025550100{numbers}"
        first = send_to(url, fired())
        assert (first.error, len(first.taken)) == ("1 of 3 targets: answered 500", 2)
        assert send_to(url, fired(), taken=first.taken) == Outcome()
    asked = [one.document["recipients"] for one in receiver.deliveries]
    assert asked == [["+12025550101"], ["+12025550102"], ["+12025550103"], ["+12025550102"]]


def test_a_server_that_is_down_has_taken_nothing() -> None:
    outcome = send_to(f"signal://127.0.0.1:{free_port()}/+12025550100/+12025550101/+12025550102")
    assert outcome.error is not None
    assert outcome.taken == ()


@pytest.mark.parametrize(
    ("outcomes", "joined"),
    [
        ([Outcome(), Outcome()], Outcome()),
        ([Outcome("a", is_final=True)], Outcome("a", is_final=True)),
        ([Outcome("a", is_final=True), Outcome()], Outcome("1 of 2 targets: a", is_final=True)),
        ([Outcome("a", is_final=True), Outcome("b")], Outcome("2 of 2 targets: a")),
        ([Outcome("a", is_refused=True), Outcome("b")], Outcome("2 of 2 targets: a")),
        (
            [Outcome("a", is_refused=True), Outcome("b", is_final=True)],
            Outcome("2 of 2 targets: a", is_refused=True),
        ),
        ([Outcome("a", retry_after_s=5), Outcome("b", retry_after_s=9)], Outcome("2 of 2 targets: a", retry_after_s=9)),
    ],
)
def test_several_targets_end_as_one(outcomes: list[Outcome], joined: Outcome) -> None:
    assert join_outcomes(outcomes) == joined
