"""The Settings page: what ops change, and what everybody else is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from ingest.alerts.sealing import SecretBox, make_key
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
