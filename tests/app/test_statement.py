"""The statement on Costs, and who exported what in Settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

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
