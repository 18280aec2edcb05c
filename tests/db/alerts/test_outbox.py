from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.alerts.notifier import ChannelNotifier
from ingest.alerts.notify_webhook import sign
from ingest.alerts.outbox import deliver_notifications
from tests.support.clockwork import BOX, NOON, Clockwork, at, call, fire, notifier, opened
from tests.support.mail_server import MailServer
from tests.support.servers import free_port
from tests.support.webhook_server import WebhookServer

if TYPE_CHECKING:
    from tests.support.doors import Door


def test_a_message_holds_its_evidence_in_a_versioned_schema(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x", signing_secret="a secret of the customer")
    service.rule("spend", "0", severity="critical", channels=[1])
    service.record(call(0))
    service.evaluate(10)
    (message,) = service.claim(10)
    payload = message["payload"]
    assert "hooks.example.com" not in str(message)
    assert opened(message) == {
        "target_url": "https://hooks.example.com/x", "signing_secret": "a secret of the customer"
    }  # fmt: skip
    assert (payload["schema"], payload["event"], payload["alert"]["value"]) == ("treering.alert/1", "firing", "1")
    assert payload["alert"]["severity"] == "critical"


def test_a_leased_message_is_nobody_elses_until_the_lease_ends(service: Clockwork) -> None:
    number = fire(service)
    assert [m["attempt"] for m in service.claim(10, lease_s=60)] == [1]
    assert service.claim(69, worker="worker-2") == []
    (again,) = service.claim(70, worker="worker-2", lease_s=60)
    assert again["attempt"] == 2
    # The first worker comes back: its failure no longer counts, its success would.
    assert service.finish(number, 71, ok=False) == {"state": "pending", "is_stale": True}
    assert service.finish(number, 72, ok=True)["state"] == "sent"
    assert service.finish(number, 73, ok=False, worker="worker-2") == {"state": "sent", "is_stale": True}


def test_two_workers_at_the_same_time_get_different_messages(direct: Door) -> None:
    service = Clockwork(direct.service())
    fire(service)
    service.ask(
        "save_alert_rule", rule={"name": "x", "metric": "spend", "threshold": 0, "window_s": 60, "channels": [1]}
    )
    service.evaluate(20)
    with psycopg.connect(direct.database.superuser_url) as other:
        other.execute("set role service_role")
        row = other.execute("select observability.claim_notifications('w', 1, 60, %s)", (at(20),)).fetchone()
        assert row is not None
        taken = {m["notification_id"] for m in row[0]}
        rest = {m["notification_id"] for m in service.claim(20)}
        other.commit()
    assert (taken, rest) == ({1}, {2})


def test_failed_attempts_wait_longer_each_time_until_the_message_is_dead(clockwork: Clockwork) -> None:
    number = fire(clockwork)
    now = 10.0
    delays = []
    for _ in range(14):
        assert len(clockwork.claim(now)) == 1
        answer = clockwork.finish(number, now, ok=False, error="answered 500")
        assert answer["state"] == "pending"
        due = (dt.datetime.fromisoformat(answer["next_attempt_at"]) - NOON).total_seconds()
        assert clockwork.claim(due - 0.01) == []
        delays.append(due - now)
        now = due
    for attempt, delay in enumerate(delays):
        longest = min(5 * 2**attempt, 3600)
        assert longest / 2 - 0.01 <= delay <= longest + 0.01
    assert len(clockwork.claim(now)) == 1
    assert clockwork.finish(number, now, ok=False, error="answered 500")["state"] == "dead"
    (row,) = clockwork.alerts()["outbox"]
    assert (row["state"], row["attempts"], row["last_error"]) == ("dead", 15, "answered 500")
    assert clockwork.claim(now + 1e6) == []


def test_a_worker_that_dies_in_the_last_attempt_leaves_a_dead_message(clockwork: Clockwork) -> None:
    fire(clockwork)
    for attempt in range(15):
        assert len(clockwork.claim(10 + 100 * attempt, lease_s=60)) == 1
    assert clockwork.claim(5000) == []
    (row,) = clockwork.alerts()["outbox"]
    assert (row["state"], row["last_error"]) == ("dead", "the worker vanished during the last attempt")


def test_the_end_of_an_alert_is_not_told_before_its_beginning(clockwork: Clockwork) -> None:
    fire(clockwork)
    clockwork.claim(10)
    clockwork.finish(1, 10, ok=False, error="answered 500")
    clockwork.evaluate(1000)
    assert [m["event"] for m in clockwork.claim(1000)] == ["firing"]
    assert clockwork.claim(1010) == []
    clockwork.finish(1, 1011, ok=True)
    assert [m["event"] for m in clockwork.claim(1011)] == ["resolved"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"is_enabled": False}, "the channel is switched off"),
        (None, "the channel was deleted"),
    ],
)
def test_messages_of_a_channel_that_is_gone_end_as_dead(
    clockwork: Clockwork, change: dict[str, bool] | None, reason: str
) -> None:
    fire(clockwork)
    if change is None:
        assert clockwork.database.call("delete_notification_channel", channel_id=1) is True
        assert clockwork.database.call("delete_notification_channel", channel_id=1) is False
    else:
        clockwork.ask("save_notification_channel", channel={"channel_id": 1, **change})
    assert clockwork.claim(10) == []
    (row,) = clockwork.alerts()["outbox"]
    assert (row["state"], row["last_error"], row["channel_name"]) == ("dead", reason, "pager")


def test_a_channel_that_was_added_by_hand_without_an_address_sends_nothing(direct: Door) -> None:
    service = Clockwork(direct.service())
    direct.database.execute("insert into observability_internal.notification_channels (name) values ('by hand')")
    service.rule("spend", "0", channels=[1])
    service.record(call(0))
    service.evaluate(10)
    assert service.claim(10) == []
    assert service.alerts()["outbox"][0]["last_error"] == "the channel has no address"


def test_a_disabled_channel_hears_nothing(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x", is_enabled=False)
    clockwork.rule("spend", "0", channels=[1])
    clockwork.record(call(0))
    assert clockwork.evaluate(10) == {"fired": 1}
    assert clockwork.outbox() == []


@pytest.mark.parametrize(
    ("behaviours", "end", "arrived"),
    [
        ([], "sent", 1),
        ([500, 429], "sent", 3),
        (["close"], "sent", 2),
        (["stall"], "sent", 2),
        ([302], "dead", 1),
        ([400], "dead", 1),
    ],
)
def test_whatever_the_receiver_does_each_message_ends_delivered_once_or_dead(
    direct: Door, behaviours: list[Any], end: str, arrived: int
) -> None:
    service = Clockwork(direct.service())
    with WebhookServer(*behaviours) as receiver:
        secret = "the secret of the receiver"
        service.channel(receiver.url, signing_secret=secret)
        service.rule("spend", "0", channels=[1])
        service.record(call(0))
        service.evaluate(10)
        for attempt in range(arrived):
            # A busy machine may need long to answer: only who never does is not waited for.
            timeout_s = 0.5 if behaviours[attempt : attempt + 1] == ["stall"] else 10
            assert deliver_notifications(service.database, "worker-1", notifier=notifier(timeout_s=timeout_s)) == 1
            direct.database.execute("update observability_internal.notifications set next_attempt_at = now()")
        assert deliver_notifications(service.database, "worker-1", notifier=notifier()) == 0
    (row,) = service.alerts()["outbox"]
    assert (row["state"], row["attempts"], len(receiver.deliveries)) == (end, arrived, arrived)
    keys = {delivery.headers["webhook-id"] for delivery in receiver.deliveries}
    assert len(keys) == 1
    last = receiver.deliveries[-1]
    assert last.headers["webhook-signature"] == sign(
        secret, last.headers["webhook-id"], int(last.headers["webhook-timestamp"]), last.body
    )


def deliver_at_once(direct: Door, times: int) -> None:
    """Try what waits, without the pauses in between."""
    for _ in range(times):
        direct.database.execute("update observability_internal.notifications set next_attempt_at = now()")
        deliver_notifications(direct.service(), "worker-1", notifier=notifier())


def test_an_e_mail_that_was_put_off_arrives_once(direct: Door) -> None:
    service = Clockwork(direct.service())
    with MailServer("451 try again later", "421 too busy", "250 OK") as server:
        service.channel(server.url, kind="apprise")
        service.rule("spend", "0", channels=[1])
        service.record(call(0))
        service.evaluate(10)
        deliver_at_once(direct, 5)
    (row,) = service.alerts()["outbox"]
    assert (row["state"], row["attempts"], len(server.messages)) == ("sent", 3, 1)
    assert server.messages[0]["Subject"] == "! spend above 0"


def test_an_e_mail_that_is_refused_again_and_again_is_dead_until_somebody_sends_it_again(direct: Door) -> None:
    service = Clockwork(direct.service())
    with MailServer(*["554 no"] * 15, "250 OK") as server:
        service.channel(server.url, kind="apprise")
        service.rule("spend", "0", channels=[1])
        service.record(call(0))
        service.evaluate(10)
        deliver_at_once(direct, 16)
        (row,) = service.alerts()["outbox"]
        assert (row["state"], row["attempts"], row["can_resend"], server.messages) == ("dead", 15, True, [])
        assert "did not accept it" in row["last_error"]
        assert service.database.call("resend_notification", notification_id=row["notification_id"]) is True
        deliver_at_once(direct, 1)
    assert service.outbox() == [("firing", "sent")]
    assert len(server.messages) == 1


@pytest.mark.dated
def test_a_message_is_delivered_through_each_door(service: Clockwork) -> None:
    with WebhookServer() as receiver:
        service.channel(receiver.url)
        service.rule("spend", "0", channels=[1])
        service.record(call(0))
        service.evaluate(10)
        assert deliver_notifications(service.database, "worker-1", notifier=notifier()) == 1
    assert service.outbox() == [("firing", "sent")]
    assert receiver.deliveries[0].document["alert"]["value"] == "1"


def test_a_receiver_that_is_down_gets_the_message_later(service: Clockwork) -> None:
    service.channel(f"http://127.0.0.1:{free_port()}/")
    service.rule("spend", "0", channels=[1])
    service.record(call(0))
    service.evaluate(10)
    deliver_notifications(service.database, "worker-1", notifier=notifier())
    (row,) = service.alerts()["outbox"]
    assert (row["state"], row["attempts"]) == ("pending", 1)
    assert row["last_error"].startswith("no connection")


def test_a_private_address_is_refused_unless_allowed(service: Clockwork) -> None:
    with WebhookServer() as receiver:
        service.channel(receiver.url)
        service.rule("spend", "0", channels=[1])
        service.record(call(0))
        service.evaluate(10)
        deliver_notifications(service.database, "worker-1", notifier=ChannelNotifier(box=BOX))
    assert service.outbox() == [("firing", "dead")]
    assert receiver.deliveries == []


def test_targets_that_have_taken_a_message_are_remembered_until_it_is_sent(clockwork: Clockwork) -> None:
    number = fire(clockwork)
    (message,) = clockwork.claim(11)
    assert message["taken"] == []
    clockwork.finish(number, 12, ok=False, error="one of three", taken=["a", "b"])
    (message,) = clockwork.claim(600)
    assert sorted(message["taken"]) == ["a", "b"]
    clockwork.finish(number, 601, ok=False, error="one of three", taken=["b", "c"])
    (message,) = clockwork.claim(1800)
    assert sorted(message["taken"]) == ["a", "b", "c"]
    clockwork.finish(number, 1801, ok=True)
    assert clockwork.outbox() == [("firing", "sent")]
