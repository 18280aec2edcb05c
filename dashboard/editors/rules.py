"""The form of an alert rule in Settings, with a back-test of what is typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from pydantic import ValidationError

from dashboard.editors.rule_behaviour import draw_behaviour, draw_objective, read_behaviour
from dashboard.editors.scope import draw_scope
from dashboard.figures.alert_words import (
    DELAYS,
    GROUPS,
    PERIODS,
    REMINDERS,
    RULE_METRICS,
    WINDOWS,
    group_in_words,
    length_in_words,
    moment_in_words,
    to_threshold,
    to_typed,
)
from dashboard.figures.backtest_chart import backtest_chart
from dashboard.panels.bound import to_name
from dashboard.panels.changes import attempt, draw_delete, explain, start_over
from dashboard.panels.chooser import choose_saved
from dashboard.reads.settings import backtest_rule, delete_alert_rule, reporting_zone, save_alert_rule
from ingest.alerts.metrics import Metric, format_metric, metric_named
from ingest.alerts.on_call import read_labels, write_labels
from ingest.alerts.rules import RuleDraft
from ingest.documents.words import DASH
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer
    from ingest.documents.alerts import AlertRule, Backtest
    from ingest.documents.settings import Configuration

# What a new rule's form offers: an hour, or a week where an hour is too short.
_FIRST_WINDOW_S = 3600
_FIRST_LONG_WINDOW_S = 604_800
_NO_DATA = {"keep": "Keep an open alert open", "ok": "Treat as OK", "firing": "Fire"}


def draw_backtest(draft: RuleDraft, result: Backtest) -> None:
    """Say when a rule would have fired."""
    metric = draft.metric
    zone = ZoneInfo(reporting_zone())
    days = (result.to_time - result.from_time).days
    if not result.firing_count:
        st.success(f"The rule would not have fired in the last {days} days.", icon=":material/check:")
    else:
        times = "once" if result.firing_count == 1 else f"{result.firing_count:,} times"
        st.warning(
            f"The rule would have fired {times} in the last {days} days, {length_in_words(result.firing_s)} in total.",
            icon=":material/history:",
        )
    if result.series:
        st.altair_chart(
            backtest_chart(metric, result.series, draft.threshold, draft.critical_threshold),
            key="settings_backtest_chart",
            alt=f"{metric_named(metric).label} over the last {days} days with the threshold",
        )
    if result.firings:
        st.dataframe(
            pd.DataFrame(
                {
                    "Started": [moment_in_words(one.started_at, zone) for one in result.firings],
                    "Lasted": [
                        length_in_words((one.resolved_at - one.started_at).total_seconds()) if one.resolved_at else DASH
                        for one in result.firings
                    ],
                    "Group": [one.group_key or DASH for one in result.firings],
                    "Value": [format_metric(metric, one.value) for one in result.firings],
                    "Severity": [one.severity for one in result.firings],
                }
            ),
            hide_index=True,
            height=min(35 * (len(result.firings) + 1) + 3, 250),
        )


def draw_rule_form(
    viewer: Viewer, configuration: Configuration, rule: AlertRule | None, preset: AlertRule | None = None
) -> None:
    """Draw the form of a rule, or of a new one.

    Args:
        viewer: Who edits it.
        configuration: What is stored.
        rule: The rule; None for a new one.
        preset: What a new one begins with.
    """
    key = f"settings_rule_{rule.rule_id if rule else 'new'}"
    if preset:
        key += f"_{to_name(preset.name)}"
    begun = rule or preset
    metrics = list(RULE_METRICS)
    metric = st.selectbox(
        "Metric",
        metrics,
        index=metrics.index(begun.metric) if begun and begun.metric in metrics else 0,
        format_func=lambda name: metric_named(name).label,
        key=f"{key}_metric",
    )
    of = metric_named(metric).of
    with st.form(f"{key}_form", border=False):
        typed = _draw_main_fields(key, configuration, begun, metric)
        typed["scope"] = {}
        if of.scope:
            with st.expander(f"Filter {'routes' if of.counted == 'requests' else 'calls'}", key=f"{key}_scope_box"):
                typed["scope"] = draw_scope(key, begun.scope if begun else {}, configuration.dimensions, of.scope)
        with st.expander("More", key=f"{key}_more"):
            typed |= _draw_more_fields(key, begun, metric)
            typed |= _draw_minimum_change(key, begun, metric)
        with st.container(horizontal=True):
            is_saved = st.form_submit_button("Save", type="primary", key=f"{key}_save")
            is_tested = st.form_submit_button(
                "Back-test", key=f"{key}_backtest", help="Shows when the rule would have fired in the last 30 days."
            )
    if (is_saved or is_tested) and (draft := _read_draft(metric, typed)):
        document = draft.model_dump(mode="json")
        if is_tested:
            _draw_test(viewer, draft, document)
        else:
            _save(viewer, rule, document, key)
    if rule:
        number = rule.rule_id
        draw_delete("rule", rule.name, f"{key}_delete", lambda: delete_alert_rule(viewer, number))


def _draw_main_fields(key: str, configuration: Configuration, rule: AlertRule | None, metric: str) -> dict[str, Any]:
    name = st.text_input("Name", rule.name if rule else "", key=f"{key}_name", max_chars=100)
    typed = _draw_condition(key, rule, metric_named(metric)) | _draw_consequence(key, configuration, rule, metric)
    is_enabled = st.toggle("Enabled", value=rule.is_enabled if rule else True, key=f"{key}_enabled")
    return typed | {"name": (name or "").strip(), "is_enabled": is_enabled}


def _draw_condition(key: str, rule: AlertRule | None, metric: Metric) -> dict[str, Any]:
    shortest = metric.of.shortest_window_s
    current = rule.window_s if rule else _FIRST_WINDOW_S if shortest <= _FIRST_WINDOW_S else _FIRST_LONG_WINDOW_S
    longest = metric.of.longest_window_s
    windows: list[int | str] = [seconds for seconds in sorted({*WINDOWS, current}) if shortest <= seconds <= longest]
    if metric.of.has_periods:
        windows += PERIODS
    chosen: int | str = (rule.period or current) if rule else current
    is_same = rule is not None and rule.metric == metric.name
    # A row each, so that on a phone what belongs together stays together.
    left, right = st.columns(2, gap="small")
    comparator = left.selectbox(
        "Fires when",
        ["above", "below"],
        index=1 if rule and rule.comparator == "below" else 0,
        format_func=str.capitalize,
        key=f"{key}_comparator",
    )
    threshold = right.text_input(
        f"Threshold ({metric.unit.typed})" if metric.unit.typed else "Threshold",
        to_typed(metric.name, rule.threshold) if rule and is_same else metric.default,
        key=f"{key}_threshold_{metric.name}",
    )
    left, right = st.columns(2, gap="small")
    window = left.selectbox(
        "Window",
        windows,
        index=windows.index(chosen) if chosen in windows else 0,
        format_func=lambda choice: length_in_words(choice) if isinstance(choice, int) else PERIODS[choice].capitalize(),
        key=f"{key}_window_{shortest}",
    )
    critical = right.text_input(
        "Critical threshold",
        to_typed(metric.name, rule.critical_threshold) if rule and is_same else "",
        key=f"{key}_critical_{metric.name}",
        placeholder="None",
    )
    objective = draw_objective(key, rule if is_same else None, metric.name)
    return {
        "comparator": comparator,
        "threshold": threshold,
        "window": window,
        "critical_threshold": critical,
    } | objective


def _draw_consequence(key: str, configuration: Configuration, rule: AlertRule | None, metric: str) -> dict[str, Any]:
    delays = sorted({*DELAYS, rule.for_s if rule else 0})
    of = metric_named(metric).of
    groups = [name for name in GROUPS if not name or name in of.groups]
    if "tenant_id" in of.groups:
        tags = {*configuration.dimensions, rule.group_by or "" if rule else ""}
        groups += sorted(name for name in tags if name.startswith("tags."))
    channels = {channel.channel_id: channel.name for channel in configuration.channels}
    left, right = st.columns(2, gap="small")
    group = left.selectbox(
        "Groups",
        groups,
        index=groups.index(rule.group_by) if rule and rule.group_by in groups else 0,
        format_func=group_in_words,
        key=f"{key}_group_{metric}",
    )
    severity = right.selectbox(
        "Severity",
        ["warning", "critical"],
        index=1 if rule and rule.severity == "critical" else 0,
        format_func=str.capitalize,
        key=f"{key}_severity",
    )
    left, right = st.columns(2, gap="small")
    delay = left.selectbox(
        "Fire after",
        delays,
        index=delays.index(rule.for_s if rule else 0),
        format_func=lambda seconds: length_in_words(seconds) if seconds else "Immediately",
        key=f"{key}_for",
        help="How long the value must stay beyond the threshold.",
    )
    chosen = right.multiselect(
        "Channels",
        list(channels),
        default=[number for number in (rule.channels if rule else ()) if number in channels],
        format_func=lambda number: channels[number],
        key=f"{key}_channels",
        placeholder="None (shown in the app only)",
    )
    return {"group_by": group or None, "severity": severity, "for_s": delay, "channels": list(chosen)}


def _draw_more_fields(key: str, rule: AlertRule | None, metric: str) -> dict[str, Any]:
    reminders = sorted({*REMINDERS, (rule.renotify_s or 0) if rule else 0})
    left, right = st.columns(2, gap="small")
    resolve = left.text_input(
        "Resolve threshold",
        to_typed(metric, rule.resolve_threshold) if rule and rule.metric == metric else "",
        key=f"{key}_resolve_{metric}",
        placeholder="Same as threshold",
        help="On the safe side of the threshold. It keeps an alert near the threshold from flapping.",
    )
    sample = right.number_input(
        f"Minimum {metric_named(metric).of.counted or 'sample'}",
        min_value=0,
        value=rule.minimum_sample if rule and rule.metric == metric else metric_named(metric).default_sample,
        key=f"{key}_sample_{metric_named(metric).default_sample}",
        help="The rule does not fire on fewer than these.",
    )
    left, right = st.columns(2, gap="small")
    no_data = left.selectbox(
        "When there is no data",
        list(_NO_DATA),
        index=list(_NO_DATA).index(rule.no_data) if rule else 0,
        format_func=lambda choice: _NO_DATA[choice],
        key=f"{key}_no_data",
    )
    reminder = right.selectbox(
        "Remind after",
        reminders,
        index=reminders.index((rule.renotify_s or 0) if rule else 0),
        format_func=lambda seconds: length_in_words(seconds) if seconds else "Never",
        key=f"{key}_renotify",
    )
    limit = left.number_input("Maximum groups at once", 1, 500, rule.group_limit if rule else 50, key=f"{key}_limit")
    labels = right.text_input(
        "Labels",
        write_labels(rule.labels) if rule else "",
        key=f"{key}_labels",
        placeholder="team=chat, tier=1",
        help="What routes and mute times go by.",
    )
    runbook = st.text_input(
        "Runbook", (rule.runbook_url or "") if rule else "", key=f"{key}_runbook", placeholder="https://…"
    )
    description = st.text_area(
        "Description", (rule.description or "") if rule else "", key=f"{key}_description", max_chars=2000, height=80
    )
    return draw_behaviour(key, rule, metric) | {
        "resolve_threshold": resolve,
        "minimum_sample": int(sample),
        "no_data": no_data,
        "renotify_s": reminder or None,
        "group_limit": int(limit),
        "labels": (labels or "").strip(),
        "runbook_url": (runbook or "").strip() or None,
        "description": (description or "").strip() or None,
        "timezone": rule.timezone if rule else reporting_zone(),
    }


def _draw_minimum_change(key: str, rule: AlertRule | None, metric: str) -> dict[str, Any]:
    default = metric_named(metric).minimum_change
    if not default:
        return {}
    known = rule.minimum_change if rule and rule.metric == metric else None
    change = st.text_input(
        "Minimum change",
        "" if known is None else f"{known:f}",
        key=f"{key}_change_{metric}",
        placeholder=default,
        help="How far from the usual something must be before the rule fires.",
    )
    return {"minimum_change": (change or "").strip() or None}


def _read_draft(metric: str, typed: dict[str, Any]) -> RuleDraft | None:
    window = typed.pop("window")
    lengths = {"day": 86_400, "week": 604_800, "month": 2_678_400}
    typed |= {
        "metric": metric,
        "window_s": lengths.get(window, window),
        "period": window if window in lengths else None,
    }
    for name in ("threshold", "critical_threshold", "resolve_threshold"):
        text = (typed[name] or "").strip()
        typed[name] = to_threshold(metric, text)
        if typed[name] is None and (text or name == "threshold"):
            st.error(f"The {name.replace('_', ' ')} must be a number of 0 or more.")
            return None
    if not typed["name"]:
        st.error("Enter a name.")
        return None
    try:
        return RuleDraft.model_validate({**read_behaviour(typed), "labels": read_labels(typed["labels"])})
    except ValidationError as error:
        st.error(explain(error))
    except ValueError as error:
        st.error(f"{str(error)[0].upper()}{str(error)[1:]}.")
    return None


def _save(viewer: Viewer, rule: AlertRule | None, document: dict[str, Any], key: str) -> None:
    if rule:
        document["rule_id"] = rule.rule_id
    if attempt(lambda: save_alert_rule(viewer, document), f"{document['name']} saved"):
        choose_saved("rule", document["name"])
        start_over(*([] if rule else [f"{key}_name"]))


def _draw_test(viewer: Viewer, draft: RuleDraft, document: dict[str, Any]) -> None:
    try:
        with st.spinner("Back-testing the last 30 days …"):
            result = backtest_rule(viewer, document)
    except TreeringError as error:
        st.error(f"The back-test failed: {error}")
        return
    draw_backtest(draft, result)
