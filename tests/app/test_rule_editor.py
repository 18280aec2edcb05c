"""The editor of alert rules in Settings, with its back-test."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.figures.alert_words import describe_rule, to_threshold
from ingest.alerts.rules import preset_rules
from ingest.documents.alerts import AlertRule
from ingest.errors import PermissionDeniedError
from tests.app.choosing import choose, open_editor

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]
NEW_RULE = "settings_rule_new"


def changes(fake: FakeDatabase) -> list[tuple[str, dict[str, Any]]]:
    return [(name, dict(arguments)) for name, arguments in fake.calls if not name.startswith(("get_", "find_"))]


def test_a_new_rule_is_saved_as_typed(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "rule")
    app.selectbox(key=f"{NEW_RULE}_metric").set_value("error_rate").run()

    app.text_input(key=f"{NEW_RULE}_name").set_value(" Errors ")
    app.text_input(key=f"{NEW_RULE}_threshold_error_rate").set_value("7.5")
    app.selectbox(key=f"{NEW_RULE}_window_60").set_value(300)
    app.selectbox(key=f"{NEW_RULE}_severity").set_value("critical")
    app.selectbox(key=f"{NEW_RULE}_for").set_value(60)
    assert app.number_input(key=f"{NEW_RULE}_sample_20").value == 20
    app.number_input(key=f"{NEW_RULE}_sample_20").set_value(50)
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


def test_a_rule_on_what_is_unusual_has_a_minimum_change(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "rule")
    app.selectbox(key=f"{NEW_RULE}_metric").set_value("anomaly_tokens").run()
    app.text_input(key=f"{NEW_RULE}_name").set_value("Tokens")
    change = app.text_input(key=f"{NEW_RULE}_change_anomaly_tokens")
    assert (change.value, change.placeholder) == ("", "10000")
    change.set_value("2500")
    app.button(key=f"{NEW_RULE}_save").click().run()
    (name, arguments) = changes(fake)[0]
    assert (name, arguments["rule"]["minimum_change"]) == ("save_alert_rule", "2500")


@pytest.mark.parametrize(("name", "threshold"), [("", "5"), ("  ", "5"), ("Spend", "much"), ("Spend", "-1")])
def test_a_rule_without_name_or_threshold_is_not_sent(
    open_app: OpenApp, fake: FakeDatabase, name: str, threshold: str
) -> None:
    app = open_editor(open_app, "rule")

    app.text_input(key=f"{NEW_RULE}_name").set_value(name)
    app.text_input(key=f"{NEW_RULE}_threshold_spend").set_value(threshold)
    app.button(key=f"{NEW_RULE}_save").click().run()

    assert app.error[0].value in ("Enter a name.", "The threshold must be a number of 0 or more.")
    assert changes(fake) == []


def test_a_changed_rule_keeps_its_scope(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "rule", 2)
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
    app = open_editor(open_app, "rule", 1)

    app.selectbox(key="settings_rule_1_metric").set_value("p99_latency_ms").run()

    assert app.text_input(key="settings_rule_1_threshold_p99_latency_ms").value == "10000"


def test_a_rule_can_be_deleted(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "rule", 3)

    app.button(key="settings_rule_3_delete").click().run()

    assert changes(fake) == [("delete_alert_rule", {"rule_id": 3})]
    assert app.toast[0].value == "Slow responses deleted"


def test_without_rules_the_form_of_a_new_one_is_open(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.is_empty = True

    app = open_app("settings")

    assert not app.exception
    assert app.text_input(key=f"{NEW_RULE}_name").value == ""


def test_a_new_rule_starts_from_a_preset(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "rule")
    preset = next(draft for draft in preset_rules() if draft.name == "High error rate")
    app.pills(key="settings_rule_preset").set_value("High error rate").run()
    app.button(key=f"{NEW_RULE}_high-error-rate_save").click().run()

    ((name, arguments),) = changes(fake)
    assert name == "save_alert_rule"
    assert arguments["rule"] == preset.model_dump(mode="json") | {"channels": [1]}


def test_a_rule_that_was_saved_is_the_one_that_is_shown(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "rule", 3)
    choose(app, "rule", None)
    app.text_input(key=f"{NEW_RULE}_name").set_value("Error burst")
    app.button(key=f"{NEW_RULE}_save").click().run()
    assert [name for name, _ in changes(fake)] == ["save_alert_rule"]
    assert app.radio(key="settings_rule_chosen").value == 2


def test_the_database_s_answer_to_a_back_test_is_drawn_and_nothing_saved(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "rule")
    app.text_input(key=f"{NEW_RULE}_name").set_value("Spend")

    app.button(key=f"{NEW_RULE}_backtest").click().run()

    assert not app.exception
    assert [name for name, _ in changes(fake)] == ["backtest_rule"]
    assert changes(fake)[0][1]["days"] == 30
    assert app.warning[0].value == "The rule would have fired once in the last 30 days, 50 minutes in total."


def test_a_back_test_of_a_quiet_rule_says_so(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.is_empty = True
    app = open_editor(open_app, "rule")
    app.text_input(key=f"{NEW_RULE}_name").set_value("Spend")

    app.button(key=f"{NEW_RULE}_backtest").click().run()

    assert app.success[0].value == "The rule would not have fired in the last 30 days."


def test_a_back_test_that_is_refused_says_why(open_app: OpenApp, fake: FakeDatabase) -> None:
    def refuse(**_: object) -> None:
        raise PermissionDeniedError("the metric keeps no history", sqlstate="22023")

    fake._backtest_rule = refuse  # type: ignore[assignment, method-assign]
    app = open_editor(open_app, "rule")
    app.text_input(key=f"{NEW_RULE}_name").set_value("Spend")

    app.button(key=f"{NEW_RULE}_backtest").click().run()

    assert app.error[0].value == "The back-test failed: the metric keeps no history"


def test_everything_a_rule_can_say_is_sent(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "rule")
    app.text_input(key=f"{NEW_RULE}_name").set_value("Spend by model")
    app.text_input(key=f"{NEW_RULE}_critical_spend").set_value("80")
    app.selectbox(key=f"{NEW_RULE}_window_60").set_value("day")
    app.selectbox(key=f"{NEW_RULE}_group_spend").set_value("model")
    app.multiselect(key=f"{NEW_RULE}_scope_feature").set_value(["chat"])
    app.text_input(key=f"{NEW_RULE}_resolve_spend").set_value("40")
    app.selectbox(key=f"{NEW_RULE}_no_data").set_value("keep")
    app.selectbox(key=f"{NEW_RULE}_renotify").set_value(3600)
    app.number_input(key=f"{NEW_RULE}_limit").set_value(10)
    app.selectbox(key=f"{NEW_RULE}_keep_firing_s").set_value(900)
    app.selectbox(key=f"{NEW_RULE}_cooldown_s").set_value(3600)
    app.text_input(key=f"{NEW_RULE}_conditions_spend").set_value("Calls > 100, error_rate < 10%")

    app.button(key=f"{NEW_RULE}_save").click().run()

    rule = changes(fake)[0][1]["rule"]
    assert rule | {
        "threshold": "50", "critical_threshold": "80", "resolve_threshold": "40", "period": "day", "window_s": 86_400,
        "group_by": "model", "group_limit": 10, "scope": {"feature": ["chat"]}, "no_data": "keep", "renotify_s": 3600,
        "keep_firing_s": 900, "cooldown_s": 3600,
        "conditions": [
            {"metric": "requests", "comparator": "above", "threshold": "100"},
            {"metric": "error_rate", "comparator": "below", "threshold": "0.1"},
        ],
    } == rule  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("critical_spend", "1", "A critical threshold lies beyond the threshold."),
        ("resolve_spend", "99", "A resolve threshold lies on the safe side of the threshold."),
        ("critical_spend", "much", "The critical threshold must be a number of 0 or more."),
        ("conditions_spend", "luck > 3", "There is no metric luck for a condition."),
        ("conditions_spend", "Calls", "A condition is written metric > number or metric < number: Calls."),
    ],
)
def test_a_rule_that_makes_no_sense_is_explained_and_not_sent(
    open_app: OpenApp, fake: FakeDatabase, field: str, value: str, reason: str
) -> None:
    app = open_editor(open_app, "rule")
    app.text_input(key=f"{NEW_RULE}_name").set_value("Spend")
    app.text_input(key=f"{NEW_RULE}_{field}").set_value(value)

    app.button(key=f"{NEW_RULE}_save").click().run()

    assert (app.error[0].value, changes(fake)) == (reason, [])


def test_presets_are_added_with_the_channels_that_work(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "rule")

    app.button(key="settings_rules_presets").click().run()

    added = [arguments["rule"] for name, arguments in changes(fake) if name == "save_alert_rule"]
    assert len(added) == 9  # the fake has one of the same name already
    assert {tuple(rule["channels"]) for rule in added} == {(1,)}


def test_a_rule_with_a_window_of_its_own_keeps_it(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fake._rule
    monkeypatch.setattr(fake, "_rule", lambda rule_id: whole(rule_id) | {"window_s": 1200, "for_s": 90}, raising=False)
    app = open_editor(open_app, "rule", 1)

    app.button(key="settings_rule_1_save").click().run()

    (_, arguments) = changes(fake)[0]
    assert (arguments["rule"]["window_s"], arguments["rule"]["for_s"]) == (1200, 90)


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
    app = open_editor(open_app, "rule")
    app.selectbox(key=f"{NEW_RULE}_metric").set_value("provider_drift").run()
    assert app.selectbox(key=f"{NEW_RULE}_window_172800").options == ["2 days", "7 days", "31 days"]
    assert app.selectbox(key=f"{NEW_RULE}_window_172800").value == 604_800
    assert app.text_input(key=f"{NEW_RULE}_threshold_provider_drift").label == "Threshold (%)"
    assert app.number_input(key=f"{NEW_RULE}_sample_1").label == "Minimum days"


def test_a_burn_rate_is_saved_with_its_objective(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "rule")
    app.selectbox(key=f"{NEW_RULE}_metric").set_value("latency_burn_rate").run()
    assert app.selectbox(key=f"{NEW_RULE}_window_720").options[-1] == "7 days"
    app.text_input(key=f"{NEW_RULE}_name").set_value("Fast burn")
    app.text_input(key=f"{NEW_RULE}_objective_latency_burn_rate").set_value("99.9")
    app.text_input(key=f"{NEW_RULE}_objective_ms_latency_burn_rate").set_value("8000")
    app.button(key=f"{NEW_RULE}_save").click().run()
    rule = changes(fake)[0][1]["rule"]
    assert (rule["threshold"], rule["objective"], rule["objective_ms"], rule["window_s"]) == (
        "14.4", "0.999", "8000", 3600
    )  # fmt: skip


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
