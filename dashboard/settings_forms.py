"""The editors of the Settings page. They are drawn for ops alone; the database refuses everybody else anyway."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard import queries
from dashboard.cards import draw_title
from dashboard.incidents import DELAYS, FRACTIONS, METRICS, WINDOWS, describe_rule, length_in_words
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.documents import AlertRule, Channel, Configuration, Member
    from dashboard.identity import Viewer
    from ingest.database import JsonValue

_SHOWN_ONCE: Final = "settings_shown_once"
_SAVED_FIELDS: Final = "settings_saved_fields"
ROLES: Final = {
    "member": "Member: own calls",
    "analyst": "Analyst: all calls",
    "ops": "Ops: all calls, and changes settings",
}
# What people type, and how it is stored: an error rate of 5 % is 0.05.
_UNITS: Final = {"spend": "US$", "error_rate": "%", "p99_latency_ms": "ms", "provider_drift": "%"}
_DEFAULTS: Final = {"spend": "50", "error_rate": "5", "p99_latency_ms": "10000", "provider_drift": "5"}
# A bill comes by the day and a day or two late: shorter windows hold no whole day of it.
_SHORTEST_DRIFT_WINDOW_S: Final = 172_800


def clear_saved_fields() -> None:
    """Empty the fields that were saved; what was refused stays, to be corrected. Call before the forms are drawn."""
    for key in st.session_state.pop(_SAVED_FIELDS, ()):
        st.session_state[key] = ""


def draw_members(viewer: Viewer, members: tuple[Member, ...]) -> None:
    """Draw who has which role, with an editor for each and one for a new person."""
    for index, member in enumerate(members):
        with _line(f"member_{index}"):
            _draw_facts(member.user_id, ROLES.get(member.role, member.role))
            is_self = member.user_id == viewer.user_id
            st.button(
                "Remove",
                key=f"settings_member_remove_{index}",
                type="tertiary",
                icon=":material/delete:",
                disabled=is_self,
                help="You cannot remove yourself." if is_self else None,
                on_click=_change,
                args=(
                    lambda user_id=member.user_id: queries.remove_member(viewer, user_id),
                    f"{member.user_id} removed",
                ),
            )
    with st.form("settings_member_form"):
        draw_title("Add a person, or change a role")
        left, right = st.columns([3, 2], gap="small")
        user_id = left.text_input("User id", key="settings_member_user", placeholder="user_2abc", max_chars=200)
        role = right.selectbox("Role", list(ROLES), format_func=lambda name: ROLES[name], key="settings_member_role")
        if st.form_submit_button("Save", type="primary", key="settings_member_save"):
            name = (user_id or "").strip()
            if not name:
                st.error("Enter the user id as it stands in the recorded calls.")
            elif _try(lambda: queries.add_member(viewer, name, role), f"{name} is {role} now"):
                _start_over("settings_member_user")


def draw_rules(viewer: Viewer, configuration: Configuration) -> None:
    """Draw the alert rules, each with its editor, and the editor of a new one."""
    for rule in configuration.rules:
        with _line(f"rule_{rule.rule_id}"):
            _draw_facts(rule.name, describe_rule(rule))
            if not rule.is_enabled:
                st.badge("Off", color="gray")
            st.badge(rule.severity.capitalize(), color="red" if rule.severity == "critical" else "orange")
            with st.popover("Edit", type="tertiary", key=f"settings_rule_edit_{rule.rule_id}"):
                _draw_rule_form(viewer, configuration, rule)
    with st.expander("New rule", icon=":material/add:", expanded=not configuration.rules, key="settings_rule_new"):
        _draw_rule_form(viewer, configuration, None)


def draw_channels(viewer: Viewer, channels: tuple[Channel, ...]) -> None:
    """Draw the channels and the editor of a new one. An address is written, never shown again."""
    for channel in channels:
        with _line(f"channel_{channel.channel_id}"):
            _draw_facts(channel.name, f"{channel.kind.capitalize()} to {channel.target_hint or 'an unknown host'}")
            if not channel.is_enabled:
                st.badge("Off", color="gray")
            st.button(
                "Remove",
                key=f"settings_channel_remove_{channel.channel_id}",
                type="tertiary",
                icon=":material/delete:",
                on_click=_change,
                args=(
                    lambda channel_id=channel.channel_id: queries.delete_notification_channel(viewer, channel_id),
                    f"{channel.name} removed",
                ),
            )
    if secret := st.session_state.pop(_SHOWN_ONCE, None):
        with st.container(border=True, key="panel_settings_secret"):
            draw_title(
                "Signing secret of the new channel", "Shown this once: copy it to the receiver to check signatures."
            )
            st.code(secret, language=None)
    with st.form("settings_channel_form"):
        draw_title("Add a webhook", "The address is stored for sending and never shown again.")
        left, right = st.columns([2, 3], gap="small")
        name = left.text_input("Name", key="settings_channel_name", placeholder="on-call", max_chars=100)
        url = right.text_input("Address", key="settings_channel_url", placeholder="https://", type="password")
        if st.form_submit_button("Save", type="primary", key="settings_channel_save"):
            title, address = (name or "").strip(), (url or "").strip()
            if not title or not address.startswith(("https://", "http://")):
                st.error("Enter a name and an address that begins with https://.")
            else:
                document: dict[str, JsonValue] = {
                    "name": title,
                    "kind": "webhook",
                    "target_url": address,
                    "is_enabled": True,
                }
                if _try(lambda: _keep_secret(queries.save_notification_channel(viewer, document)), f"{title} saved"):
                    _start_over("settings_channel_name", "settings_channel_url")


def to_threshold(metric: str, typed: str) -> Decimal | None:
    """Read a threshold as typed, in the metric's unit on the form; None when it is no number above zero."""
    try:
        number = Decimal(typed.strip().replace(",", ""))
    except ArithmeticError:
        return None
    if not number.is_finite() or number <= 0:
        return None
    return number / 100 if metric in FRACTIONS else number


def _draw_rule_form(viewer: Viewer, configuration: Configuration, rule: AlertRule | None) -> None:
    suffix = rule.rule_id if rule else "new"
    key = f"settings_rule_{suffix}"
    metrics = list(METRICS)
    delays = sorted({*DELAYS, rule.for_s if rule else 0})
    metric = st.selectbox(
        "Metric",
        metrics,
        index=metrics.index(rule.metric) if rule and rule.metric in metrics else 0,
        format_func=lambda name: METRICS[name],
        key=f"{key}_metric",
    )
    shortest, counted = (_SHORTEST_DRIFT_WINDOW_S, "days") if metric == "provider_drift" else (0, "calls")
    current = rule.window_s if rule else 3600
    windows = [seconds for seconds in sorted({*WINDOWS, current}) if seconds >= shortest]
    channels = {channel.channel_id: channel.name for channel in configuration.channels}
    with st.form(f"{key}_form", border=False):
        name = st.text_input("Name", rule.name if rule else "", key=f"{key}_name", max_chars=100)
        left, right = st.columns(2, gap="small")
        typed = left.text_input(f"Threshold ({_UNITS[metric]})", _typed(rule, metric), key=f"{key}_threshold_{metric}")
        window = right.selectbox(
            "Window",
            windows,
            index=windows.index(current) if current in windows else 0,
            format_func=length_in_words,
            key=f"{key}_window_{shortest}" if shortest else f"{key}_window",
        )
        severity = left.selectbox(
            "Severity",
            ["warning", "critical"],
            index=1 if rule and rule.severity == "critical" else 0,
            format_func=str.capitalize,
            key=f"{key}_severity",
        )
        sample = right.number_input(
            f"At least {counted}",
            min_value=1,
            value=rule.minimum_sample if rule else 1,
            key=f"{key}_sample",
            help=f"With fewer {counted} in the window the rule does not fire.",
        )
        delay = left.selectbox(
            "Fires after",
            delays,
            index=delays.index(rule.for_s if rule else 0),
            format_func=lambda seconds: length_in_words(seconds) if seconds else "At once",
            key=f"{key}_for",
            help="How long the threshold must be exceeded.",
        )
        chosen = right.multiselect(
            "Channels",
            list(channels),
            default=[number for number in (rule.channels if rule else ()) if number in channels],
            format_func=lambda number: channels[number],
            key=f"{key}_channels",
            placeholder="None: shown in the app only",
        )
        is_enabled = st.toggle("Enabled", value=rule.is_enabled if rule else True, key=f"{key}_enabled")
        if st.form_submit_button("Save", type="primary", key=f"{key}_save"):
            threshold = to_threshold(metric, typed or "")
            if not (name or "").strip() or threshold is None:
                st.error("Enter a name and a threshold above zero.")
                return
            document: dict[str, JsonValue] = {
                "name": (name or "").strip(),
                "metric": metric,
                "window_s": window,
                "threshold": f"{threshold:f}",
                "scope": {name: list(values) for name, values in rule.scope.items()} if rule else {},
                "for_s": delay,
                "minimum_sample": int(sample),
                "severity": severity,
                "channels": list(chosen),
                "is_enabled": is_enabled,
            }
            if rule:
                document["rule_id"] = rule.rule_id
            if _try(lambda: queries.save_alert_rule(viewer, document), f"{document['name']} saved"):
                _start_over(*([] if rule else [f"{key}_name"]))
    if rule:
        st.button(
            "Delete rule",
            key=f"{key}_delete",
            type="tertiary",
            icon=":material/delete:",
            on_click=_change,
            args=(lambda rule_id=rule.rule_id: queries.delete_alert_rule(viewer, rule_id), f"{rule.name} deleted"),
        )


def _keep_secret(secret: str | None) -> None:
    st.session_state[_SHOWN_ONCE] = secret


def _start_over(*fields: str) -> None:
    st.session_state[_SAVED_FIELDS] = fields
    st.rerun()


def _typed(rule: AlertRule | None, metric: str) -> str:
    if rule is None or rule.metric != metric:
        return _DEFAULTS[metric]
    number = rule.threshold * 100 if metric in FRACTIONS else rule.threshold
    return f"{number.normalize():f}"


def _line(name: str) -> st.delta_generator.DeltaGenerator:
    return st.container(border=True, horizontal=True, vertical_alignment="center", key=f"line_{name}", gap="small")


def _draw_facts(title: str, facts: str) -> None:
    with st.container(gap=None, width="stretch"):
        draw_title(title, facts)


def _change(change: Callable[[], None], done: str) -> None:
    _try(change, done)


def _try(change: Callable[[], None], done: str) -> bool:
    """Make a change; say what came of it. Returns whether the database took it."""
    try:
        change()
    except TreeringError as error:
        st.toast(f"Not changed: {error}", icon=":material/error:", duration="long")
        return False
    st.toast(done, icon=":material/check:")
    return True
