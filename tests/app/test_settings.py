"""The Settings page: what ops change, and what everybody else is told."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.documents import AlertRule
from dashboard.incidents import describe_rule, format_figure
from dashboard.settings_forms import to_threshold
from ingest.errors import PermissionDeniedError

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.documents import FakeDatabase

OpenApp = Callable[..., "AppTest"]
NEW_RULE = "settings_rule_new"


def changes(fake: FakeDatabase) -> list[tuple[str, dict[str, Any]]]:
    return [(name, dict(arguments)) for name, arguments in fake.calls if not name.startswith("get_")]


@pytest.mark.parametrize("access", ["member", "analyst"])
def test_everybody_but_ops_is_told_why_there_is_no_editor(open_app: OpenApp, fake: FakeDatabase, access: str) -> None:
    fake.access = access

    app = open_app("settings")

    assert "Settings are for ops" in "".join(element.proto.body for element in app.main.get("html"))
    assert not app.text_input
    assert not app.main.button


def test_a_new_rule_is_saved_as_typed(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")
    app.selectbox(key=f"{NEW_RULE}_metric").set_value("error_rate").run()

    app.text_input(key=f"{NEW_RULE}_name").set_value(" Errors ")
    app.text_input(key=f"{NEW_RULE}_threshold_error_rate").set_value("7.5")
    app.selectbox(key=f"{NEW_RULE}_window").set_value(300)
    app.selectbox(key=f"{NEW_RULE}_severity").set_value("critical")
    app.selectbox(key=f"{NEW_RULE}_for").set_value(60)
    app.number_input(key=f"{NEW_RULE}_sample").set_value(50)
    app.multiselect(key=f"{NEW_RULE}_channels").select(1)
    app.button(key=f"{NEW_RULE}_save").click().run()

    assert not app.exception
    rule = {
        "name": "Errors",
        "metric": "error_rate",
        "window_s": 300,
        "threshold": "0.075",
        "scope": {},
        "for_s": 60,
        "minimum_sample": 50,
        "severity": "critical",
        "channels": [1],
        "is_enabled": True,
    }
    assert changes(fake) == [("save_alert_rule", {"rule": rule})]


@pytest.mark.parametrize(("name", "threshold"), [("", "5"), ("  ", "5"), ("Spend", "much"), ("Spend", "-1")])
def test_a_rule_without_name_or_threshold_is_not_sent(
    open_app: OpenApp, fake: FakeDatabase, name: str, threshold: str
) -> None:
    app = open_app("settings")

    app.text_input(key=f"{NEW_RULE}_name").set_value(name)
    app.text_input(key=f"{NEW_RULE}_threshold_spend").set_value(threshold)
    app.button(key=f"{NEW_RULE}_save").click().run()

    assert app.error[0].value == "Enter a name and a threshold above zero."
    assert changes(fake) == []


def test_a_changed_rule_keeps_its_scope(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")
    assert app.text_input(key="settings_rule_2_threshold_error_rate").value == "5"

    app.toggle(key="settings_rule_2_enabled").set_value(False)
    app.button(key="settings_rule_2_save").click().run()

    (name, arguments) = changes(fake)[0]
    assert name == "save_alert_rule"
    assert arguments["rule"]["rule_id"] == 2
    assert arguments["rule"]["scope"] == {"environment": ["production"]}
    assert arguments["rule"]["threshold"] == "0.05"
    assert arguments["rule"]["is_enabled"] is False


def test_another_metric_offers_its_own_threshold(open_app: OpenApp) -> None:
    app = open_app("settings")

    app.selectbox(key="settings_rule_1_metric").set_value("p99_latency_ms").run()

    assert app.text_input(key="settings_rule_1_threshold_p99_latency_ms").value == "10000"


def test_a_rule_can_be_deleted(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")

    app.button(key="settings_rule_3_delete").click().run()

    assert changes(fake) == [("delete_alert_rule", {"rule_id": 3})]
    assert app.toast[0].value == "Slow answers deleted"


def test_without_rules_the_editor_is_open(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.is_empty = True

    app = open_app("settings")

    assert not app.exception
    assert app.expander[0].proto.expanded


def test_a_channel_is_saved_with_its_address(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")

    app.text_input(key="settings_channel_name").set_value("team")
    app.text_input(key="settings_channel_url").set_value("https://hooks.example.com/T/1")
    app.button(key="settings_channel_save").click().run()

    channel = {"name": "team", "kind": "webhook", "target_url": "https://hooks.example.com/T/1", "is_enabled": True}
    assert changes(fake) == [("save_notification_channel", {"channel": channel})]
    assert not any("hooks.example.com/T/1" in str(field.value) for field in app.text_input)


def test_the_secret_of_a_new_channel_is_shown_once(open_app: OpenApp) -> None:
    app = open_app("settings")
    app.text_input(key="settings_channel_name").set_value("team")
    app.text_input(key="settings_channel_url").set_value("https://hooks.example.com/T/1")

    app.button(key="settings_channel_save").click().run()

    assert app.code[0].value == "whsec_c2lnbmluZy1zZWNyZXQ="
    assert not app.run().code


def test_a_rule_with_a_window_of_its_own_keeps_it(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fake._rule
    monkeypatch.setattr(fake, "_rule", lambda rule_id: whole(rule_id) | {"window_s": 1200, "for_s": 90}, raising=False)
    app = open_app("settings")

    app.button(key="settings_rule_1_save").click().run()

    (_, arguments) = changes(fake)[0]
    assert (arguments["rule"]["window_s"], arguments["rule"]["for_s"]) == (1200, 90)


@pytest.mark.parametrize(("name", "url"), [("", "https://x.example"), ("team", "ftp://x.example"), ("team", "")])
def test_a_channel_needs_a_name_and_a_web_address(open_app: OpenApp, fake: FakeDatabase, name: str, url: str) -> None:
    app = open_app("settings")

    app.text_input(key="settings_channel_name").set_value(name)
    app.text_input(key="settings_channel_url").set_value(url)
    app.button(key="settings_channel_save").click().run()

    assert app.error
    assert changes(fake) == []


def test_a_channel_can_be_removed(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")

    app.button(key="settings_channel_remove_2").click().run()

    assert changes(fake) == [("delete_notification_channel", {"channel_id": 2})]


def test_a_member_is_added_with_a_role(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")

    app.text_input(key="settings_member_user").set_value(" user_new ")
    app.selectbox(key="settings_member_role").set_value("analyst")
    app.button(key="settings_member_save").click().run()

    assert changes(fake) == [("add_member", {"user_id": "user_new", "role": "analyst"})]


def test_a_member_needs_a_user_id(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")

    app.button(key="settings_member_save").click().run()

    assert app.error
    assert changes(fake) == []


def test_others_can_be_removed_but_not_oneself(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")
    assert app.button(key="settings_member_remove_0").disabled

    app.button(key="settings_member_remove_1").click().run()

    assert changes(fake) == [("remove_member", {"user_id": "user_2kf81maria"})]


@pytest.mark.parametrize("form", ["member", "channel", "rule"])
def test_a_change_that_the_database_refuses_is_said(open_app: OpenApp, fake: FakeDatabase, form: str) -> None:
    app = open_app("settings")
    answer = fake._get_settings

    def refuse(**_: object) -> None:
        raise PermissionDeniedError("only ops may do this", sqlstate="42501")

    for name in ("add_member", "save_notification_channel", "save_alert_rule"):
        setattr(fake, f"_{name}", refuse)
    app.text_input(key="settings_member_user").set_value("user_new")
    app.text_input(key="settings_channel_name").set_value("team")
    app.text_input(key="settings_channel_url").set_value("https://x.example")
    app.text_input(key=f"{NEW_RULE}_name").set_value("Spend")
    key = {"member": "settings_member_save", "channel": "settings_channel_save", "rule": f"{NEW_RULE}_save"}[form]

    app.button(key=key).click().run()

    assert answer is not None
    assert [toast.value for toast in app.toast] == ["Not changed: only ops may do this"]


@pytest.mark.parametrize(
    ("metric", "typed", "threshold"),
    [
        ("spend", "1,250.50", "1250.50"),
        ("error_rate", "5", "0.05"),
        ("provider_drift", "2.5", "0.025"),
        ("p99_latency_ms", " 900 ", "900"),
        ("spend", "0", None),
        ("spend", "NaN", None),
        ("spend", "Infinity", None),
        ("spend", "", None),
    ],
)
def test_a_threshold_is_read_in_the_unit_of_its_metric(metric: str, typed: str, threshold: str | None) -> None:
    assert to_threshold(metric, typed) == (None if threshold is None else Decimal(threshold))


def test_the_difference_from_the_bill_is_measured_over_whole_days(open_app: OpenApp) -> None:
    app = open_app("settings")
    app.selectbox(key=f"{NEW_RULE}_metric").set_value("provider_drift").run()
    assert app.selectbox(key=f"{NEW_RULE}_window_172800").options == ["7 days"]
    assert app.text_input(key=f"{NEW_RULE}_threshold_provider_drift").label == "Threshold (%)"
    assert app.number_input(key=f"{NEW_RULE}_sample").label == "At least days"


def test_a_rule_about_the_bill_counts_days() -> None:
    rule = AlertRule(
        rule_id=1, name="x", metric="provider_drift", window_s=604_800, threshold=Decimal("0.05"), minimum_sample=2
    )
    assert describe_rule(rule) == "Difference from the bill over 5.0% in 7 days, at least 2 days"


def test_a_rule_reads_as_a_sentence() -> None:
    rule = AlertRule(
        rule_id=1,
        name="x",
        metric="tokens",
        window_s=120,
        for_s=90,
        threshold=Decimal(1000000),
        scope={"model": ["gpt-4o", "o3"]},
        minimum_sample=1000,
    )

    assert (
        describe_rule(rule) == "tokens over 1,000,000 in 2 minutes for 90 s, model gpt-4o or o3, at least 1,000 calls"
    )
    assert format_figure("spend", None) == "—"
