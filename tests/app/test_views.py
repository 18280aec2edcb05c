"""Saved views in the app: kept under a name, opened again, shared by those who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ingest.errors import DatabaseUnavailableError, InvalidArgumentError

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]


def view(number: int, **changes: Any) -> dict[str, Any]:
    """Build a view as the database returns it."""
    return {
        "view_id": number, "owner": "local-ops", "page": "costs", "name": f"View {number}", "query": {},
        "is_shared": False, "saved_at": "2026-05-04T12:00:00+00:00", "is_own": True, **changes,
    }  # fmt: skip


def links(app: AppTest) -> dict[str, dict[str, list[str]]]:
    """The views that can be opened: their labels and the choices that they open."""
    inside = app.get("page_link")
    return {one.proto.label: parse_qs(one.proto.query_string) for one in inside if one.proto.query_string}


def test_what_is_chosen_is_saved_and_opened_again_the_default_period_too(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("costs", model="gpt-4o", trend="with-tokens")
    app.text_input(key="costs_view_name").input("  4o with tokens ")
    app.button(key="FormSubmitter:costs_view_form-Save view").click().run()

    assert not app.exception
    assert [one for name, one in fake.calls if name == "save_view"] == [
        {
            "view": {
                "page": "costs",
                "name": "4o with tokens",
                "query": {"period": ["week"], "trend": ["with-tokens"], "model": ["gpt-4o"]},
                "is_shared": False,
            }
        }
    ]
    assert links(app)["4o with tokens"] == {"period": ["week"], "trend": ["with-tokens"], "model": ["gpt-4o"]}

    app.button(key="costs_delete_view_1").click().run()
    assert "4o with tokens" not in links(app)


def test_views_of_this_page_come_first_and_foreign_ones_say_whose_they_are(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    fake.views = [
        view(1, page="usage", query={"period": ["day"]}),
        view(2, owner="ana", name="By *user*", query={"group": ["user_id"]}, is_shared=True, is_own=False),
        view(3, page="a_page_of_tomorrow", query={"period": ["day"]}),
    ]
    app = open_app("costs")
    assert list(links(app))[:2] == ["By \\*user\\*", "Usage\\: View 1"]
    assert [one.key for one in app.button if "delete_view" in str(one.key)] == ["costs_delete_view_1"]
    helps = {one.proto.label: one.proto.help for one in app.get("page_link")}
    assert helps["By \\*user\\*"] == "Shared by ana"


def test_a_member_cannot_share_and_a_fault_is_told_where_it_happened(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "member"
    fake.views = [view(1, page="usage", query={"period": ["day"]})]
    app = open_app("usage")
    assert "usage_view_shared" not in {one.key for one in app.toggle}
    save = "FormSubmitter:usage_view_form-Save view"
    app.button(key=save).click().run()
    assert [one.value for one in app.error] == ["Enter a name."]

    fake.errors["save_view"] = InvalidArgumentError("a person keeps at most 200 views")
    app.text_input(key="usage_view_name").input("mine")
    app.button(key=save).click().run()
    assert [one.value for one in app.error] == ["a person keeps at most 200 views"]

    fake.errors["delete_view"] = DatabaseUnavailableError("no connection")
    app.button(key="usage_delete_view_1").click().run()
    assert [one.value for one in app.error] == ["no connection"]


def test_views_that_cannot_be_read_leave_the_page_whole(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.errors["get_views"] = DatabaseUnavailableError("no connection")
    app = open_app("calls")
    assert [one.value for one in app.error] == ["The saved views cannot be read: no connection"]
    assert app.dataframe
