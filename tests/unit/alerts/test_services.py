"""The HTTP that each service gets when an alert fires, becomes critical, is acknowledged and ends.

Requests are real and go to a server on loopback; the fields are compared with each service's documentation, which
docs/alerts.md names.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import pytest

from ingest.alerts.notification import Outcome
from tests.support.alert_messages import KEY, fired, send_to
from tests.support.webhook_server import WebhookServer

if TYPE_CHECKING:
    from tests.support.webhook_server import Delivery

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
TEAMS = "workflows://prod-00.westeurope.logic.azure.com:443/3e8f3a1f7c/signatureXYZ123"
DISCORD = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV"
PAGERDUTY = f"pagerduty://{'a1b2' * 8}@apikey"
OPSGENIE = "opsgenie://12345678-1234-1234-1234-123456789012/#platform"
SPLUNK = "splunk://database@12345678-1234-1234-1234-123456789012"
TELEGRAM = "tgram://123456789:abcdefg_hijklmnop/-1001234567"
NTFY = "ntfys://me:secret@ntfy.example.com/alerts"
HOSTILE = "<!channel> <http://evil.example|here> @everyone [free](http://evil.example) *b* `c`\nSeverity: info"
ONE_LINE = HOSTILE.replace("\n", " ")


def deliveries(url: str, *payloads: dict[str, Any], **server: Any) -> list[Delivery]:
    with WebhookServer(**server) as receiver:
        for payload in payloads:
            assert send_to(url, payload, port=receiver.port) == Outcome()
    return receiver.deliveries


def life(url: str, **server: Any) -> list[Delivery]:
    """What a service gets for a warning, its escalation, an acknowledgement and the end."""
    by: dict[str, Any] = {"acknowledged_by": "olga", "acknowledged_at": "2026-11-23T11:30:00+00:00"}
    return deliveries(
        url, fired(severity="warning"), fired("escalated"), fired("acknowledged", **by), fired("resolved"), **server
    )


def test_pagerduty_opens_raises_acknowledges_and_resolves_one_incident() -> None:
    events = [one.document for one in life(PAGERDUTY, body=b'{"status":"success"}')]
    assert [one["event_action"] for one in events] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert {one["dedup_key"] for one in events} == {KEY}
    assert {one["routing_key"] for one in events} == {"a1b2" * 8}
    assert [one["payload"]["severity"] for one in events[:2]] == ["warning", "critical"]
    first = events[0]
    assert (first["payload"]["summary"], first["client"]) == ("! Spend spike", "Treering")
    assert first["payload"]["source"]
    assert first["payload"]["custom_details"]["Spend"] == "$61.20, above $50.00"
    assert {"href": "https://wiki.example.com/spend", "text": "Runbook"} in first["links"]


def test_pagerduty_of_europe_has_an_address_of_its_own() -> None:
    (event,) = deliveries(f"{PAGERDUTY}?region=eu", fired())
    assert (event.headers["X-Meant-For"], event.path) == ("https://events.eu.pagerduty.com", "/v2/enqueue")


def test_groups_that_fired_together_are_one_incident_until_the_last_has_ended() -> None:
    some = fired("resolved", bundle={"count": 3, "firing": 7})
    last = fired("resolved", bundle={"count": 7, "firing": 0})
    assert [one.document["event_action"] for one in deliveries(PAGERDUTY, some, last)] == ["trigger", "resolve"]


def test_opsgenie_creates_raises_acknowledges_and_closes_by_alias() -> None:
    create, again, raised, acknowledge, close = life(OPSGENIE)
    assert (create.method, create.path, create.headers["X-Meant-For"]) == (
        "POST", "/v2/alerts", "https://api.opsgenie.com"
    )  # fmt: skip
    assert create.headers["Authorization"] == "GenieKey 12345678-1234-1234-1234-123456789012"
    document = create.document
    assert (document["alias"], document["priority"], document["message"]) == (KEY, "P3", "! Spend spike")
    assert document["responders"] == [{"type": "team", "name": "platform"}]
    assert again.document["alias"] == KEY
    assert (raised.method, raised.path, raised.document) == (
        "PUT", f"/v2/alerts/{KEY}/priority?identifierType=alias", {"priority": "P1"}
    )  # fmt: skip
    assert acknowledge.path == f"/v2/alerts/{KEY}/acknowledge?identifierType=alias"
    assert close.path == f"/v2/alerts/{KEY}/close?identifierType=alias"


def test_splunk_on_call_is_told_the_state_of_one_entity() -> None:
    events = life(SPLUNK)
    kinds = [one.document["message_type"] for one in events]
    assert kinds == ["WARNING", "CRITICAL", "ACKNOWLEDGEMENT", "RECOVERY"]
    assert {one.document["entity_id"] for one in events} == {KEY}
    path = "/integrations/generic/20131114/alert/12345678-1234-1234-1234-123456789012/database"
    assert {(one.path, one.headers["X-Meant-For"]) for one in events} == {(path, "https://alert.victorops.com")}
    assert events[2].document["ack_author"] == "olga"


def test_slack_gets_a_colour_for_each_state_and_names_stay_names() -> None:
    warning, critical, _, over = (one.document["attachments"][0] for one in life(SLACK))
    assert (warning["color"], critical["color"], over["color"]) == ("#e67e22", "#c0392b", "#2e9e5b")
    (hostile,) = deliveries(SLACK, fired(group_by="user_id", group_key=HOSTILE))
    assert hostile.path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    document = hostile.document
    escaped = ONE_LINE.replace("<", "&lt;").replace(">", "&gt;")
    assert document["text"] == f"‼ Spend spike [{escaped}]"
    texts = [block["text"] for block in document["attachments"][0]["blocks"] if "text" in block]
    texts += [field for block in document["attachments"][0]["blocks"] for field in block.get("fields", [])]
    assert all(len(block.get("fields", [])) <= 10 for block in document["attachments"][0]["blocks"])
    # Only the links, which are ours, are markup; the name stands in plain text.
    (links,) = (text["text"] for text in texts if text["type"] == "mrkdwn")
    assert "evil" not in links
    assert "<https://x.example/obs/alerts?act=key-of-a-link|Acknowledge>" in links
    assert any(ONE_LINE in text["text"] for text in texts if text["type"] == "plain_text")


def test_a_bot_of_slack_is_judged_by_what_it_is_told() -> None:
    bot = "slack://xoxb-1234-1234-abc124/#general"
    (post,) = deliveries(bot, fired(), body=b'{"ok":true}')
    assert (post.path, post.headers["Authorization"]) == ("/api/chat.postMessage", "Bearer xoxb-1234-1234-abc124")
    assert post.document["channel"] == "#general"
    for reason, outcome in (
        (b"channel_not_found", Outcome("answered 403: channel_not_found", is_refused=True)),
        (b"msg_too_long", Outcome("answered 400: msg_too_long", is_final=True)),
        (b"ratelimited", Outcome("answered 429: ratelimited", retry_after_s=20)),
    ):
        with WebhookServer(headers={"Retry-After": "20"}, body=b'{"ok":false,"error":"%s"}' % reason) as receiver:
            told = send_to(bot, port=receiver.port)
        assert (told.error, told.is_final, told.is_refused) == (outcome.error, outcome.is_final, outcome.is_refused)


def test_teams_gets_a_card_of_text_runs() -> None:
    cards = [one.document["attachments"][0]["content"] for one in life(TEAMS)]
    colors = [card["body"][0]["inlines"][0]["color"] for card in cards]
    assert colors == ["Warning", "Attention", "Attention", "Good"]
    (hostile,) = deliveries(TEAMS, fired(group_by="user_id", group_key=HOSTILE))
    assert "/workflows/3e8f3a1f7c/triggers/manual/paths/invoke?api-version=" in hostile.path
    card = hostile.document["attachments"][0]["content"]
    assert (card["type"], hostile.document["type"]) == ("AdaptiveCard", "message")
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert {run["type"] for block in card["body"] for run in block["inlines"]} == {"TextRun"}
    assert card["body"][0]["inlines"][0]["text"] == f"‼ Spend spike [{ONE_LINE}]"
    assert {action["type"] for action in card["actions"]} == {"Action.OpenUrl"}


def unescape_discord(text: str) -> str:
    return re.sub(r"\\([^0-9A-Za-z\s])", r"\1", text)


def test_discord_mentions_nobody_and_reads_no_markup_in_names() -> None:
    embeds = [one.document["embeds"][0] for one in life(DISCORD)]
    assert [embed["color"] for embed in embeds] == [0xE67E22, 0xC0392B, 0xC0392B, 0x2E9E5B]
    (hostile,) = deliveries(DISCORD, fired(group_by="user_id", group_key=HOSTILE))
    document = hostile.document
    assert document["allowed_mentions"] == {"parse": []}
    assert hostile.path == "/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV"
    title = document["embeds"][0]["title"]
    assert unescape_discord(title) == f"‼ Spend spike [{ONE_LINE}]"
    assert not re.search(r"(?<!\\)[<>*`@\[\]()]", title)


def test_telegram_gets_html_with_names_in_code_and_the_end_makes_no_sound() -> None:
    messages = [one.document for one in life(TELEGRAM, body=b'{"ok":true}')]
    assert [one["disable_notification"] for one in messages] == [False, False, False, True]
    (hostile,) = deliveries(TELEGRAM, fired(scope={"feature": [HOSTILE]}), body=b'{"ok":true}')
    assert hostile.path == "/bot123456789:abcdefg_hijklmnop/sendMessage"
    document = hostile.document
    assert (document["chat_id"], document["parse_mode"]) == (-1001234567, "HTML")
    escaped = ONE_LINE.replace("<", "&lt;").replace(">", "&gt;")
    assert f"Scope: <code>feature {escaped}</code>\n" in document["text"]
    with WebhookServer(429, body=b'{"ok":false,"parameters":{"retry_after":35}}') as receiver:
        assert send_to(TELEGRAM, port=receiver.port) == Outcome("answered 429", retry_after_s=35)


def test_ntfy_rings_by_priority() -> None:
    messages = life(NTFY)
    assert [one.document["priority"] for one in messages] == [4, 5, 5, 2]
    assert [one.document["tags"] for one in messages][-1] == ["white_check_mark"]
    first = messages[0]
    assert (first.document["topic"], first.headers["X-Meant-For"]) == ("alerts", "https://ntfy.example.com")
    assert first.headers["Authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()
    assert first.document["click"].startswith("https://x.example/obs/costs?")
    assert first.document["actions"][0] == {
        "action": "view", "label": "Acknowledge", "url": "https://x.example/obs/alerts?act=key-of-a-link"
    }  # fmt: skip


@pytest.mark.parametrize("url", [SLACK, TEAMS, DISCORD, PAGERDUTY, OPSGENIE, SPLUNK, TELEGRAM, NTFY])
def test_a_refusal_is_tried_for_a_while_and_a_wait_is_kept(url: str) -> None:
    with WebhookServer(404) as receiver:
        assert send_to(url, port=receiver.port) == Outcome("answered 404", is_refused=True)
    with WebhookServer(429, headers={"Retry-After": "7"}) as receiver:
        assert send_to(url, port=receiver.port) == Outcome("answered 429", retry_after_s=7)
    with WebhookServer(500) as receiver:
        assert send_to(url, port=receiver.port) == Outcome("answered 500")


@pytest.mark.parametrize("url", [SLACK, TEAMS, DISCORD, PAGERDUTY, OPSGENIE, SPLUNK, TELEGRAM, NTFY])
def test_a_hundred_groups_fit_into_one_message_of_each_service(url: str) -> None:
    worst = [{"group_key": f"user-{number} {'x' * 190}", "value": str(5000 - number)} for number in range(10)]
    bundle = {"count": 100, "firing": 100, "alerts": worst, "more": {"count": 90, "smallest": "2.1", "largest": "5"}}
    (message,) = deliveries(url, fired(bundle=bundle, group_by="user_id"), body=b'{"ok":true}')
    body = message.body.decode()
    assert "Spend spike: 100 users" in body.replace("\\\\", "")
    assert "90 more, from $2.10 to $5.00" in body.replace("\\\\", "")
    assert len(message.body) < 6000 or url in (OPSGENIE, SLACK, TEAMS, PAGERDUTY, SPLUNK)
