from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.support.clockwork import BOX, DAY, NOON, Clockwork, at, call, fire, opened

if TYPE_CHECKING:
    from tests.support.doors import Door


def test_ops_edit_rules_and_channels_through_each_door(door: Door) -> None:
    door.service().call("add_member", user_id="olga", role="ops")
    ops = Clockwork(door.viewer("olga"))
    channel = ops.channel("https://hooks.example.com:8443/secret-path?token=abc", max_per_minute=10)
    assert (channel["target_hint"], channel["max_per_minute"]) == ("hooks.example.com", 10)
    rule = ops.rule("error_rate", "0.05", channels=[channel["channel_id"]], for_s=120, minimum_sample=20)
    assert (rule["threshold"], rule["channels"], rule["created_by"]) == ("0.05", [1], "olga")
    rule = ops.ask("save_alert_rule", rule={"rule_id": 1, "threshold": "0.1", "scope": {"model": []}, "channels": []})
    assert (rule["threshold"], rule["scope"], rule["channels"], rule["for_s"]) == ("0.1", {}, [], 120)
    changed = ops.channel("http://[2606:4700::1]/x", channel_id=1, name="phone")
    assert (changed["name"], changed["target_hint"]) == ("phone", "2606:4700::1")
    settings = ops.ask("get_settings")
    assert settings["access"] == "ops"
    assert [m["user_id"] for m in settings["members"]] == ["olga"]
    assert len(settings["rules"]) == len(settings["channels"]) == 1
    assert not {"secret-path", "whsec_", "sealed"} & set(str(settings).replace("'", "/").split("/"))
    assert ops.database.call("delete_notification_channel", channel_id=1) is True
    assert ops.database.call("delete_alert_rule", rule_id=1) is True


def test_the_address_stays_when_the_channel_is_renamed_or_switched_off(service: Clockwork) -> None:
    fire(service)
    service.ask("save_notification_channel", channel={"channel_id": 1, "name": "phone", "is_enabled": False})
    service.ask("save_notification_channel", channel={"channel_id": 1, "is_enabled": True})
    assert opened(service.claim(10)[0])["target_url"] == "https://hooks.example.com/x"
    service.channel("https://other.example.com/", channel_id=1)
    assert opened(service.claim(1000)[0])["target_url"] == "https://other.example.com/"


def test_an_address_in_the_clear_is_refused_without_supabase_vault(service: Clockwork) -> None:
    with pytest.raises(InvalidArgumentError, match="set TREERING_SECRET_KEY") as refusal:
        service.ask("save_notification_channel", channel={"name": "x", "target_url": "https://example.com/hidden"})
    assert "hidden" not in str(refusal.value)
    assert service.ask("get_settings")["channels"] == []


def test_supabase_vault_keeps_addresses_where_it_is_present(direct: Door) -> None:
    direct.database.execute(VAULT)
    service = Clockwork(direct.service())
    channel = service.ask("save_notification_channel", channel={"name": "x", "target_url": "https://example.com/one"})
    assert (channel["target_hint"], channel["signing_secret"][:6]) == ("example.com", "whsec_")
    service.ask("save_notification_channel", channel={"channel_id": 1, "target_url": "https://example.com/two"})
    assert service.ask("get_settings")["has_vault"]
    service.rule("spend", "0", channels=[1])
    service.record(call(0))
    service.evaluate(10)
    (message,) = service.claim(10)
    assert (message["target_url"], message["sealed"]) == ("https://example.com/two", None)
    assert message["signing_secret"] == channel["signing_secret"]
    with psycopg.connect(direct.database.superuser_url) as connection:
        assert connection.execute("select count(*) from vault.secrets").fetchone() == (1,)


# The part of Supabase Vault that is used; the real one encrypts.
VAULT = """
create schema vault;
create table vault.secrets (id uuid primary key default gen_random_uuid(), secret text, name text unique);
create view vault.decrypted_secrets as select id, secret as decrypted_secret from vault.secrets;
create function vault.create_secret(
  new_secret text, new_name text, new_description text default '', new_key_id uuid default null
) returns uuid language sql as 'insert into vault.secrets (secret, name) values ($1, $2) returning id';
"""

WRITES: list[tuple[str, dict[str, Any]]] = [
    ("save_alert_rule", {"rule": {"name": "x", "metric": "spend", "threshold": 1, "window_s": 60}}),
    ("save_alert_rule", {"rule": {"rule_id": 1, "threshold": 9}}),
    ("delete_alert_rule", {"rule_id": 1}),
    ("save_notification_channel", {"channel": {"name": "x", "target_url": "https://example.com/"}}),
    ("save_notification_channel", {"channel": {"channel_id": 1, "target_url": "https://example.com/"}}),
    ("delete_notification_channel", {"channel_id": 1}),
    ("save_budget", {"budget": {"name": "x", "amount": 1}}),
    ("delete_budget", {"budget_id": 1}),
    ("acknowledge_alert", {"alert_id": 1}),
    ("silence_alerts", {"rule_id": 1, "ends_at": "2100-01-01T00:00:00Z"}),
    ("end_silence", {"silence_id": 1}),
    ("resend_notification", {"notification_id": 1}),
    ("send_test_notification", {"channel_id": 1}),
    ("backtest_rule", {"rule": {"name": "x", "metric": "spend", "threshold": 1, "window_s": 60}}),
]
SERVICE_ONLY: list[tuple[str, dict[str, Any]]] = [
    ("evaluate_alerts", {}),
    ("claim_notifications", {"worker": "w"}),
    ("finish_notification", {"notification_id": 1, "worker": "w", "ok": True}),
    ("get_computed_rules", {}),
    ("record_metric_values", {"rule_id": 1, "figures": []}),
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
    seen = member.ask("get_settings")
    assert {name: seen[name] for name in ("access", "members", "rules", "channels", "budgets", "dimensions")} == {
        "access": "member", "members": [], "rules": [], "channels": [], "budgets": [], "dimensions": {}
    }  # fmt: skip
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
        assert connection.execute("select count(*) from observability_internal.notification_channels").fetchone() == (
            1,
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select target_url from observability_internal.channel_secrets")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("update observability_internal.notification_channels set target_hint = 'elsewhere'")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"metric": "luck"}, "a metric is one that Treering measures"),
        ({"window_s": 90}, "a window is whole minutes"),
        ({"window_s": 60 * 60 * 24 * 32}, "a window is whole minutes"),
        ({"threshold": "-1"}, "a threshold is a number from 0 to a quadrillion"),
        ({"threshold": "NaN"}, "a threshold is a number from 0 to a quadrillion"),
        ({"metric": "error_rate", "threshold": "1.5"}, "a rate or share is a fraction"),
        ({"for_s": -1}, "a breach lasts from 0 s to a day"),
        ({"minimum_sample": -1}, "a minimum sample is from 0"),
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
        ({"critical_threshold": "1"}, "a critical threshold lies beyond the threshold"),
        ({"comparator": "below", "critical_threshold": "2"}, "a critical threshold lies beyond the threshold"),
        ({"resolve_threshold": "2"}, "a resolve threshold lies on the safe side"),
        ({"comparator": "equal"}, "a rule compares above or below"),
        ({"no_data": "panic"}, "without data a rule is ok"),
        ({"no_data": "firing", "group_by": "model"}, "a rule by group does not fire on missing data"),
        ({"renotify_s": 5}, "a reminder comes after a minute"),
        ({"period": "year", "window_s": 60}, "a calendar window is a day"),
        ({"period": "day", "comparator": "below"}, "a calendar window has no lower limit"),
        ({"timezone": "Mars/Olympus"}, "known time zone"),
        ({"group_by": "colour"}, "groups are by user"),
        ({"group_by": "route"}, "routes are grouped"),
        ({"metric": "p99_route_latency_ms", "group_by": "model"}, "routes are grouped"),
        ({"metric": "p99_route_latency_ms", "scope": {"model": "o3"}}, "routes have the scope"),
        ({"scope": {"route": "/chat"}}, "routes have the scope"),
        ({"metric": "pipeline_lag_s", "scope": {"model": "o3"}}, "routes have the scope"),
        ({"group_by": "user_id", "window_s": 300}, "users, tenants and tags are counted by quarters of an hour"),
        ({"scope": {"user_id": "a"}, "window_s": 300}, "users, tenants and tags are counted by quarters of an hour"),
        ({"metric": "budget_used"}, "a budget's metric has a budget"),
        ({"group_limit": 0}, "one to 500 groups"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_the_reason(
    shared_clockwork: Clockwork, rule: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        shared_clockwork.ask(
            "save_alert_rule", rule={"name": "x", "metric": "spend", "threshold": "1", "window_s": 60, **rule}
        )
    assert shared_clockwork.alerts()["rules"] == []


SEALED = BOX.seal({"target_url": "https://example.com/hidden", "signing_secret": "s" * 16})


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        ({"sealed": None}, "a channel needs its target"),
        ({"sealed": "hidden"}, "a sealed target comes alone"),
        ({"target_url": "https://example.com/hidden"}, "a sealed target comes alone"),
        ({"target_hint": None}, "a sealed target comes alone"),
        ({"kind": "pigeon"}, "a channel is a webhook or an apprise address"),
        ({"max_per_minute": 0}, "a channel takes 1 to 6000 messages a minute"),
        ({"colour": "red"}, "unknown key colour of a channel"),
        ({"channel_id": 99}, "there is no channel 99"),
    ],
)
def test_a_channel_that_makes_no_sense_is_refused_without_repeating_its_secrets(
    shared_service: Clockwork, channel: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=reason) as refusal:
        shared_service.ask(
            "save_notification_channel",
            channel={"name": "x", "sealed": SEALED, "target_hint": "example.com", **channel},
        )
    assert "hidden" not in str(refusal.value)
    assert shared_service.ask("get_settings")["channels"] == []


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
    shared_clockwork: Clockwork, function: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError):
        shared_clockwork.database.call(function, **arguments)


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
