"""What people read when an alert comes: a title, facts, links, and from them plain text and HTML.

Services that have fields, colours or buttons of their own are given the parts (`ingest.alerts.services`), everything
else the text or the HTML.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast
from urllib.parse import urlencode

from ingest.alerts.message_facts import alert_facts, bundle_of, group_noun, one_line
from ingest.alerts.metrics import metric_named
from ingest.documents.alerts import Alert

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from pydantic import JsonValue

    from ingest.alerts.message_facts import Bundle, Fact

_TITLES: Final = {
    "firing": "",
    "escalated": "Now critical: ",
    "reminder": "Still firing: ",
    "acknowledged": "Acknowledged: ",
    "resolved": "Resolved: ",
}
# What the dashboard takes from an address.
_LINKED: Final = ("model", "feature", "provider", "environment", "tenant_id")
_ACTIONS: Final = {"acknowledge": "Acknowledge", "silence": "Silence for a day"}

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message for people.

    Attributes:
        title: One line.
        text: The whole in plain text, links included.
        html: The same in HTML.
        link: Address of the page with the filters set; None where the dashboard's address is not known.
        event: What happened, as in the outbox.
        severity: `critical` or `warning` of an alert, `info` of everything else.
        key: The same in all messages about one alert, or about groups that fired together; None for other messages.
        is_over: Whether everything that the key stands for has ended.
        facts: Name and text of each fact, in order; each is one line.
        actions: Label and address of each further link: acknowledge, silence, runbook.
        actor: Who acknowledged.
    """

    title: str
    text: str
    html: str
    link: str | None = None
    event: str = "test"
    severity: Severity = "info"
    key: str | None = None
    is_over: bool = False
    facts: tuple[Fact, ...] = ()
    actions: tuple[tuple[str, str], ...] = ()
    actor: str | None = None

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """The dashboard's link, where there is one, and the actions."""
        return (*((("Open the dashboard", self.link),) if self.link else ()), *self.actions)


def render_message(
    payload: Mapping[str, JsonValue],
    *,
    dashboard_url: str | None,
    zone: ZoneInfo,
    links: Mapping[str, str] | None = None,
) -> Message:
    """Write a message of the outbox for people.

    Args:
        payload: The message as the database wrote it, schema `treering.alert/1`.
        dashboard_url: Address of the dashboard, for the links.
        zone: Zone in which times are written.
        links: Signed keys of what a click does, by action.
    """
    event = str(payload.get("event"))
    if event == "test":
        return _render_test(payload, dashboard_url)
    if event == "digest":
        return _render_digest(payload, dashboard_url)
    ready = payload.get("message")
    if isinstance(ready, dict):  # a report comes written
        return Message(str(ready["title"]), str(ready["text"]), str(ready["html"]), dashboard_url, event=event)
    alert = Alert.model_validate(payload["alert"])
    bundle = bundle_of(payload, alert)
    facts = alert_facts(payload, alert, bundle, event, zone)
    rule = payload.get("rule")
    runbook = rule.get("runbook_url") if isinstance(rule, dict) else None
    actions = [
        (_ACTIONS[action], f"{dashboard_url}/alerts?{urlencode({'act': key})}")
        for action, key in (links or {}).items()
        if dashboard_url and action in _ACTIONS
    ]
    if runbook:
        actions.append(("Runbook", str(runbook)))
    return _compose(
        Message(
            _title(alert, bundle, event),
            "",
            "",
            _link(alert, bundle, dashboard_url),
            event=event,
            severity=cast("Severity", alert.severity),
            key=bundle.key,
            is_over=event == "resolved" and bundle.firing == 0,
            facts=tuple(facts),
            actions=tuple(actions),
            actor=alert.acknowledged_by,
        )
    )


def _title(alert: Alert, bundle: Bundle, event: str) -> str:
    sign = "✓" if event == "resolved" else "‼" if alert.severity == "critical" else "!"
    word = "Escalated: " if event == "escalated" and alert.severity != "critical" else _TITLES.get(event, "")
    about = f": {bundle.count} {group_noun(alert, bundle.count)}" if bundle.count > 1 else ""
    if not about and alert.group_key:
        about = f" [{one_line(alert.group_key)}]"
    late = " (late)" if alert.is_late and event in ("firing", "resolved") else ""
    return f"{sign} {word}{one_line(alert.rule_name)}{about}{late}"


def _render_test(payload: Mapping[str, JsonValue], dashboard_url: str | None) -> Message:
    rule = payload.get("rule")
    facts = [("This is a test", "nothing is wrong; somebody is checking that messages arrive.")]
    facts.append(("Channel", one_line(payload.get("channel", ""))))
    title = "[TEST] Treering"
    if isinstance(rule, dict):
        facts.append(("Rule", one_line(rule["name"])))
        title += f": {one_line(rule['name'])}"
    link = f"{dashboard_url}/alerts" if dashboard_url else None
    return _compose(Message(title, "", "", link, facts=tuple(facts)))


def _render_digest(payload: Mapping[str, JsonValue], dashboard_url: str | None) -> Message:
    entries = cast("list[dict[str, JsonValue]]", payload.get("entries") or [])
    count = int(str(payload.get("count") or len(entries)))
    facts = [
        (
            {"firing": "Fired", "resolved": "Resolved", "reminder": "Still firing"}.get(
                str(entry["event"]), "Escalated"
            ),
            one_line(entry["rule_name"]) + (f" [{one_line(entry['group_key'])}]" if entry.get("group_key") else ""),
        )
        for entry in entries
    ]
    if count > len(entries):
        facts.append(("and", f"{count - len(entries)} more"))
    facts.append(("Why one message", "the channel has reached its limit of messages an hour."))
    link = f"{dashboard_url}/alerts" if dashboard_url else None
    message = Message(
        f"! {count} messages in one", "", "", link, event="digest", severity="warning", facts=tuple(facts)
    )
    return _compose(message)


def _compose(message: Message) -> Message:
    lines = [message.title, "", *(f"{name}: {fact}" for name, fact in message.facts)]
    if message.link:
        lines += ["", message.link]
    if message.actions:
        lines += ["", *(f"{label}: {address}" for label, address in message.actions)]
    rows = "".join(
        '<tr><td style="padding:2px 12px 2px 0;color:#666;vertical-align:top">'
        f"{html.escape(name)}</td><td>{html.escape(fact)}</td></tr>"
        for name, fact in message.facts
    )
    anchors = " · ".join(
        f'<a href="{html.escape(address)}">{html.escape(label)}</a>' for label, address in message.links
    )
    page = f"<h3>{html.escape(message.title)}</h3><table>{rows}</table>" + (f"<p>{anchors}</p>" if anchors else "")
    return Message(
        message.title,
        "\n".join(lines),
        page,
        message.link,
        event=message.event,
        severity=message.severity,
        key=message.key,
        is_over=message.is_over,
        facts=message.facts,
        actions=message.actions,
        actor=message.actor,
    )


def _link(alert: Alert, bundle: Bundle, dashboard_url: str | None) -> str | None:
    if dashboard_url is None:
        return None
    if bundle.count > 1:  # all of them, and the page of one figure cannot show that
        return f"{dashboard_url}/alerts"
    names = {key: values for key, values in alert.scope.items() if key in _LINKED}
    if alert.group_by in _LINKED:
        names[alert.group_by] = [alert.group_key]
    query: list[tuple[str, str]] = []
    if alert.window_start is not None and alert.window_end is not None:
        last = max(alert.window_end, alert.window_start)
        days = (("from", alert.window_start), ("to", last))
        query = [("period", "custom"), *((name, day.date().isoformat()) for name, day in days), ("zone", "reporting")]
    query += [(key, value) for key, values in names.items() for value in values]
    return f"{dashboard_url}/{metric_named(alert.metric).page}?{urlencode(query)}"
