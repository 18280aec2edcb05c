"""On call in the app: links of messages, messages that do not arrive, routes, mute times, rules as a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import InvalidArgumentError
from tests.app.choosing import open_editor
from tests.app.test_settings import changes

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]
LINK: dict[str, Any] = {
    "action": "acknowledge", "rule_name": "Spend spike", "alerts": 12, "firing": 11, "unacknowledged": 11,
    "group_by": "user_id", "severity": "critical", "started_at": "2026-11-23T11:00:00+00:00",
    "expires_at": "2026-11-26T11:00:00+00:00",
}  # fmt: skip


def test_the_link_of_a_message_asks_before_it_acknowledges(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access, fake.link = "member", LINK
    app = open_app("alerts", act="key-of-a-link")
    assert changes(fake) == [("read_alert_link", {"link": "key-of-a-link"})]
    app.text_input(key="alert_link_note").set_value("on it").run()
    app.button(key="alert_link_use").click().run()
    assert ("use_alert_link", {"link": "key-of-a-link", "note": "on it"}) in changes(fake)
    assert [toast.value for toast in app.toast] == ["Spend spike acknowledged"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"used_at": "2026-11-23T12:00:00+00:00", "used_by": "olga"}, "The link was used by olga at "),
        ({"is_expired": True}, "The link has expired."),
        ({"unacknowledged": 0}, "Nothing is left to acknowledge."),
    ],
)
def test_a_link_that_does_nothing_any_more_says_why(
    open_app: OpenApp, fake: FakeDatabase, state: dict[str, Any], said: str
) -> None:
    fake.link = LINK | state
    app = open_app("alerts", act="key-of-a-link")
    assert any(one.value.startswith(said) for one in app.info)
    assert "alert_link_use" not in {button.key for button in app.button}


def test_a_link_that_is_not_ours_is_refused(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.errors["read_alert_link"] = InvalidArgumentError("this link is not one of ours")
    app = open_app("alerts", act="forged")
    assert app.error[0].value == "The link does nothing: this link is not one of ours"


def test_every_page_says_which_messages_do_not_arrive(open_app: OpenApp, fake: FakeDatabase) -> None:
    channel = {"channel_name": "pager", "overdue": 2, "dead": 1, "last_error": "answered 404"}
    fake.delivery = {"overdue": 2, "dead": 1, "channels": [channel], "silent_rules": ["Spend spike"]}
    said = "Messages 2 overdue and 1 dead: pager (answered 404). See Messages on the Alerts page."
    assert said in [one.value for one in open_app("overview").warning]
    app = open_app("alerts")
    assert said in [one.value for one in app.warning]
    assert "No message is sent for: Spend spike. Choose channels in Settings." in [one.value for one in app.info]


def test_ops_write_a_route_that_escalates(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "route")
    app.text_input(key="settings_route_new_name").set_value("boss")
    app.selectbox(key="settings_route_new_severity").set_value("critical")
    app.text_input(key="settings_route_new_labels").set_value("team=chat")
    app.multiselect(key="settings_route_new_channels").set_value([1])
    app.selectbox(key="settings_route_new_after").set_value(600)
    app.button(key="settings_route_new_save").click().run()
    route = {
        "name": "boss", "severity": "critical", "labels": {"team": "chat"}, "scope": {}, "after_s": 600,
        "channels": [1], "is_enabled": True,
    }  # fmt: skip
    assert changes(fake) == [("save_alert_route", {"route": route})]


@pytest.mark.parametrize(("labels", "said"), [("team", "Labels are written name=value"), ("", "Channels: ")])
def test_a_route_that_makes_no_sense_is_explained(
    open_app: OpenApp, fake: FakeDatabase, labels: str, said: str
) -> None:
    app = open_editor(open_app, "route")
    app.text_input(key="settings_route_new_name").set_value("boss")
    app.text_input(key="settings_route_new_labels").set_value(labels)
    app.button(key="settings_route_new_save").click().run()
    assert changes(fake) == []
    assert app.error[0].value.startswith(said)


def test_ops_write_a_mute_time_of_weekdays(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_editor(open_app, "mute")
    app.text_input(key="settings_mute_new_name").set_value("nights")
    app.pills(key="settings_mute_new_weekdays").set_value([5, 1])
    app.button(key="settings_mute_new_save").click().run()
    ((name, arguments),) = changes(fake)
    mute = arguments["mute"]
    assert name == "save_alert_mute"
    assert (mute["weekdays"], mute["from_time"], mute["to_time"], mute["starts_at"]) == (
        [1, 5], "22:00:00", "06:00:00", None
    )  # fmt: skip


def test_the_forms_keep_what_they_do_not_ask_for(open_app: OpenApp, fake: FakeDatabase) -> None:
    route = {
        "name": "slow", "severity": None, "labels": {}, "scope": {"route": ["/api/chat"]}, "after_s": 0,
        "channels": [1], "is_enabled": True,
    }  # fmt: skip
    mute = {
        "name": "move", "rules": [], "labels": {}, "starts_at": "2026-11-23T09:00:00Z",
        "ends_at": "2026-11-30T09:00:00Z", "weekdays": [1], "from_time": "01:00:00", "to_time": "02:00:00",
        "timezone": "UTC", "is_enabled": True,
    }  # fmt: skip
    fake.on_call = {"routes": [{"route_id": 1, **route}], "mutes": [{"mute_id": 1, **mute, "is_active": False}]}
    open_editor(open_app, "route", 1).button(key="settings_route_1_save").click().run()
    open_editor(open_app, "mute", 1).button(key="settings_mute_1_save").click().run()
    assert changes(fake) == [
        ("save_alert_route", {"route": {"route_id": 1, **route}}),
        ("save_alert_mute", {"mute": {"mute_id": 1, **mute}}),
    ]


def test_what_is_configured_can_be_downloaded_and_a_changed_file_is_shown_before_it_is_applied(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    app = open_app("settings")
    file = b"version: 1\nrules:\n- {name: New, metric: spend, threshold: 5}\n"
    app.file_uploader(key="settings_alerts_upload").upload("alerts.yaml", file, "application/yaml").run()
    assert [code.value for code in app.code] == ["+ rule New"]
    assert changes(fake) == []
    app.button(key="settings_alerts_apply").click().run()
    ((name, arguments),) = changes(fake)
    assert (name, arguments["rule"]["name"], arguments["rule"]["threshold"]) == ("save_alert_rule", "New", "5")


def test_a_firing_alert_leads_to_its_runbook(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.runbook = {"description": "Ask <finance>.", "runbook_url": "https://wiki.example.com/spend"}
    app = open_app("alerts")
    links = [element.proto.url for element in app.main.get("link_button")]
    assert "https://wiki.example.com/spend" in links
    assert any("Ask &lt;finance&gt;." in element.proto.body for element in app.main.get("html"))
