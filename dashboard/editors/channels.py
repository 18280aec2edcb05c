"""The editor of channels in Settings. Only ops see them; the database refuses everyone else anyway."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

import streamlit as st
from pydantic import SecretStr, ValidationError

from dashboard.panels.cards import draw_title
from dashboard.panels.changes import attempt, change, draw_delete, explain, start_over
from dashboard.panels.chooser import Entry, choose_saved, draw_chooser, open_list
from dashboard.reads.alerts import get_delivery_health
from dashboard.reads.settings import (
    allows_private_addresses,
    delete_notification_channel,
    save_notification_channel,
    send_test_notification,
)
from ingest.alerts.channels import ChannelTarget, find_private_address
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer
    from ingest.database import JsonValue
    from ingest.documents.alerts import AlertRule
    from ingest.documents.delivery import ChannelTrouble
    from ingest.documents.settings import Channel

_SHOWN_ONCE: Final = "settings_shown_once"
KINDS: Final = {"webhook": "Webhook", "apprise": "Service or e-mail (apprise)"}
_EXAMPLES: Final = {
    "webhook": "https://hooks.example.com/alerts",
    "apprise": "slack://… · mailtos://user:password@example.com · workflows://… · pagerduty://…",
}


def draw_channels(viewer: Viewer, channels: tuple[Channel, ...], rules: tuple[AlertRule, ...] = ()) -> None:
    """Draw the channels beside the editor of the one that is chosen, or of a new one; no address is shown again."""
    troubles = {one.channel_name: one for one in _find_troubles(viewer)}
    known = {channel.channel_id: channel for channel in channels}
    left, right = open_list("channel")
    with left:
        entries = [
            Entry(number, channel.name, _describe(channel), _badges(channel, troubles.get(channel.name)))
            for number, channel in known.items()
        ]
        number = draw_chooser("channel", entries, "New channel")
    channel = known.get(number) if number is not None else None
    with right:
        _draw_secret()
        if channel is None:
            draw_title(
                "New channel", "A webhook, or a service that apprise knows: Slack, Teams, PagerDuty, e-mail and more."
            )
            _draw_channel_form(viewer, None)
            return
        _draw_head(viewer, channel, troubles.get(channel.name))
        _draw_channel_form(viewer, channel)
        alone = [rule.name for rule in rules if rule.channels == (channel.channel_id,)]
        if alone:
            st.caption(f"The only channel of: {', '.join(alone)}. Without it they send to nobody.")


def _describe(channel: Channel) -> str:
    kind = "Webhook" if channel.kind == "webhook" else "Service"
    hourly = f" and {channel.max_per_hour:,} an hour" if channel.max_per_hour else ""
    return f"{kind} to {channel.target_hint or 'an unknown host'}, at most {channel.max_per_minute:,} a minute{hourly}"


def _badges(channel: Channel, trouble: ChannelTrouble | None) -> tuple[tuple[str, str], ...]:
    if not channel.is_enabled:
        return (("gray", "Off"),)
    return (("red", "Failing"),) if trouble else ()


def _draw_secret() -> None:
    if secret := st.session_state.pop(_SHOWN_ONCE, None):
        with st.container(border=True, key="panel_settings_secret"):
            draw_title(
                "Signing secret of the channel",
                "Shown only once. Copy it to the receiver, which verifies signatures with it.",
            )
            st.code(secret, language=None)


def _draw_head(viewer: Viewer, channel: Channel, trouble: ChannelTrouble | None) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        draw_title(channel.name)
        st.button(
            "Test",
            key=f"settings_channel_test_{channel.channel_id}",
            icon=":material/send:",
            disabled=not channel.is_enabled,
            help="Sends a message marked as a test. The Alerts page shows whether it was delivered.",
            on_click=change,
            args=(
                lambda channel_id=channel.channel_id: send_test_notification(viewer, channel_id),
                f"Test queued for {channel.name}: see Messages on the Alerts page",
            ),
        )
    if trouble and trouble.last_error:
        st.error(f"Messages do not arrive: {trouble.last_error}", icon=":material/mail_off:")


def _find_troubles(viewer: Viewer) -> tuple[ChannelTrouble, ...]:
    try:
        return get_delivery_health(viewer).channels
    except TreeringError:  # the page's own read reports it
        return ()


def _draw_channel_form(viewer: Viewer, channel: Channel | None) -> None:
    key = f"settings_channel_{channel.channel_id}" if channel else "settings_channel"
    kind = channel.kind if channel else st.segmented_control(
        "Kind", list(KINDS), default="webhook", required=True, format_func=lambda name: KINDS[name], key=f"{key}_kind"
    )  # fmt: skip
    is_replaced = _draw_replacement(channel, key) if channel else True
    with st.form(f"{key}_form", border=False):
        name = st.text_input(
            "Name", channel.name if channel else "", key=f"{key}_name", placeholder="on-call", max_chars=100
        )
        url = (
            st.text_input(
                "New address" if channel else "Address",
                key=f"{key}_url",
                placeholder=_EXAMPLES[kind or "webhook"],
                type="password",
                help="Stored encrypted and never shown again.",
            )
            if is_replaced
            else ""
        )
        left, right = st.columns(2, gap="small")
        rate = left.number_input(
            "Messages per minute", 1, 6000, channel.max_per_minute if channel else 60, key=f"{key}_rate"
        )
        hourly = right.number_input(
            "Messages per hour",
            0,
            10_000,
            (channel.max_per_hour or 0) if channel else 0,
            key=f"{key}_hourly",
            help="What exceeds it is told in one digest; critical alerts always leave. 0 is no limit.",
        )
        is_enabled = st.toggle("Enabled", value=channel.is_enabled if channel else True, key=f"{key}_enabled")
        is_saved = st.form_submit_button("Save", type="primary", key=f"{key}_save")
    if is_saved:
        document: dict[str, JsonValue] = {
            "name": (name or "").strip(), "max_per_minute": int(rate), "is_enabled": is_enabled,
            "max_per_hour": max(int(hourly), 2) if hourly else None,
        }  # fmt: skip
        _save_channel(viewer, channel, document, kind or "webhook", (url or "").strip(), key)
    if channel:
        number = channel.channel_id
        draw_delete(
            "channel",
            channel.name,
            f"settings_channel_remove_{number}",
            lambda: delete_notification_channel(viewer, number),
            "Rules lose it, and messages that wait for it are not sent.",
        )


def _draw_replacement(channel: Channel, key: str) -> bool:
    """Say where the messages go and that the address is kept; return whether another one is to be typed."""
    if st.session_state.pop(f"{key}_replaced", False):
        st.session_state[f"{key}_replace"] = False
    st.html(
        f'<div class="tr-facts">Sends to <b>{html.escape(channel.target_hint or "an unknown host")}</b>. '
        "The address is stored encrypted; it never comes back to this page.</div>"
    )
    is_replaced: bool = st.toggle(
        "Replace the address",
        key=f"{key}_replace",
        help="A new address of a webhook gets a new signing secret, which is shown once.",
    )
    return is_replaced


def _save_channel(
    viewer: Viewer, channel: Channel | None, document: dict[str, JsonValue], kind: str, url: str, key: str
) -> None:
    if not document["name"] or not (url or channel):
        st.error("Enter a name and an address.")
        return
    target = None
    if url:
        fields: dict[str, Any] = {"kind": kind, "url": SecretStr(url)}
        try:
            target = ChannelTarget(**fields)
        except ValidationError as error:
            st.error(explain(error))
            return
        if not allows_private_addresses() and (reason := find_private_address(target)):
            st.error(f"{reason[0].upper()}{reason[1:]}.")
            return
    if channel:
        document["channel_id"] = channel.channel_id
    if attempt(lambda: save_notification_channel(viewer, document, target), f"{document['name']} saved"):
        if target and target.kind == "webhook":
            st.session_state[_SHOWN_ONCE] = target.signing_secret.get_secret_value()
        choose_saved("channel", str(document["name"]))
        st.session_state[f"{key}_replaced"] = True
        start_over(*([] if channel and not target else [f"{key}_url"] if channel else [f"{key}_name", f"{key}_url"]))
