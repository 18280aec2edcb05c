"""The Settings page: what ops change, and what everybody else is told."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from dashboard.figures.alert_words import describe_rule, format_figure, to_threshold
from ingest.alerts.sealing import SecretBox, make_key
from ingest.documents.alerts import AlertRule
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

    assert "Settings require the role ops" in "".join(element.proto.body for element in app.main.get("html"))
    assert not app.text_input
    assert not app.main.button


def test_a_new_rule_is_saved_as_typed(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")
    app.selectbox(key=f"{NEW_RULE}_metric").set_value("error_rate").run()

    app.text_input(key=f"{NEW_RULE}_name").set_value(" Errors ")
    app.text_input(key=f"{NEW_RULE}_threshold_error_rate").set_value("7.5")
    app.selectbox(key=f"{NEW_RULE}_window_60").set_value(300)
    app.selectbox(key=f"{NEW_RULE}_severity").set_value("critical")
    app.selectbox(key=f"{NEW_RULE}_for").set_value(60)
    app.number_input(key=f"{NEW_RULE}_sample").set_value(50)
    app.multiselect(key=f"{NEW_RULE}_channels").select(1)
    app.button(key=f"{NEW_RULE}_save").click().run()

    assert not app.exception
    (name, arguments) = changes(fake)[0]
    assert (name, len(changes(fake))) == ("save_alert_rule", 1)
    assert (
        arguments["rule"]
        | {
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
        == arguments["rule"]
    )


@pytest.mark.parametrize(("name", "threshold"), [("", "5"), ("  ", "5"), ("Spend", "much"), ("Spend", "-1")])
def test_a_rule_without_name_or_threshold_is_not_sent(
    open_app: OpenApp, fake: FakeDatabase, name: str, threshold: str
) -> None:
    app = open_app("settings")

    app.text_input(key=f"{NEW_RULE}_name").set_value(name)
    app.text_input(key=f"{NEW_RULE}_threshold_spend").set_value(threshold)
    app.button(key=f"{NEW_RULE}_save").click().run()

    assert app.error[0].value in ("Enter a name.", "The threshold must be a number of 0 or more.")
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
    assert app.toast[0].value == "Slow responses deleted"


def test_without_rules_the_editor_is_open(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.is_empty = True

    app = open_app("settings")

    assert not app.exception
    assert app.expander[0].proto.expanded


def test_the_address_of_a_channel_leaves_the_app_sealed(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key()
    monkeypatch.setenv("TREERING_SECRET_KEY", key)
    app = open_app("settings")

    app.text_input(key="settings_channel_name").set_value("team")
    app.text_input(key="settings_channel_url").set_value("https://hooks.example.com/T/1")
    app.button(key="settings_channel_save").click().run()

    (_, arguments) = changes(fake)[0]
    sealed = arguments["channel"].pop("sealed")
    assert arguments["channel"] == {
        "name": "team", "max_per_minute": 60, "is_enabled": True, "kind": "webhook", "target_hint": "hooks.example.com"
    }  # fmt: skip
    opened = SecretBox(SecretStr(key)).open(sealed)
    assert opened is not None
    assert opened["target_url"] == "https://hooks.example.com/T/1"
    assert not any("hooks.example.com/T/1" in str(field.value) for field in app.text_input)
    # The secret that checks signatures is shown this once.
    assert app.code[0].value == opened["signing_secret"]
    assert not app.run().code


def test_without_a_key_the_database_decides_whether_it_keeps_the_address(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")
    app.text_input(key="settings_channel_name").set_value("team")
    app.text_input(key="settings_channel_url").set_value("https://hooks.example.com/T/1")

    app.button(key="settings_channel_save").click().run()

    assert changes(fake)[0][1]["channel"]["target_url"] == "https://hooks.example.com/T/1"


def test_a_channel_is_changed_without_its_address(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")
    app.text_input(key="settings_channel_2_name").set_value("older")
    app.toggle(key="settings_channel_2_enabled").set_value(True)

    app.button(key="settings_channel_2_save").click().run()

    channel = {"channel_id": 2, "name": "older", "max_per_minute": 60, "is_enabled": True}
    assert changes(fake) == [("save_notification_channel", {"channel": channel})]


def test_a_channel_can_be_tried(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")
    assert app.button(key="settings_channel_test_2").disabled

    app.button(key="settings_channel_test_1").click().run()

    assert changes(fake) == [("send_test_notification", {"channel_id": 1})]


def test_the_database_s_answer_to_a_back_test_is_drawn_and_nothing_saved(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")
    app.text_input(key=f"{NEW_RULE}_name").set_value("Spend")

    app.button(key=f"{NEW_RULE}_backtest").click().run()

    assert not app.exception
    assert [name for name, _ in changes(fake)] == ["backtest_rule"]
    assert changes(fake)[0][1]["days"] == 30
    assert app.warning[0].value == "The rule would have fired once in the last 30 days, 50 minutes in total."


def test_a_back_test_of_a_quiet_rule_says_so(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.is_empty = True
    app = open_app("settings")
    app.text_input(key=f"{NEW_RULE}_name").set_value("Spend")

    app.button(key=f"{NEW_RULE}_backtest").click().run()

    assert app.success[0].value == "The rule would not have fired in the last 30 days."


def test_a_back_test_that_is_refused_says_why(open_app: OpenApp, fake: FakeDatabase) -> None:
    def refuse(**_: object) -> None:
        raise PermissionDeniedError("the metric keeps no history", sqlstate="22023")

    fake._backtest_rule = refuse  # type: ignore[assignment, method-assign]
    app = open_app("settings")
    app.text_input(key=f"{NEW_RULE}_name").set_value("Spend")

    app.button(key=f"{NEW_RULE}_backtest").click().run()

    assert app.error[0].value == "The back-test failed: the metric keeps no history"


def test_everything_a_rule_can_say_is_sent(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")
    app.text_input(key=f"{NEW_RULE}_name").set_value("Spend by model")
    app.text_input(key=f"{NEW_RULE}_critical_spend").set_value("80")
    app.selectbox(key=f"{NEW_RULE}_window_60").set_value("day")
    app.selectbox(key=f"{NEW_RULE}_group_spend").set_value("model")
    app.multiselect(key=f"{NEW_RULE}_scope_feature").set_value(["chat"])
    app.text_input(key=f"{NEW_RULE}_resolve_spend").set_value("40")
    app.selectbox(key=f"{NEW_RULE}_no_data").set_value("keep")
    app.selectbox(key=f"{NEW_RULE}_renotify").set_value(3600)
    app.number_input(key=f"{NEW_RULE}_limit").set_value(10)

    app.button(key=f"{NEW_RULE}_save").click().run()

    rule = changes(fake)[0][1]["rule"]
    assert rule | {
        "threshold": "50", "critical_threshold": "80", "resolve_threshold": "40", "period": "day", "window_s": 86_400,
        "group_by": "model", "group_limit": 10, "scope": {"feature": ["chat"]}, "no_data": "keep", "renotify_s": 3600,
    } == rule  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("critical_spend", "1", "A critical threshold lies beyond the threshold."),
        ("resolve_spend", "99", "A resolve threshold lies on the safe side of the threshold."),
        ("critical_spend", "much", "The critical threshold must be a number of 0 or more."),
    ],
)
def test_a_rule_that_makes_no_sense_is_explained_and_not_sent(
    open_app: OpenApp, fake: FakeDatabase, field: str, value: str, reason: str
) -> None:
    app = open_app("settings")
    app.text_input(key=f"{NEW_RULE}_name").set_value("Spend")
    app.text_input(key=f"{NEW_RULE}_{field}").set_value(value)

    app.button(key=f"{NEW_RULE}_save").click().run()

    assert (app.error[0].value, changes(fake)) == (reason, [])


def test_ready_made_rules_are_added_with_the_channels_that_work(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")

    app.button(key="settings_rules_ready_made").click().run()

    added = [arguments["rule"] for name, arguments in changes(fake) if name == "save_alert_rule"]
    assert len(added) == 7  # the fake has one of the same name already
    assert {tuple(rule["channels"]) for rule in added} == {(1,)}


def test_a_budget_is_saved_with_its_steps(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")
    app.text_input(key="settings_budget_new_name").set_value("Chat")
    app.text_input(key="settings_budget_new_amount").set_value("1,250")
    app.selectbox(key="settings_budget_new_period").set_value("week")
    app.toggle(key="settings_budget_new_forecast").set_value(False)
    app.multiselect(key="settings_budget_new_scope_feature").set_value(["chat"])

    app.button(key="settings_budget_new_save").click().run()

    budget = {
        "name": "Chat", "amount": "1250", "period": "week", "timezone": "UTC", "scope": {"feature": ["chat"]},
        "steps": ["0.5", "0.8", "0.9", "1"], "forecast_step": None, "channels": [], "is_enabled": True,
    }  # fmt: skip
    assert changes(fake) == [("save_budget", {"budget": budget})]


def test_a_budget_is_changed_and_deleted(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings")
    app.text_input(key="settings_budget_1_amount").set_value("2000")
    app.button(key="settings_budget_1_save").click().run()
    app.button(key="settings_budget_1_delete").click().run()

    (_, saved), (_, deleted) = changes(fake)
    assert (saved["budget"]["budget_id"], saved["budget"]["amount"]) == (1, "2000")
    assert saved["budget"]["scope"] == {"environment": ["production"]}
    assert deleted == {"budget_id": 1}


@pytest.mark.parametrize(("name", "amount"), [("", "5"), ("Chat", "much"), ("Chat", "0")])
def test_a_budget_without_name_or_amount_is_not_sent(
    open_app: OpenApp, fake: FakeDatabase, name: str, amount: str
) -> None:
    app = open_app("settings")
    app.text_input(key="settings_budget_new_name").set_value(name)
    app.text_input(key="settings_budget_new_amount").set_value(amount)

    app.button(key="settings_budget_new_save").click().run()

    assert app.error
    assert changes(fake) == []


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
        ("spend", "0", "0"),
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
    assert app.selectbox(key=f"{NEW_RULE}_window_172800").options == ["2 days", "7 days", "31 days"]
    assert app.selectbox(key=f"{NEW_RULE}_window_172800").value == 604_800
    assert app.text_input(key=f"{NEW_RULE}_threshold_provider_drift").label == "Threshold (%)"
    assert app.number_input(key=f"{NEW_RULE}_sample").label == "Minimum days"


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
        describe_rule(rule) == "Tokens over 1,000,000 in 2 minutes for 90 s, model gpt-4o or o3, at least 1,000 calls"
    )
    assert format_figure("spend", None) == "—"
