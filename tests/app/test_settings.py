"""The Settings page: what ops change, and what everybody else is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import PermissionDeniedError
from tests.app.choosing import open_editor

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]
NEW_RULE = "settings_rule_new"


def changes(fake: FakeDatabase) -> list[tuple[str, dict[str, Any]]]:
    return [(name, dict(arguments)) for name, arguments in fake.calls if not name.startswith(("get_", "find_"))]


@pytest.mark.parametrize("access", ["member", "analyst"])
def test_everybody_but_ops_is_told_why_there_is_no_editor(open_app: OpenApp, fake: FakeDatabase, access: str) -> None:
    fake.access = access

    app = open_app("settings")

    assert "Settings require the role ops" in "".join(element.proto.body for element in app.main.get("html"))
    assert not app.text_input
    assert not app.main.button


def test_a_budget_is_saved_with_its_steps(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "budget")
    app.text_input(key="settings_budget_new_name").set_value("Chat")
    app.text_input(key="settings_budget_new_amount").set_value("1,250")
    app.selectbox(key="settings_budget_new_period").set_value("week")
    app.toggle(key="settings_budget_new_forecast").set_value(False)
    app.multiselect(key="settings_budget_new_scope_feature").set_value(["chat"])

    app.button(key="settings_budget_new_save").click().run()

    budget = {
        "name": "Chat", "amount": "1250", "period": "week", "timezone": "UTC", "scope": {"feature": ["chat"]},
        "steps": ["0.8", "1"], "forecast_step": None, "channels": [], "is_enabled": True,
    }  # fmt: skip
    assert changes(fake) == [("save_budget", {"budget": budget})]


def test_a_budget_is_changed_and_deleted(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "budget", 1)
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
    app = open_editor(open_app, "budget")
    app.text_input(key="settings_budget_new_name").set_value(name)
    app.text_input(key="settings_budget_new_amount").set_value(amount)

    app.button(key="settings_budget_new_save").click().run()

    assert app.error
    assert changes(fake) == []


@pytest.mark.parametrize("form", ["member", "channel", "rule"])
def test_a_change_that_the_database_refuses_is_said(open_app: OpenApp, fake: FakeDatabase, form: str) -> None:
    app = open_editor(open_app, form)

    def refuse(**_: object) -> None:
        raise PermissionDeniedError("only ops may do this", sqlstate="42501")

    for name in ("add_member", "save_notification_channel", "save_alert_rule"):
        setattr(fake, f"_{name}", refuse)
    fields = {
        "member": {"settings_member_user": "user_new"},
        "channel": {"settings_channel_name": "team", "settings_channel_url": "https://x.example"},
        "rule": {f"{NEW_RULE}_name": "Spend"},
    }[form]
    for key, value in fields.items():
        app.text_input(key=key).set_value(value)
    key = {"member": "settings_member_save", "channel": "settings_channel_save", "rule": f"{NEW_RULE}_save"}[form]

    app.button(key=key).click().run()

    assert [toast.value for toast in app.toast] == ["Not changed: only ops may do this"]


def test_a_list_of_many_is_searched_and_keeps_what_is_chosen(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = fake._get_settings

    def with_many() -> Any:
        document = answer()
        rule = document["rules"][0]
        return document | {
            "rules": [rule | {"rule_id": number, "name": f"Rule {number:02}"} for number in range(1, 13)]
        }

    monkeypatch.setattr(fake, "_get_settings", with_many)
    app = open_app("settings")
    app.text_input(key="settings_rule_chosen_search").set_value("rule 07").run()
    shown = app.radio(key="settings_rule_chosen")
    assert [option.partition(" :")[0] for option in shown.options] == ["Rule 01", "Rule 07"]
    shown.set_value(7).run()
    assert app.text_input(key="settings_rule_7_name").value == "Rule 07"


def test_a_report_is_sent_where_and_when_ops_say(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "report", 1)
    app.selectbox(key="settings_report_weekly_hour").set_value(9)
    app.button(key="settings_report_weekly_save").click().run()
    schedule = {
        "kind": "weekly", "is_enabled": True, "local_hour": 9, "timezone": "Europe/Berlin", "channels": [1],
        "names_tenants": False,
    }  # fmt: skip
    assert changes(fake) == [("save_report_schedule", {"schedule": schedule})]
