"""Telegram and ntfy: messages to phones."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any, Final

from ingest.alerts.services.call import Call, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from ingest.alerts.messages import Message

# https://docs.ntfy.sh/publish/#message-priority: 5 rings through a muted phone, 2 makes no sound.
_PRIORITIES: Final = {"critical": 5, "warning": 4, "info": 3}
_TAGS: Final = {"critical": "rotating_light", "warning": "warning", "info": "information_source"}
_TELEGRAM_TEXT: Final = 4096
_WORD_JOINER: Final = "\u2060"


def write_telegram(service: Any, message: Message) -> Sequence[Call] | None:
    """Write `sendMessage` for each chat, as HTML with the facts in `code`.

    In there names are neither linked nor mentioned. The end of an alert makes no sound. Fields: https://core.telegram.org/bots/api#sendmessage
    """
    if not service.targets:
        return None  # apprise asks the bot for its owner
    title = html.escape(message.title.replace("@", f"@{_WORD_JOINER}"), quote=False)
    links = " · ".join(f'<a href="{html.escape(address)}">{html.escape(label)}</a>' for label, address in message.links)
    facts = list(message.facts)
    text = _telegram_text(title, facts, links)
    while len(text) > _TELEGRAM_TEXT and facts:
        facts.pop()
        text = _telegram_text(title, facts, links)
    calls = []
    for chat, topic in service.targets:
        document: dict[str, JsonValue] = {
            "chat_id": chat,
            "text": text,
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
            "disable_notification": bool(service.silent) or message.event == "resolved",
        }
        if topic:
            document["message_thread_id"] = topic
        url = f"https://api.telegram.org/bot{service.bot_token}/sendMessage"
        calls.append(Call(url, document, target=f"{chat}:{topic or ''}"))
    return calls


def _telegram_text(title: str, facts: list[tuple[str, str]], links: str) -> str:
    lines = [
        f"{_telegram_name(name)}: <code>{html.escape(shorten(fact, 1000), quote=False)}</code>" for name, fact in facts
    ]
    return "\n".join([f"<b>{title}</b>", "", *lines, *(["", links] if links else [])])


def _telegram_name(name: str) -> str:
    return html.escape(name.replace("@", f"@{_WORD_JOINER}"), quote=False)


def write_ntfy(service: Any, message: Message) -> Sequence[Call]:
    """Write a message for each topic, with priority, tags, and the links as buttons; its text is never markup.

    Fields: https://docs.ntfy.sh/publish/#publish-as-json
    """
    headers: dict[str, str] = {}
    base = "https://ntfy.sh"
    if service.mode == "private":
        port = f":{service.port}" if service.port else ""
        base = f"{'https' if service.secure else 'http'}://{service.host}{port}"
    if service.token:
        headers["Authorization"] = f"Bearer {service.token}"
    elif service.user:
        pair = f"{service.user}:{service.password or ''}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    is_over = message.event == "resolved"
    actions: list[JsonValue] = [{"action": "view", "label": label, "url": url} for label, url in message.actions[:3]]
    body = "\n".join(f"{name}: {fact}" for name, fact in message.facts) or message.text
    document: dict[str, JsonValue] = {
        "title": shorten(message.title, 250),
        "message": shorten(body, 3800),
        "priority": 2 if is_over else _PRIORITIES[message.severity],
        "tags": ["white_check_mark" if is_over else _TAGS[message.severity]],
    }
    if message.link:
        document["click"] = message.link
    if actions:
        document["actions"] = actions
    return [Call(base, document | {"topic": topic}, headers=headers, target=str(topic)) for topic in service.topics]
