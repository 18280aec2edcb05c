"""PagerDuty, Opsgenie and Splunk On-Call: services that keep an incident open until they are told its end.

All of them tie messages together by a key of ours. Groups of a rule that fired together share one key, and so one
incident: it ends with the last of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from ingest.alerts.services.call import Call, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from ingest.alerts.messages import Message

_PAGERDUTY: Final = {
    "us": "https://events.pagerduty.com/v2/enqueue",
    "eu": "https://events.eu.pagerduty.com/v2/enqueue",
}
_OPSGENIE: Final = {"us": "https://api.opsgenie.com/v2/alerts", "eu": "https://api.eu.opsgenie.com/v2/alerts"}
_SPLUNK: Final = "https://alert.victorops.com/integrations/generic/20131114/alert"

_PRIORITIES: Final = {"critical": "P1", "warning": "P3", "info": "P5"}
_STATES: Final = {"critical": "CRITICAL", "warning": "WARNING", "info": "INFO"}


def write_pagerduty(service: Any, message: Message) -> Sequence[Call]:
    """Write an event of the Events API v2: trigger, acknowledge or resolve, by `dedup_key`.

    Fields: https://developer.pagerduty.com/docs/events-api-v2-overview
    """
    action = "resolve" if message.is_over else "acknowledge" if message.event == "acknowledged" else "trigger"
    details: dict[str, JsonValue] = dict(message.facts)
    links: list[JsonValue] = [{"href": address, "text": label} for label, address in message.links]
    payload: dict[str, JsonValue] = {
        "summary": shorten(message.title, 1024),
        "source": service.source or "treering",
        "severity": message.severity,
        "custom_details": details,
    }
    named = {"component": service.component, "group": service.group, "class": service.class_id}
    payload |= {name: value for name, value in named.items() if value}
    document: dict[str, JsonValue] = {
        "routing_key": service.integration_key,
        "event_action": action,
        "dedup_key": message.key or message.title,
        "payload": payload,
        "client": "Treering",
        "links": links,
    }
    if message.link:
        document["client_url"] = message.link
    return (Call(_PAGERDUTY[service.region_name], document),)


def write_opsgenie(service: Any, message: Message) -> Sequence[Call]:
    """Write what the Alert API takes: create, priority, acknowledge, close, by `alias`.

    Creating an alert whose alias is open counts it up but leaves its priority: escalating is a request of its own.
    Fields: https://docs.opsgenie.com/docs/alert-api
    """
    base = _OPSGENIE[service.region_name]
    headers = {"Authorization": f"GenieKey {service.apikey}"}
    alias = shorten(message.key or message.title, 512)
    named = f"{base}/{quote(alias, safe='')}"
    note: dict[str, JsonValue] = {"source": "Treering", "note": shorten(message.text, 25_000)}
    if message.is_over:
        return (Call(f"{named}/close?identifierType=alias", note, headers=headers),)
    if message.event == "acknowledged":
        return (Call(f"{named}/acknowledge?identifierType=alias", note, headers=headers),)
    priority = _PRIORITIES[message.severity]
    details: dict[str, JsonValue] = dict(message.facts)
    document: dict[str, JsonValue] = {
        "message": shorten(message.title, 130),
        "alias": alias,
        "description": shorten(message.text, 15_000),
        "details": details,
        "tags": ["treering", message.severity],
        "source": "Treering",
        "priority": priority,
    }
    if service.targets:
        document["responders"] = [{str(name): str(value) for name, value in one.items()} for one in service.targets]
    if service.entity:
        document["entity"] = service.entity
    calls = [Call(base, document, headers=headers)]
    if message.event == "escalated":
        raised: dict[str, JsonValue] = {"priority": priority}
        url = f"{named}/priority?identifierType=alias"
        calls.append(Call(url, raised, method="PUT", headers=headers, is_optional=True, follows=True))
    return calls


def write_splunk(service: Any, message: Message) -> Sequence[Call]:
    """Write an alert of the REST endpoint: its state is in `message_type`, its key in `entity_id`.

    Fields: https://help.victorops.com/knowledge-base/rest-endpoint-integration-guide/
    """
    kind = _STATES[message.severity]
    if message.is_over:
        kind = "RECOVERY"
    elif message.event == "acknowledged":
        kind = "ACKNOWLEDGEMENT"
    document: dict[str, JsonValue] = {
        "message_type": kind,
        "entity_id": message.key or message.title,
        "entity_display_name": message.title,
        "state_message": message.text,
        "monitoring_tool": "Treering",
    }
    if message.event == "acknowledged" and message.actor:
        document["ack_author"] = message.actor
    if message.link:
        document["alert_url"] = message.link
    url = f"{_SPLUNK}/{quote(service.apikey, safe='')}/{quote(service.routing_key, safe='')}"
    return (Call(url, document),)
