"""The Settings page: what ops change, and what everybody else is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import PermissionDeniedError

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
