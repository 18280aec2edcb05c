from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from ingest.alerts.fallback import tell_fallback
from ingest.alerts.notification import ClaimedNotification, Outcome
from ingest.alerts.notifier import ChannelNotifier
from tests.support.scripted_database import ScriptedDatabase
from tests.support.webhook_server import WebhookServer

if TYPE_CHECKING:
    from pydantic import JsonValue

REPORT: dict[str, JsonValue] = {
    "server_time": "2026-11-26T12:00:00Z", "overdue": 2, "dead": 1,
    "channels": [
        {"channel_name": "pager", "overdue": 2, "dead": 0},
        {"channel_name": "chat", "overdue": 0, "dead": 1, "last_error": "answered 404"},
    ],
}  # fmt: skip


def test_the_fallback_channel_is_told_what_does_not_arrive_and_that_is_noted() -> None:
    database = ScriptedDatabase(get_delivery_report=[REPORT], note_delivery_report=[None])
    with WebhookServer() as receiver:
        address = SecretStr(f"{receiver.url}#a secret of 16 or more")
        assert tell_fallback(database, ChannelNotifier(allow_private=True), address)
    (delivery,) = receiver.deliveries
    assert "messages 2 overdue and 1 dead: pager, chat (answered 404)" in delivery.document["text"]
    assert database.called == ["get_delivery_report", "note_delivery_report"]


def test_without_news_nothing_is_sent() -> None:
    database = ScriptedDatabase(get_delivery_report=[None])
    assert not tell_fallback(database, ChannelNotifier(), SecretStr("https://example.com/"))


def test_what_did_not_get_through_is_not_noted() -> None:
    class Refusing:
        async def send(self, notification: ClaimedNotification) -> Outcome:
            assert notification.kind == "apprise"
            return Outcome("answered 500")

    database = ScriptedDatabase(get_delivery_report=[REPORT])
    assert not tell_fallback(database, Refusing(), SecretStr("mailtos://example.com"))
    assert database.called == ["get_delivery_report"]
