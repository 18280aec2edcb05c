"""Slack, Teams and Discord: a coloured card with the facts as fields and the links below.

Names of users, models and rules come from outside. Where a service has a kind of text that it never reads as markup,
that is used; else every character that could begin markup or a mention is escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from ingest.alerts.services.call import Call, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import JsonValue

    from ingest.alerts.messages import Message

_RED, _AMBER, _GREEN, _GREY = 0xC0392B, 0xE67E22, 0x2E9E5B, 0x7F8C8D
_SLACK_HOOKS: Final = {"hook": "https://hooks.slack.com/services", "gov-hook": "https://hooks.slack-gov.com/services"}
# A section of Slack has ten fields, a message fifty blocks; Discord's embed has 25 fields.
_SLACK_FIELDS: Final = 10
_DISCORD_FIELDS: Final = 25
# All texts of an embed together have 6000 characters; title and links need some of them.
_DISCORD_TEXT: Final = 5000
_DISCORD_MARKUP: Final = re.compile(r"([\\`*_~|<>\[\]()#:@+=-])")


def _color(message: Message) -> int:
    if message.event == "resolved":
        return _GREEN
    return {"critical": _RED, "warning": _AMBER}.get(message.severity, _GREY)


def write_slack(service: Any, message: Message) -> Sequence[Call] | None:
    """Write a message of an incoming webhook, or of `chat.postMessage` for a bot: an attachment with blocks.

    Everything from outside stands in `plain_text`, which Slack never reads as markup, or is escaped as it asks: `&`,
    `<` and `>` (https://docs.slack.dev/messaging/formatting-message-text).
    """
    document: dict[str, JsonValue] = {
        "text": _escape_slack(message.title),
        "attachments": [{"color": f"#{_color(message):06x}", "blocks": list(_slack_blocks(message))}],
        "unfurl_links": False,
        "unfurl_media": False,
    }
    channels: list[str | None] = list(service.channels) or [None]
    if service.mode in _SLACK_HOOKS:
        url = "/".join((_SLACK_HOOKS[service.mode], service.token_a, service.token_b, service.token_c))
        return [Call(url, _to_channel(document, channel), target=channel or "") for channel in channels]
    if service.mode == "bot" and all(channel and "@" not in channel for channel in channels):
        headers = {"Authorization": f"Bearer {service.access_token}"}
        url = "https://slack.com/api/chat.postMessage"
        return [
            Call(url, _to_channel(document, channel), headers=headers, target=channel or "") for channel in channels
        ]
    return None


def _to_channel(document: dict[str, JsonValue], channel: str | None) -> dict[str, JsonValue]:
    if channel is None:
        return document
    name, _, thread = channel.partition(":")
    added: dict[str, JsonValue] = {"channel": name.removeprefix("+")}
    if thread:
        added["thread_ts"] = thread
    return document | added


def _slack_blocks(message: Message) -> Iterable[JsonValue]:
    yield {"type": "header", "text": _plain(shorten(message.title, 150))}
    for first in range(0, len(message.facts), _SLACK_FIELDS):
        fields: list[JsonValue] = [
            _plain(shorten(f"{name}\n{fact}", 2000)) for name, fact in message.facts[first : first + _SLACK_FIELDS]
        ]
        yield {"type": "section", "fields": fields}
    if message.links:
        links = "  ·  ".join(f"<{_escape_slack(address)}|{label}>" for label, address in message.links)
        yield {"type": "section", "text": {"type": "mrkdwn", "text": links}}


def _plain(text: str) -> dict[str, JsonValue]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _escape_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def write_teams(service: Any, message: Message) -> Sequence[Call]:
    """Write an adaptive card for a workflow of Teams ("when a webhook request is received").

    All text stands in text runs, which are not read as Markdown (https://adaptivecards.io/explorer/TextRun.html).
    """
    color = "Good" if message.event == "resolved" else {"critical": "Attention", "warning": "Warning"}.get(
        message.severity, "Default"
    )  # fmt: skip
    title: JsonValue = {"type": "TextRun", "text": message.title, "weight": "Bolder", "size": "Large", "color": color}
    facts: list[JsonValue] = [
        {
            "type": "RichTextBlock",
            "spacing": "Small",
            "inlines": [
                {"type": "TextRun", "text": f"{name}: ", "weight": "Bolder"},
                {"type": "TextRun", "text": fact},
            ],
        }
        for name, fact in message.facts
    ]
    card: dict[str, JsonValue] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": message.title,
        "msteams": {"width": "Full"},
        "body": [{"type": "RichTextBlock", "inlines": [title]}, *facts],
        "actions": [{"type": "Action.OpenUrl", "title": label, "url": url} for label, url in message.links],
    }
    attachment: JsonValue = {
        "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card
    }  # fmt: skip
    path = "/powerautomate/automations/direct" if service.power_automate else ""
    if path and service.routing_id:
        path += f"/cu/{service.routing_id}"
    port = f":{service.port}" if service.port else ""
    query = (
        f"api-version={quote(service.api_version)}&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={quote(service.signature)}"
    )
    url = f"https://{service.host}{port}{path}/workflows/{service.workflow}/triggers/manual/paths/invoke?{query}"
    return (Call(url, {"type": "message", "attachments": [attachment]}),)


def write_discord(service: Any, message: Message) -> Sequence[Call]:
    """Write a message of a webhook: an embed, and no mention of anybody whatever the text says.

    Fields: https://discord.com/developers/docs/resources/webhook#execute-webhook
    """
    fields: list[JsonValue] = [
        {"name": shorten(_escape_discord(name), 256), "value": shorten(_escape_discord(fact), 200), "inline": False}
        for name, fact in message.facts[:_DISCORD_FIELDS]
    ]
    while sum(len(str(one)) for one in fields) > _DISCORD_TEXT:
        fields.pop()
    embed: dict[str, JsonValue] = {
        "title": shorten(_escape_discord(message.title), 256),
        "color": _color(message),
        "fields": fields,
    }
    if message.link:
        embed["url"] = message.link
    if message.actions:
        embed["description"] = " · ".join(f"[{label}]({address})" for label, address in message.actions)
    document: dict[str, JsonValue] = {
        "username": "Treering", "embeds": [embed], "allowed_mentions": {"parse": []}
    }  # fmt: skip
    url = f"https://discord.com/api/webhooks/{service.webhook_id}/{service.webhook_token}"
    if service.thread_id:
        url += f"?thread_id={quote(str(service.thread_id))}"
    return (Call(url, document),)


def _escape_discord(text: str) -> str:
    return _DISCORD_MARKUP.sub(r"\\\1", text)
