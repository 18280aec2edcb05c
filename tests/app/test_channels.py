"""The Channels and Members tabs of the Settings page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from ingest.alerts.sealing import SecretBox, make_key
from tests.app.choosing import choose, open_editor
from tests.app.test_settings import changes

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]


def test_the_address_of_a_channel_leaves_the_app_sealed(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key()
    monkeypatch.setenv("TREERING_SECRET_KEY", key)
    app = open_editor(open_app, "channel")

    app.text_input(key="settings_channel_name").set_value("team")
    app.text_input(key="settings_channel_url").set_value("https://hooks.example.com/T/1")
    app.button(key="settings_channel_save").click().run()

    (_, arguments) = changes(fake)[0]
    sealed = arguments["channel"].pop("sealed")
    assert arguments["channel"] == {
        "name": "team", "max_per_minute": 60, "max_per_hour": None, "is_enabled": True, "kind": "webhook",
        "target_hint": "hooks.example.com",
    }  # fmt: skip
    opened = SecretBox(SecretStr(key)).open(sealed)
    assert opened is not None
    assert opened["target_url"] == "https://hooks.example.com/T/1"
    assert not any("hooks.example.com/T/1" in str(field.value) for field in app.text_input)
    # The secret that checks signatures is shown this once.
    assert app.code[0].value == opened["signing_secret"]
    assert not app.run().code


def test_without_a_key_the_database_decides_whether_it_keeps_the_address(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "channel")
    app.text_input(key="settings_channel_name").set_value("team")
    app.text_input(key="settings_channel_url").set_value("https://hooks.example.com/T/1")

    app.button(key="settings_channel_save").click().run()

    assert changes(fake)[0][1]["channel"]["target_url"] == "https://hooks.example.com/T/1"


def test_a_channel_is_changed_without_its_address(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "channel", 2)
    app.text_input(key="settings_channel_2_name").set_value("older")
    app.toggle(key="settings_channel_2_enabled").set_value(True)

    app.button(key="settings_channel_2_save").click().run()

    channel = {"channel_id": 2, "name": "older", "max_per_minute": 60, "max_per_hour": None, "is_enabled": True}
    assert changes(fake) == [("save_notification_channel", {"channel": channel})]


def test_an_address_is_replaced_and_leaves_the_form_again(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "channel", 1)
    assert "settings_channel_1_url" not in {field.key for field in app.text_input}
    app.toggle(key="settings_channel_1_replace").set_value(True).run()
    app.text_input(key="settings_channel_1_url").set_value("https://hooks.example.com/T/secret")

    app.button(key="settings_channel_1_save").click().run()

    ((_, arguments),) = changes(fake)
    assert arguments["channel"]["target_url"] == "https://hooks.example.com/T/secret"
    assert app.code[0].value == arguments["channel"]["signing_secret"]
    assert not app.toggle(key="settings_channel_1_replace").value
    assert "settings_channel_1_url" not in {field.key for field in app.text_input}
    app.run()
    assert not [field.value for field in (*app.text_input, *app.code) if "secret" in str(field.value)]
    assert "settings_channel_1_url" not in app.session_state


def test_a_member_gets_another_role(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "member", 2)
    app.selectbox(key="settings_member_2_role").set_value("ops")
    app.button(key="settings_member_2_save").click().run()
    member = {"user_id": "user_9xq33tom", "role": "ops", "tenant_id": None}
    assert changes(fake) == [("add_member", member)]


def test_a_channel_can_be_tried(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "channel", 2)
    assert app.button(key="settings_channel_test_2").disabled

    choose(app, "channel", 1)
    app.button(key="settings_channel_test_1").click().run()

    assert changes(fake) == [("send_test_notification", {"channel_id": 1})]


@pytest.mark.parametrize(("name", "url"), [("", "https://x.example"), ("team", "ftp://x.example"), ("team", "")])
def test_a_channel_needs_a_name_and_a_web_address(open_app: OpenApp, fake: FakeDatabase, name: str, url: str) -> None:
    app = open_editor(open_app, "channel")

    app.text_input(key="settings_channel_name").set_value(name)
    app.text_input(key="settings_channel_url").set_value(url)
    app.button(key="settings_channel_save").click().run()

    assert app.error
    assert changes(fake) == []


def test_a_channel_can_be_removed(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "channel", 2)

    app.button(key="settings_channel_remove_2").click().run()

    assert changes(fake) == [("delete_notification_channel", {"channel_id": 2})]


def test_a_member_is_added_with_a_role(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "member")

    app.text_input(key="settings_member_user").set_value(" user_new ")
    app.selectbox(key="settings_member_role").set_value("analyst")
    app.button(key="settings_member_save").click().run()

    assert changes(fake) == [("add_member", {"user_id": "user_new", "role": "analyst", "tenant_id": None})]


def test_a_person_of_a_tenant_is_added_with_its_id(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "member")

    app.text_input(key="settings_member_user").set_value("user_new")
    app.selectbox(key="settings_member_role").set_value("tenant")
    app.button(key="settings_member_save").click().run()
    assert changes(fake) == []
    app.text_input(key="settings_member_tenant").set_value(" acme ")
    app.button(key="settings_member_save").click().run()

    assert changes(fake) == [("add_member", {"user_id": "user_new", "role": "tenant", "tenant_id": "acme"})]


def test_a_member_needs_a_user_id(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "member")

    app.button(key="settings_member_save").click().run()

    assert app.error
    assert changes(fake) == []


def test_others_can_be_removed_but_not_oneself(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "member", 0)
    assert app.button(key="settings_member_remove_0").disabled

    choose(app, "member", 1)
    app.button(key="settings_member_remove_1").click().run()

    assert changes(fake) == [("remove_member", {"user_id": "user_2kf81maria"})]


@pytest.mark.parametrize("kind", ["webhook", "apprise"])
def test_a_private_address_is_refused_when_it_is_saved_and_the_setting_named(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    app = open_editor(open_app, "channel")
    url = {"webhook": "http://127.0.0.1:9/hook", "apprise": "mailto://me:hidden@localhost?to=a@example.com"}[kind]
    app.segmented_control(key="settings_channel_kind").set_value(kind).run()
    app.text_input(key="settings_channel_name").set_value("team")
    app.text_input(key="settings_channel_url").set_value(url)
    app.button(key="settings_channel_save").click().run()
    assert changes(fake) == []
    assert "TREERING_ALLOW_PRIVATE_WEBHOOKS=true" in app.error[0].value

    monkeypatch.setenv("TREERING_ALLOW_PRIVATE_WEBHOOKS", "true")
    app.button(key="settings_channel_save").click().run()
    assert [name for name, _ in changes(fake)] == ["save_notification_channel"]
