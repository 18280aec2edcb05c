from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ingest.alerts.messages import render_message

BERLIN = ZoneInfo("Europe/Berlin")
ALERT: dict[str, Any] = {
    "alert_id": 1,
    "state": "firing",
    "rule_name": "Spend spike",
    "metric": "spend",
    "severity": "critical",
    "comparator": "above",
    "value": "61.204118",
    "threshold": "50",
    "scope": {"model": ["gpt-4o", "o3"], "feature": ["chat"]},
    "sample_count": 1204,
    "window_start": "2026-11-23T10:01:00+00:00",
    "window_end": "2026-11-23T11:00:20+00:00",
    "started_at": "2026-11-23T11:00:20+00:00",
    "evidence": {},
}


def render(event: str = "firing", *, url: str | None = "https://x.example/obs", **fields: Any) -> Any:
    return render_message({"event": event, "alert": {**ALERT, **fields}}, dashboard_url=url, zone=BERLIN)


def test_a_message_has_value_threshold_scope_and_times_in_the_reporting_zone() -> None:
    message = render()
    assert message.title == "‼ Spend spike"
    assert message.text.splitlines()[:5] == [
        "‼ Spend spike",
        "",
        "Spend: $61.20, above $50.00",
        "Scope: feature chat, model gpt-4o or o3",
        "Severity: critical",
    ]
    assert "Window: 2026-11-23 11:01 to 2026-11-23 12:00 Europe/Berlin" in message.text


def test_the_link_leads_to_the_page_with_the_filters_set() -> None:
    link = render().link
    assert link == (
        "https://x.example/obs/costs?period=custom&from=2026-11-23&to=2026-11-23&zone=reporting"
        "&model=gpt-4o&model=o3&feature=chat"
    )
    assert link in render().text
    assert link.replace("&", "&amp;") in render().html
    assert render(url=None).link is None
    assert "href" not in render(url=None).html


@pytest.mark.parametrize(
    ("metric", "page"),
    [
        ("p99_route_latency_ms", "performance"), ("error_rate", "performance"), ("route_requests", "performance"),
        ("tokens", "usage"), ("estimated_share", "usage"), ("pipeline_lag_s", "alerts"), ("budget_used", "costs"),
    ],
)  # fmt: skip
def test_each_metric_has_its_page(metric: str, page: str) -> None:
    assert f"/obs/{page}?" in render(metric=metric).link


def test_a_group_is_named_and_filtered_by() -> None:
    message = render(group_by="model", group_key="o3", scope={})
    assert message.title == "‼ Spend spike [o3]"
    assert "Scope: model o3" in message.text
    assert message.link.endswith("&model=o3")


@pytest.mark.parametrize(
    ("event", "severity", "title"),
    [
        ("firing", "warning", "! Spend spike"),
        ("escalated", "critical", "‼ Now critical: Spend spike"),
        ("escalated", "warning", "! Escalated: Spend spike"),
        ("reminder", "warning", "! Still firing: Spend spike"),
    ],
)
def test_the_title_says_what_happened(event: str, severity: str, title: str) -> None:
    assert render(event, severity=severity).title == title


@pytest.mark.parametrize(
    ("resolution", "text"),
    [("recovered", "Spend: $12.00"), ("no_data", "no data left to measure"), ("rule_deleted", "Spend: rule deleted")],
)
def test_an_end_says_why_and_what_it_was(resolution: str, text: str) -> None:
    end = {"resolution": resolution, "resolved_value": "12", "resolved_at": "2026-11-23T12:00:00+00:00"}
    message = render("resolved", **end)
    assert message.title == "✓ Resolved: Spend spike"
    assert text in message.text
    assert "When it fired: $61.20, above $50.00" in message.text
    assert "Until: 2026-11-23 13:00" in message.text


def test_evidence_explains_itself() -> None:
    evidence = {"explanation": "4.1 times the usual", "spent": "83", "amount": "100"}
    text = render(evidence=evidence, scope={}).text
    assert "Why: 4.1 times the usual" in text
    assert "Spent: $83.00 of $100.00" in text
    assert "Scope: everything" in text


def test_html_is_escaped() -> None:
    message = render(rule_name="<script>", scope={"feature": ["<b>"]})
    assert "<script>" not in message.html
    assert "<b>" not in message.html


def test_a_test_is_marked() -> None:
    payload: dict[str, Any] = {"event": "test", "channel": "pager", "rule": {"name": "Spend spike"}}
    message = render_message(payload, dashboard_url="https://x.example", zone=BERLIN)
    assert message.title == "[TEST] Treering: Spend spike"
    assert "nothing is wrong" in message.text
    assert message.link == "https://x.example/alerts"
    assert render_message({"event": "test"}, dashboard_url=None, zone=BERLIN).title == "[TEST] Treering"


def test_a_report_comes_written() -> None:
    payload: dict[str, Any] = {"event": "report", "message": {"title": "Week", "text": "t", "html": "<p>h</p>"}}
    message = render_message(payload, dashboard_url="https://x.example", zone=BERLIN)
    assert (message.title, message.text, message.html) == ("Week", "t", "<p>h</p>")


def bundled(count: int = 13, **payload: Any) -> Any:
    worst = [{"group_key": f"user-{number}", "value": str(100 - number)} for number in range(min(count, 10))]
    more = {"count": count - 10, "smallest": "2.1", "largest": "5"} if count > 10 else None
    bundle: dict[str, Any] = {"key": "k", "count": count, "firing": count, "alerts": worst, "more": more}
    alert = {**ALERT, "group_by": "user_id", "group_key": "user-0", "scope": {}}
    return render_message(
        {"event": "firing", "alert": alert, "bundle": bundle, **payload},
        dashboard_url="https://x.example/obs",
        zone=BERLIN,
    )


def test_groups_that_fire_together_are_one_message_the_worst_first_the_others_by_their_range() -> None:
    message = bundled()
    assert message.title == "‼ Spend spike: 13 users"
    lines = message.text.splitlines()
    assert lines[2:5] == ["Spend: above $50.00", "user-0: $100.00", "user-1: $99.00"]
    assert "and: 3 more, from $2.10 to $5.00" in lines
    assert message.link == "https://x.example/obs/alerts"


def test_what_exceeds_the_limit_of_the_rule_is_told() -> None:
    text = bundled(over_limit={"count": 37, "smallest": "2.1", "largest": "5"}).text
    assert "Not told one by one: 37 more in breach, from $2.10 to $5.00" in text


def test_links_and_the_runbook_stand_below_the_facts() -> None:
    message = render_message(
        {
            "event": "firing",
            "alert": ALERT,
            "rule": {"runbook_url": "https://wiki.example.com/x", "description": "Ask."},
        },
        dashboard_url="https://x.example/obs",
        zone=BERLIN,
        links={"acknowledge": "a.1", "silence": "b.1"},
    )
    assert message.actions == (
        ("Acknowledge", "https://x.example/obs/alerts?act=a.1"),
        ("Silence for a day", "https://x.example/obs/alerts?act=b.1"),
        ("Runbook", "https://wiki.example.com/x"),
    )
    assert "About this rule: Ask." in message.text
    assert message.text.splitlines()[-1] == "Runbook: https://wiki.example.com/x"


def test_an_escalation_says_why_it_comes() -> None:
    message = render_message(
        {"event": "firing", "alert": ALERT, "unacknowledged_s": 600}, dashboard_url=None, zone=BERLIN
    )
    assert "Why you: nobody acknowledged it within 10 min." in message.text


def test_a_reminder_has_the_newest_value() -> None:
    text = render("reminder", latest_value="75").text
    assert "Spend: $75.00, above $50.00\nWhen it fired: $61.20\n" in text


def test_a_digest_tells_ten_and_counts_the_rest() -> None:
    entries: list[Any] = [{"event": "firing", "rule_name": f"rule {n}", "group_key": ""} for n in range(10)]
    message = render_message({"event": "digest", "count": 13, "entries": entries}, dashboard_url=None, zone=BERLIN)
    assert message.title == "! 13 messages in one"
    assert "Fired: rule 9\nand: 3 more\n" in message.text
