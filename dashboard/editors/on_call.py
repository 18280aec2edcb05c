"""The editor of routes and mute times in Settings."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import streamlit as st
from pydantic import BaseModel, ValidationError

from dashboard.editors.scope import draw_scope
from dashboard.figures.alert_words import describe_scope, length_in_words, moment_in_words
from dashboard.panels.bound import draw_choice
from dashboard.panels.cards import draw_title
from dashboard.panels.changes import attempt, draw_delete, explain, start_over
from dashboard.panels.chooser import Entry, choose_saved, draw_chooser, open_list
from dashboard.reads.settings import (
    delete_alert_mute,
    delete_alert_route,
    reporting_zone,
    save_alert_mute,
    save_alert_route,
)
from ingest.alerts.metrics import CALL_SCOPE, ROUTE_SCOPE
from ingest.alerts.on_call import WEEKDAYS, MuteDraft, RouteDraft, read_labels, write_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.reads.viewer import Viewer
    from ingest.documents.settings import Configuration, Mute, Route

_DELAYS: Final = (0, 300, 600, 900, 1800, 3600, 14_400)
_KINDS: Final = ("Routes", "Mute times")
_OFF: Final = ("gray", "Off")
_SEVERITIES: Final = {"": "Any severity", "warning": "Warning", "critical": "Critical"}


def draw_on_call(viewer: Viewer, configuration: Configuration) -> None:
    """Draw the routes, or the mute times, beside the editor of the one that is chosen, or of a new one."""
    left, right = open_list("on_call")
    with left:
        kind = draw_choice("Routes or mute times", _KINDS, name="list", key="settings_on_call_kind")
        if kind == _KINDS[0]:
            route = _choose_route(configuration)
        else:
            mute = _choose_mute(configuration)
    with right:
        if kind == _KINDS[0]:
            draw_title(route.name if route else "New route", "Sends alerts to channels besides those of their rules.")
            _draw_route_form(viewer, configuration, route)
        else:
            draw_title(
                mute.name if mute else "New mute time", "When rules send nothing; what still fires then is sent."
            )
            _draw_mute_form(viewer, configuration, mute)


def _choose_route(configuration: Configuration) -> Route | None:
    routes = {route.route_id: route for route in configuration.routes}
    entries = [
        Entry(number, route.name, _describe_route(route, configuration), () if route.is_enabled else (_OFF,))
        for number, route in routes.items()
    ]
    number = draw_chooser("route", entries, "New route")
    return routes.get(number) if number is not None else None


def _choose_mute(configuration: Configuration) -> Mute | None:
    mutes = {mute.mute_id: mute for mute in configuration.mutes}
    entries = [
        Entry(
            number,
            mute.name,
            _describe_mute(mute, configuration),
            (("blue", "Silent now"),) if mute.is_active else () if mute.is_enabled else (_OFF,),
        )
        for number, mute in mutes.items()
    ]
    number = draw_chooser("mute", entries, "New mute time")
    return mutes.get(number) if number is not None else None


def _describe_route(route: Route, configuration: Configuration) -> str:
    names = {channel.channel_id: channel.name for channel in configuration.channels}
    what = f"{route.severity.capitalize()} alerts" if route.severity else "All alerts"
    labels = f" of rules with {write_labels(route.labels)}" if route.labels else ""
    late = f", when not acknowledged within {length_in_words(route.after_s)}" if route.after_s else ""
    to = ", ".join(names.get(number, "a deleted channel") for number in route.channels)
    return f"{what}{labels}{describe_scope(route.scope)} to {to}{late}"


def _describe_mute(mute: Mute, configuration: Configuration) -> str:
    names = {rule.rule_id: rule.name for rule in configuration.rules}
    what = ", ".join(names[number] for number in mute.rules if number in names) or "All rules"
    if mute.labels:
        what += f" with {write_labels(mute.labels)}"
    parts = []
    if mute.weekdays and mute.from_time and mute.to_time:
        days = ", ".join(WEEKDAYS[day - 1] for day in mute.weekdays)
        parts.append(f"{days}, {mute.from_time:%H:%M} to {mute.to_time:%H:%M} {mute.timezone}")
    if mute.starts_at and mute.ends_at:
        zone = ZoneInfo(mute.timezone)
        parts.append(f"{moment_in_words(mute.starts_at, zone)} to {moment_in_words(mute.ends_at, zone)}")
    return f"{what}: {'; '.join(parts)}"


def _draw_route_form(viewer: Viewer, configuration: Configuration, route: Route | None) -> None:
    key = f"settings_route_{route.route_id if route else 'new'}"
    channels = {channel.channel_id: channel.name for channel in configuration.channels}
    delays = sorted({*_DELAYS, route.after_s if route else 0})
    with st.form(f"{key}_form", border=False):
        name = st.text_input("Name", route.name if route else "", key=f"{key}_name", max_chars=120)
        severity = st.selectbox(
            "Severity",
            list(_SEVERITIES),
            index=list(_SEVERITIES).index(route.severity or "") if route else 0,
            format_func=lambda choice: _SEVERITIES[choice],
            key=f"{key}_severity",
        )
        labels = _draw_labels(key, route.labels if route else {})
        with st.expander("Group or scope", key=f"{key}_scope_box"):
            scope = draw_scope(key, route.scope if route else {}, configuration.dimensions, CALL_SCOPE | ROUTE_SCOPE)
        chosen = st.multiselect(
            "Channels",
            list(channels),
            default=[number for number in (route.channels if route else ()) if number in channels],
            format_func=lambda number: channels[number],
            key=f"{key}_channels",
        )
        after = st.selectbox(
            "Send",
            delays,
            index=delays.index(route.after_s if route else 0),
            format_func=lambda s: f"When not acknowledged within {length_in_words(s)}" if s else "At once",
            key=f"{key}_after",
        )
        is_enabled = st.toggle("Enabled", value=route.is_enabled if route else True, key=f"{key}_enabled")
        is_saved = st.form_submit_button("Save", type="primary", key=f"{key}_save")
    if is_saved:
        typed = {
            "name": name.strip(), "severity": severity or None, "labels": labels, "scope": scope, "after_s": after,
            "channels": list(chosen), "is_enabled": is_enabled,
        }  # fmt: skip
        number = {"route_id": route.route_id} if route else {}
        _save(key, RouteDraft, typed, number, lambda document: save_alert_route(viewer, document))
    if route:
        draw_delete("route", route.name, f"{key}_delete", lambda: delete_alert_route(viewer, route.route_id))


def _draw_mute_form(viewer: Viewer, configuration: Configuration, mute: Mute | None) -> None:
    key = f"settings_mute_{mute.mute_id if mute else 'new'}"
    rules = {rule.rule_id: rule.name for rule in configuration.rules}
    zone = mute.timezone if mute else reporting_zone()
    with st.form(f"{key}_form", border=False):
        name = st.text_input("Name", mute.name if mute else "", key=f"{key}_name", max_chars=120)
        chosen = st.multiselect(
            "Rules",
            list(rules),
            default=[number for number in (mute.rules if mute else ()) if number in rules],
            format_func=lambda number: rules[number],
            key=f"{key}_rules",
            placeholder="All rules",
        )
        labels = _draw_labels(key, mute.labels if mute else {})
        times = _draw_times(key, mute, zone)
        is_enabled = st.toggle("Enabled", value=mute.is_enabled if mute else True, key=f"{key}_enabled")
        is_saved = st.form_submit_button("Save", type="primary", key=f"{key}_save")
    if is_saved:
        typed = {"name": name.strip(), "rules": list(chosen), "labels": labels, "is_enabled": is_enabled, **times}
        number = {"mute_id": mute.mute_id} if mute else {}
        _save(key, MuteDraft, typed, number, lambda document: save_alert_mute(viewer, document))
    if mute:
        draw_delete("mute", mute.name, f"{key}_delete", lambda: delete_alert_mute(viewer, mute.mute_id))


def _draw_times(key: str, mute: Mute | None, zone: str) -> dict[str, Any]:
    local = datetime.now(ZoneInfo(zone)).replace(minute=0, second=0, microsecond=0)
    weekdays = st.pills(
        "Weekdays",
        list(range(1, 8)),
        selection_mode="multi",
        default=list(mute.weekdays or ()) if mute else [],
        format_func=lambda day: WEEKDAYS[day - 1][:3],
        key=f"{key}_weekdays",
        help="The days on which the hours begin. None chosen: the window below.",
    )
    left, right = st.columns(2, gap="small")
    from_time = left.time_input("From", (mute and mute.from_time) or time(22), key=f"{key}_from")
    to_time = right.time_input("To", (mute and mute.to_time) or time(6), key=f"{key}_to")
    bounds = (mute.starts_at, mute.ends_at) if mute else (None, None)
    starts, ends = (moment.astimezone(ZoneInfo(zone)) if moment else None for moment in bounds)
    starts_at = left.datetime_input("Window from", starts or local, key=f"{key}_starts")
    ends_at = right.datetime_input("Window to", ends or local + timedelta(hours=2), key=f"{key}_ends")
    window = {
        name: moment.replace(tzinfo=ZoneInfo(zone)) if isinstance(moment, datetime) else None
        for name, moment in (("starts_at", starts_at), ("ends_at", ends_at))
    }
    if not weekdays:
        return {**window, "timezone": zone}
    # Hours within a window are written as code only; here they keep theirs.
    kept = window if mute and mute.weekdays and starts else {}
    return {"weekdays": sorted(weekdays), "from_time": from_time, "to_time": to_time, "timezone": zone, **kept}


def _draw_labels(key: str, labels: dict[str, str]) -> str:
    return st.text_input(
        "Labels of the rule", write_labels(labels), key=f"{key}_labels", placeholder="team=chat, tier=1"
    )


def _save(
    key: str,
    form: type[BaseModel],
    typed: dict[str, Any],
    number: dict[str, int],
    save: Callable[[dict[str, Any]], None],
) -> None:
    try:
        draft = form.model_validate({**typed, "labels": read_labels(typed["labels"])})
    except ValidationError as error:
        st.error(explain(error))
        return
    except ValueError as error:
        st.error(f"{str(error)[0].upper()}{str(error)[1:]}.")
        return
    document = draft.model_dump(mode="json") | number
    if attempt(lambda: save(document), f"{typed['name']} saved"):
        choose_saved("route" if form is RouteDraft else "mute", typed["name"])
        start_over(*([] if number else [f"{key}_name"]))
