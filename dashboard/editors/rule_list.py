"""The alert rules in Settings: the list, the editor of one, and the presets that a new one can start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.editors.alerts_file import draw_alerts_file
from dashboard.editors.rules import draw_rule_form
from dashboard.figures.alert_words import describe_rule
from dashboard.panels.cards import draw_title
from dashboard.panels.changes import change
from dashboard.panels.chooser import Entry, draw_chooser, open_list
from dashboard.reads.settings import reporting_zone, save_alert_rule
from ingest.alerts.rules import preset_rules
from ingest.documents.alerts import AlertRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.reads.viewer import Viewer
    from ingest.alerts.rules import RuleDraft
    from ingest.documents.settings import Configuration

_ALERTS: Final = Path(__file__).parents[1] / "app_pages" / "alerts.py"


def draw_rules(viewer: Viewer, configuration: Configuration) -> None:
    """Draw the alert rules beside the editor of the one that is chosen, or of a new one with the presets first."""
    rules = {rule.rule_id: rule for rule in configuration.rules if not rule.is_managed}
    left, right = open_list("rule")
    with left:
        entries = [Entry(number, rule.name, describe_rule(rule), rule_badges(rule)) for number, rule in rules.items()]
        number = draw_chooser("rule", entries, "New rule")
        draw_alerts_file(viewer, configuration)
    rule = rules.get(number) if number is not None else None
    with right:
        if rule is None:
            draw_title("New rule")
            draw_rule_form(viewer, configuration, None, _draw_presets(viewer, configuration))
            return
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            draw_title(rule.name)
            st.page_link(_ALERTS, label="Its alerts", icon=":material/notifications:", query_params={"rule": rule.name})
        if rule.last_error:
            st.error(f"Could not be evaluated: {rule.last_error}", icon=":material/report:")
        draw_rule_form(viewer, configuration, rule)


def rule_badges(rule: AlertRule) -> tuple[tuple[str, str], ...]:
    """Return what stands beside a rule's name, as colours and words."""
    badges = []
    if rule.last_error:
        badges.append(("red", "Failing"))
    elif rule.state in ("firing", "pending"):
        badges.append(("red" if rule.state == "firing" else "orange", rule.state.capitalize()))
    if not rule.is_enabled:
        badges.append(("gray", "Off"))
    elif not rule.channels:
        badges.append(("gray", "No channel"))
    if rule.severity == "critical":
        badges.append(("red", "Critical"))
    return tuple(badges)


def _draw_presets(viewer: Viewer, configuration: Configuration) -> AlertRule | None:
    """Draw the presets that are not among the rules yet; return the one that the form is to begin with."""
    channels = [channel.channel_id for channel in configuration.channels if channel.is_enabled]
    taken = {rule.name for rule in configuration.rules}
    offered = {draft.name: draft for draft in preset_rules(reporting_zone(), channels) if draft.name not in taken}
    if not offered:
        return None
    chosen = st.pills("Start from a preset", list(offered), key="settings_rule_preset")
    several = "1 preset" if len(offered) == 1 else f"all {len(offered)} presets"
    st.button(
        f"Add {several} as they are",
        key="settings_rules_presets",
        type="tertiary",
        icon=":material/playlist_add:",
        on_click=change,
        args=(lambda: _add(viewer, list(offered.values())), f"{len(offered)} rules added"),
    )
    return AlertRule.model_validate({"rule_id": 0, **offered[chosen].model_dump()}) if chosen else None


def _add(viewer: Viewer, drafts: Sequence[RuleDraft]) -> None:
    for draft in drafts:
        save_alert_rule(viewer, draft.model_dump(mode="json"))
