"""The statement on Costs, and who exported what in Settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.app.statement_documents import NOON

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]


def test_a_statement_is_written_noted_and_offered(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("costs")
    app.multiselect(key="costs_statement_by").set_value(["model"])
    app.selectbox(key="costs_statement_format").set_value("csv")
    app.button(key="costs_statement_write").click().run()
    assert not app.exception
    (note,) = [one.value for one in app.caption if "This export is noted" in one.value]
    assert "\\$0.25 certain, 10 calls of unknown cost. 2 lines." in note
    (export,) = fake.exports
    assert (export["via"], export["kind"], export["format"], export["dimensions"]) == (
        *("app", "statement", "csv"),
        ["model"],
    )
    asked = dict(fake.calls)["get_statement"]
    assert asked["filters"] == {"timezone": export["timezone"]}


def test_settings_show_who_exported_what(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.exports = [
        {"export_id": 7, "exported_at": "2026-11-02T09:00:00+00:00", "exported_by": "ana", "via": "command",
         "kind": "calls", "format": "csv", "row_count": 1234}
    ]  # fmt: skip
    app = open_app("settings", tab="reports")
    assert not app.exception
    (table,) = [one.value for one in app.dataframe if "Through" in one.value.columns]
    assert table[["Who", "Through", "What", "Rows"]].to_numpy().tolist() == [["ana", "command", "Calls, csv", 1234]]


def test_ops_plan_the_statements_that_leave_by_themselves(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings", tab="reports")
    assert "No statement has left by itself yet." in [one.value for one in app.caption]

    app.toggle(key="settings_statements_enabled").set_value(True)
    app.multiselect(key="settings_statements_formats").set_value(["xlsx", "focus"])
    app.number_input(key="settings_statements_days").set_value(7)
    app.button(key="settings_statements_save").click().run()

    assert not app.exception
    assert fake.statement_schedule["is_enabled"] is True
    assert fake.statement_schedule["formats"] == ["xlsx", "focus"]
    assert (fake.statement_schedule["grace_days"], fake.statement_schedule["dimensions"]) == (7, ["feature", "model"])


def test_a_statement_without_a_target_is_not_planned(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings", tab="reports")

    app.toggle(key="settings_statements_enabled").set_value(True)
    app.toggle(key="settings_statements_folder").set_value(False)
    app.button(key="settings_statements_save").click().run()

    assert [error.value for error in app.error] == ["Choose at least one file, and a channel or the folder."]
    assert fake.statement_schedule["is_enabled"] is False


def test_what_became_of_statements_is_shown(open_app: OpenApp, fake: FakeDatabase) -> None:
    done = {"month": "2026-05-01", "target": "folder", "channel": None, "done_at": NOON, "attempts": 1, "error": None}
    failed = {**done, "target": "channel:1", "channel": "Finance", "done_at": None, "error": "it is full"}
    file = {"name": "may.xlsx", "size_bytes": 9, "sha256": "0" * 64}
    fake.statement_schedule["deliveries"] = [
        {**done, "next_attempt_at": None, "files": [file]},
        {**failed, "next_attempt_at": NOON, "files": []},
    ]
    table = open_app("settings", tab="reports").dataframe[0].value

    assert table["To"].tolist() == ["the folder", "Finance"]
    assert table["Last error"].fillna("").tolist() == ["", "it is full"]
    assert table["Files"].tolist() == ["may.xlsx", ""]
