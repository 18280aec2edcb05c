"""Unusual groups, from the screen in the database to the alert."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingest.alerts.computed import write_computed_metrics
from ingest.alerts.metrics import METRICS
from ingest.errors import DatabaseError
from tests.support.events import condense_all, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.clockwork import Clockwork

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def every(step: timedelta, cost: str, *, days: float, **fields: Any) -> Iterator[dict[str, Any]]:
    """Calls of the same cost, the last one at half past eight."""
    at = NOW - HOUR
    while at > NOW - days * DAY:
        yield usage_event(created_at=at, estimated_cost=cost, **fields)
        at -= step


def ago(minutes: float, cost: str, **fields: Any) -> dict[str, Any]:
    return usage_event(created_at=NOW - timedelta(minutes=minutes), estimated_cost=cost, **fields)


def judge(service: Clockwork, as_of: datetime = NOW) -> dict[str, dict[str, Any]]:
    """The alerts that fire, by the rule's metric and the group."""
    write_computed_metrics(service.database, now=as_of)
    service.evaluate((as_of - NOON).total_seconds())
    return {f"{alert['metric']} {alert['group_key']}".strip(): alert for alert in service.alerts()["firing"]}


def screened(service: Clockwork, rule: dict[str, Any]) -> dict[str, Any]:
    return service.ask("get_outlier_series", rule_id=rule["rule_id"], as_of=NOW.isoformat())


def test_a_newcomer_and_a_jump_are_told_within_the_hour_and_nobody_else(service: Clockwork) -> None:
    rule = service.rule("anomaly", "1", group_by="user_id", window_s=3600)
    for number in range(5):
        store(service.database, *every(DAY, "0.50", days=35, user_id=f"small-{number}"))
    store(service.database, *every(HOUR, "2", days=35, user_id="steady"))
    condense_all(service.database)
    # From 08:50 on 4,500 dollars a day, and from 09:20 on 900.
    newcomer = [ago(minutes, "15.625", user_id="newcomer") for minutes in range(5, 45, 5)]
    jump = [ago(5, "37.50", user_id="small-0")]
    usual = [ago(5, "0.35", user_id="small-1"), ago(5, "2", user_id="steady"), ago(5, "40", user_id="modest newcomer")]
    store(service.database, *newcomer, *jump, *usual)
    found = judge(service)
    assert sorted(found) == ["anomaly newcomer", "anomaly small-0"]
    # 28 of 168 days of users came to 48 dollars, the others to half of one: an alarm begins at twice 48.
    assert float(found["anomaly newcomer"]["value"]) == pytest.approx((125 - 48) / 48, abs=1e-4)
    assert found["anomaly newcomer"]["evidence"]["explanation"] == (
        "2.6 \N{MULTIPLICATION SIGN} what 99 of 100 users come to in a day, expected $0.0 to $48.0"
    )
    # Half a dollar a day: the highest hour was half a dollar, the mean one a 24th of it; an alarm begins at a dollar.
    assert float(found["anomaly small-0"]["value"]) == pytest.approx((37.5 - 0.5 / 24) / (1 - 0.5 / 24), abs=1e-4)
    # Whoever is not above their own mean by a dollar is not even read.
    document = screened(service, rule)
    assert [group["key"] for group in document["groups"]] == ["modest newcomer", "newcomer", "small-0"]
    assert float(document["user_day_bound"]) == 48


def test_an_alert_of_a_user_ends_when_the_hours_are_usual_again(service: Clockwork) -> None:
    service.rule("anomaly", "1", group_by="user_id", window_s=3600)
    store(service.database, *every(DAY, "0.50", days=35, user_id="small"), ago(5, "37.50", user_id="small"))
    assert list(judge(service)) == ["anomaly small"]
    assert judge(service, NOW + 2 * DAY) == {}
    (ended,) = service.alerts()["history"]
    assert ended["resolution"] == "recovered"


def test_a_person_of_many_tags_is_one_person_and_tenants_and_tags_are_groups(service: Clockwork) -> None:
    names = ("user_id", "tenant_id", "tags.plan")
    rules = {name: service.rule("anomaly", "1", name=name, group_by=name, window_s=3600) for name in names}
    of = {plan: {"user_id": "ana", "tenant_id": "acme", "tags": {"plan": plan}} for plan in ("free", "pro")}
    for fields in of.values():
        store(service.database, *every(DAY, "0.50", days=35, **fields))
    store(service.database, *every(DAY, "0.50", days=35, user_id="bo", tenant_id="initech"))
    condense_all(service.database)
    # A dollar less than the least change for each key alone, and 1.30 above the usual together.
    store(service.database, ago(5, "0.70", **of["free"]), ago(5, "0.70", **of["pro"]))
    documents = {name: screened(service, rule) for name, rule in rules.items()}
    # Ana's days are a dollar, though each of her two keys has half of it.
    assert float(documents["user_id"]["user_day_bound"]) == 1
    groups = {name: document["groups"] for name, document in documents.items()}
    assert {name: [group["key"] for group in found] for name, found in groups.items()} == {
        "user_id": ["ana"], "tenant_id": ["acme"], "tags.plan": [],
    }  # fmt: skip
    for name in ("user_id", "tenant_id"):
        (group,) = groups[name]
        assert float(group["hours"][-1]["amount"]) == 1.4
        assert sum(float(hour["amount"]) for hour in group["hours"]) == 35 * 2 * 0.5 + 1.4

    store(service.database, ago(3, "50", **of["pro"]))
    assert sorted(judge(service)) == ["anomaly acme", "anomaly ana", "anomaly pro"]


def test_a_slow_leak_of_a_user_is_told(service: Clockwork) -> None:
    service.rule("anomaly", "1", group_by="user_id", window_s=3600)
    begin = NOW - timedelta(hours=78)  # +100 % in 14 days: a 336th an hour
    calls = list(every(HOUR, "1", days=40, user_id="leaker"))
    for call in calls:
        since = (datetime.fromisoformat(call["created_at"]) - begin) / HOUR
        call["estimated_cost"] = f"{1 + max(since, 0) / 336:.6f}"
    store(service.database, *calls)
    found = judge(service)
    assert list(found) == ["anomaly leaker"]
    assert "the level of the weeks before over 24 hours" in found["anomaly leaker"]["evidence"]["explanation"]


def test_what_is_unusual_but_small_is_not_told_unless_the_rule_says_so(service: Clockwork) -> None:
    service.rule("anomaly", "1", name="default")
    store(service.database, *every(HOUR, "0.01", days=25), ago(5, "0.36"))
    assert judge(service) == {}
    service.rule("anomaly", "1", name="every cent", minimum_change="0.3")
    assert judge(service)["anomaly"]["rule_name"] == "every cent"


def test_fewer_calls_than_usual_are_told_when_the_hour_is_over(service: Clockwork) -> None:
    service.rule("anomaly_requests_below", "1", minimum_change="2", group_by="feature")
    for feature in ("chat", "search"):
        for _ in range(3):
            store(service.database, *every(HOUR, "0.01", days=23, feature=feature))
    fell_silent = datetime(2026, 11, 23, 9, tzinfo=UTC)
    store(service.database, *[ago(20 - number, "0.01", feature="search") for number in range(3)])
    assert judge(service, fell_silent + HOUR - timedelta(minutes=1)) == {}
    found = judge(service, fell_silent + HOUR + timedelta(minutes=5))
    assert list(found) == ["anomaly_requests_below chat"]
    # Three an hour, never more or less: five percent is the least deviation, six of them are 0.9; 3 x 0.9 / 3.9 below.
    assert float(found["anomaly_requests_below chat"]["value"]) == pytest.approx(3 / (3 * 0.9 / 3.9), abs=1e-3)


def test_tokens_calls_errors_and_latency_are_judged_too(service: Clockwork) -> None:
    for metric in ("anomaly_tokens", "anomaly_requests", "anomaly_errors", "anomaly_latency_ms"):
        service.rule(metric, "1")
    for _ in range(20):
        store(service.database, *every(HOUR, "0.01", days=2.5))
    assert judge(service) == {}
    odd = {"prompt_tokens": 15_000, "status": "error", "latency_ms": 9000.0}
    store(service.database, *[ago(5, "0.01", **odd) for _ in range(60)])
    found = judge(service)
    assert sorted(found) == ["anomaly_errors", "anomaly_latency_ms", "anomaly_requests", "anomaly_tokens"]
    assert float(found["anomaly_errors"]["value"]) == 60 / 5
    assert found["anomaly_errors"]["evidence"]["explanation"] == (
        "60.00 instead of 0.00, which has not been before, expected 0.00 to 5.00"
    )


def test_the_least_changes_are_those_of_the_forms(service: Clockwork) -> None:
    known = {metric.name: metric.minimum_change for metric in METRICS.values() if metric.minimum_change}
    found = {name: screened(service, service.rule(name, "1"))["minimum_change"] for name in known}
    assert found == known


def test_only_rules_on_what_is_unusual_have_a_series_and_a_minimum_change(service: Clockwork) -> None:
    rule = service.rule("spend", "1")
    with pytest.raises(DatabaseError, match="on what is unusual"):
        screened(service, rule)
    with pytest.raises(DatabaseError, match="minimum change"):
        service.rule("spend", "2", minimum_change="1")
    for group in ("user_id", "tenant_id", "tags.plan"):
        with pytest.raises(DatabaseError, match="drops are not judged by user"):
            service.rule("anomaly_requests_below", "1", group_by=group, window_s=3600)
