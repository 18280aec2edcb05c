from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.db.alerts.clockwork import DAY, NOON, Clockwork, at, call, fire

if TYPE_CHECKING:
    from tests.support.doors import Door


def test_ops_edit_rules_and_channels_through_each_door(door: Door) -> None:
    door.service().call("add_member", user_id="olga", role="ops")
    ops = Clockwork(door.viewer("olga"))
    channel = ops.channel("https://hooks.example.com:8443/secret-path?token=abc")
    assert channel["target_hint"] == "hooks.example.com"
    assert channel["signing_secret"].startswith("whsec_")
    rule = ops.rule("error_rate", "0.05", channels=[channel["channel_id"]], for_s=120, minimum_sample=20)
    assert (rule["threshold"], rule["channels"], rule["created_by"]) == ("0.05", [1], "olga")
    rule = ops.ask("save_alert_rule", rule={"rule_id": 1, "threshold": "0.1", "scope": {"model": []}, "channels": []})
    assert (rule["threshold"], rule["scope"], rule["channels"], rule["for_s"]) == ("0.1", {}, [], 120)
    changed = ops.ask(
        "save_notification_channel", channel={"channel_id": 1, "name": "phone", "target_url": "http://[2606:4700::1]/x"}
    )
    assert (changed["name"], changed["target_hint"]) == ("phone", "[2606:4700::1]")
    assert "signing_secret" not in changed
    settings = ops.ask("get_settings")
    assert settings["access"] == "ops"
    assert [m["user_id"] for m in settings["members"]] == ["olga"]
    assert len(settings["rules"]) == len(settings["channels"]) == 1
    assert not {"secret-path", "whsec_", "abc"} & set(str(settings).split("/"))
    assert "whsec_" not in str(settings)
    assert ops.database.call("delete_notification_channel", channel_id=1) is True
    assert ops.database.call("delete_alert_rule", rule_id=1) is True


def test_an_unchanged_secret_stays_when_the_address_changes(service: Clockwork) -> None:
    fire(service)
    secret = service.claim(10)[0]["signing_secret"]
    service.ask("save_notification_channel", channel={"channel_id": 1, "target_url": "https://other.example.com/"})
    (message,) = service.claim(1000)
    assert (message["target_url"], message["signing_secret"]) == ("https://other.example.com/", secret)
    service.ask("save_notification_channel", channel={"channel_id": 1, "signing_secret": "another secret 123"})
    assert service.claim(2000)[0]["signing_secret"] == "another secret 123"


WRITES: list[tuple[str, dict[str, Any]]] = [
    ("save_alert_rule", {"rule": {"name": "x", "metric": "spend", "threshold": 1, "window_s": 60}}),
    ("save_alert_rule", {"rule": {"rule_id": 1, "threshold": 9}}),
    ("delete_alert_rule", {"rule_id": 1}),
    ("save_notification_channel", {"channel": {"name": "x", "target_url": "https://example.com/"}}),
    ("save_notification_channel", {"channel": {"channel_id": 1, "target_url": "https://example.com/"}}),
    ("delete_notification_channel", {"channel_id": 1}),
]
SERVICE_ONLY: list[tuple[str, dict[str, Any]]] = [
    ("evaluate_alerts", {}),
    ("claim_notifications", {"worker": "w"}),
    ("finish_notification", {"notification_id": 1, "worker": "w", "ok": True}),
]


def test_only_ops_may_change_and_only_the_service_may_send(door: Door) -> None:
    service = Clockwork(door.service())
    fire(service)
    for user_id, role in (("anna", "analyst"), ("olga", "ops")):
        service.database.call("add_member", user_id=user_id, role=role)
    for caller in (door.viewer("anna"), door.viewer("mia"), door.anonymous()):
        for function, arguments in [*WRITES, *SERVICE_ONLY]:
            with pytest.raises(PermissionDeniedError):
                caller.call(function, **arguments)
    for function, arguments in SERVICE_ONLY:
        with pytest.raises(PermissionDeniedError):
            door.viewer("olga").call(function, **arguments)
    assert len(service.alerts()["firing"]) == 1


def test_analysts_see_alerts_and_rules_but_no_channels_and_members_nothing(door: Door) -> None:
    service = Clockwork(door.service())
    fire(service)
    service.database.call("add_member", user_id="anna", role="analyst")
    analyst, member = Clockwork(door.viewer("anna")), Clockwork(door.viewer("mia"))
    seen = analyst.alerts()
    assert (seen["access"], len(seen["firing"]), len(seen["rules"]), len(seen["outbox"])) == ("analyst", 1, 1, 1)
    assert analyst.ask("get_settings") | {"access": "analyst", "members": [], "channels": []} == analyst.ask(
        "get_settings"
    )
    assert len(analyst.ask("get_settings")["rules"]) == 1
    nothing = member.alerts()
    assert nothing["access"] == "member"
    assert [nothing[part] for part in ("firing", "history", "outbox", "rules")] == [[], [], [], []]
    assert member.ask("get_settings") == {"access": "member", "members": [], "rules": [], "channels": []}
    for function, arguments in (("get_alerts", DAY), ("get_settings", {})):
        with pytest.raises(PermissionDeniedError):
            door.anonymous().call(function, **arguments)


def test_no_signed_in_person_can_read_an_address_or_a_secret(direct: Door) -> None:
    service = Clockwork(direct.service())
    fire(service)
    service.database.call("add_member", user_id="olga", role="ops")
    with psycopg.connect(direct.database.superuser_url, autocommit=True) as connection:
        connection.execute(
            'select set_config(\'request.jwt.claims\', \'{"sub": "olga", "role": "authenticated"}\', false)'
        )
        connection.execute("set role authenticated")
        assert connection.execute("select count(*) from observability.notification_channels").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select target_url from observability_internal.channel_secrets")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("update observability.notification_channels set target_hint = 'elsewhere'")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"metric": "tokens"}, "a metric is spend, error_rate, p99_latency_ms or provider_drift"),
        ({"window_s": 90}, "a window is whole minutes"),
        ({"window_s": 60 * 60 * 24 * 32}, "a window is whole minutes"),
        ({"threshold": "-1"}, "a threshold is a number from 0 to a billion"),
        ({"threshold": "NaN"}, "a threshold is a number from 0 to a billion"),
        ({"metric": "error_rate", "threshold": "1.5"}, "an error rate is a fraction"),
        ({"for_s": -1}, "a breach lasts from 0 s to a day"),
        ({"minimum_sample": 0}, "a minimum sample is from 1"),
        ({"severity": "fatal"}, "severity is warning or critical"),
        ({"scope": {"colour": "red"}}, "a scope is an object of dimensions"),
        ({"scope": {"model": 7}}, "a scope is an object of dimensions"),
        ({"scope": {"model": [7]}}, "a scope is an object of dimensions"),
        ({"scope": ["gpt-4o"]}, "a scope is an object of dimensions"),
        ({"name": ""}, "a rule's name has 1 to 120 characters"),
        ({"threshold": None}, "threshold"),
        ({"threshold": "much"}, "invalid input syntax"),
        ({"channels": [99]}, "alert_rule_channels_channel_id_fkey"),
        ({"channels": "pager"}, "channels is a list of channel ids"),
        ({"colour": "red"}, "unknown key colour of a rule"),
        ({"rule_id": 99}, "there is no rule 99"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_the_reason(
    clockwork: Clockwork, rule: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        clockwork.ask(
            "save_alert_rule", rule={"name": "x", "metric": "spend", "threshold": "1", "window_s": 60, **rule}
        )
    assert clockwork.alerts()["rules"] == []


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        ({"target_url": "ftp://example.com/hidden"}, "an address is http"),
        ({"target_url": "https://me:hidden@example.com/"}, "without user and password"),
        ({"target_url": "https://exam ple.com/hidden"}, "an address is http"),
        ({"signing_secret": "hidden"}, "a signing secret 16 to 200 characters"),
        ({"signing_secret": "whsec_hidden-is-not-base64-at-all"}, "a signing secret 16 to 200 characters"),
        ({"target_url": None}, "a channel needs its target_url"),
        ({"kind": "pigeon"}, "a channel is a webhook"),
        ({"colour": "red"}, "unknown key colour of a channel"),
        ({"channel_id": 99}, "there is no channel 99"),
    ],
)
def test_a_channel_that_makes_no_sense_is_refused_without_repeating_its_secrets(
    service: Clockwork, channel: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=reason) as refusal:
        service.ask("save_notification_channel", channel={"name": "x", "target_url": "https://example.com/", **channel})
    assert "hidden" not in str(refusal.value)
    assert service.ask("get_settings")["channels"] == []


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("claim_notifications", {"worker": ""}),
        ("claim_notifications", {"worker": "w", "max_count": 0}),
        ("claim_notifications", {"worker": "w", "lease_s": 0}),
        ("finish_notification", {"notification_id": 99, "worker": "w", "ok": True}),
        ("finish_notification", {"notification_id": 1, "worker": "w", "ok": None}),
        ("save_alert_rule", {"rule": []}),
        ("get_alerts", {"from_time": NOON, "to_time": NOON}),
        ("get_alerts", {**DAY, "filters": {"colour": "red"}}),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused(
    clockwork: Clockwork, function: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError):
        clockwork.database.call(function, **arguments)


def test_the_page_shows_what_has_calls_in_common_with_its_filters(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "0", name="chat", scope={"feature": ["chat", "search"]})
    clockwork.rule("spend", "0", name="everything")
    clockwork.record(call(0, feature="chat"))
    clockwork.evaluate(10)

    def seen(**filters: Any) -> list[str]:
        alerts = clockwork.alerts(**filters)["firing"]
        return sorted(alert["rule_name"] for alert in alerts)

    assert seen() == seen(feature="chat") == seen(model="o3") == ["chat", "everything"]
    assert seen(feature=["images", "audio"]) == ["everything"]


def test_the_history_is_that_of_the_period_and_limited(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "0", window_s=60)
    for minute in (0, 10, 20):
        clockwork.record(call(60 * minute))
        clockwork.evaluate(60 * minute + 10)
        clockwork.evaluate(60 * minute + 300)
    assert len(clockwork.alerts()["history"]) == 3
    assert len(clockwork.alerts(limit=2)["history"]) == 2
    later = clockwork.ask("get_alerts", from_time=at(16 * 60), to_time=at(3600))
    assert [dt.datetime.fromisoformat(alert["started_at"]) for alert in later["history"]] == [at(20 * 60 + 10)]
