"""Tenants and tags in the app: filters, splits and rankings where calls have them, and nothing where they have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from dashboard.panels.chips import chips_of
from dashboard.selection.address import parse_query
from dashboard.selection.filters import Selection
from tests.app.test_pages import address, last_call
from tests.support.events import NOON

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]
FOUND = {"tenants": ["acme", "bolt"], "tags": {"plan": ["free", "pro"]}}


@pytest.fixture
def with_tenants(fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let the calls have tenants and a tag; what is set here comes with each page too."""
    more: dict[str, Any] = {}
    plain = fake.call

    def call(function: str, /, **arguments: Any) -> Any:
        document = plain(function, **arguments)
        if function in ("get_costs", "get_usage") and isinstance(document, dict):
            rows: Any = document["by_model"]
            document["options"] = {**document["options"], **FOUND}  # type: ignore[dict-item]
            document["by_tenant"] = [{**rows[0], "key": "acme"}, {**rows[1], "key": ""}]
            document["by_tag"] = {"plan": [{**rows[0], "key": "pro"}]}
            document.update(more)
        return document

    monkeypatch.setattr(fake, "call", call)
    return more


def test_a_selection_keeps_tenants_and_tags_in_its_address_and_asks_for_them() -> None:
    query = {"tenant_id": ["acme"], "tags": ["plan=pro", "plan=", "team=a=b", "Plan=x", "plan"], "group": ["tags.plan"]}
    selection = parse_query(query)
    assert selection.to_query() == {
        "tenant_id": ["acme"],
        "tags": ["plan=pro", "plan=", "team=a=b"],
        "group": "tags.plan",
    }
    asked = selection.window(NOON, ZoneInfo("UTC"), is_grouped=True).document()
    assert asked["tenant_id"] == ["acme"]
    assert asked["tags"] == {"plan": ["pro", ""], "team": ["a=b"]}
    assert asked["group_by"] == "tags.plan"
    assert set(chips_of(selection)) == {"tenant: acme", "plan=pro", "plan=(none)", "team=a=b"}
    narrowed = selection.with_filter("tags.plan", ["free"])
    assert narrowed.tags == ("team=a=b", "plan=free")
    assert parse_query({"group": ["tags.Plan"]}) == Selection()


@pytest.mark.usefixtures("with_tenants")
def test_pages_filter_split_and_rank_by_tenants_and_tags(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("costs")
    app.multiselect(key="costs_tenant_id").select("acme").run()
    app.multiselect(key="costs_tags").select("plan=pro").run()
    assert address(app) == {"tenant_id": ["acme"], "tags": ["plan=pro"]}
    filters = last_call(fake, "get_costs")["filters"]
    assert (filters["tenant_id"], filters["tags"]) == (["acme"], {"plan": ["pro"]})
    assert app.selectbox(key="costs_group").options[-2:] == ["By user", "By plan"]
    app.selectbox(key="costs_group").set_value("tenant_id").run()
    assert last_call(fake, "get_costs")["filters"]["group_by"] == "tenant_id"
    app.segmented_control(key="costs_by").set_value("Tenant").run()
    app.segmented_control(key="costs_by").set_value("Tag plan").run()
    assert not app.exception
    assert "Savings are not broken down by tenant or tag" in " ".join(caption.value for caption in app.caption)


def test_without_tenants_nothing_of_them_is_shown(open_app: OpenApp) -> None:
    app = open_app("usage")
    assert not [one for one in app.multiselect if one.key in ("usage_tenant_id", "usage_tags")]
    assert "By tenant" not in app.selectbox(key="usage_group").options


def test_a_tenant_sees_its_users_and_no_prices(open_app: OpenApp, with_tenants: dict[str, Any]) -> None:
    with_tenants["access"] = "tenant"
    app = open_app("costs")
    assert not app.exception
    assert "By user" in app.selectbox(key="costs_group").options
    assert "calls of your organization" in " ".join(str(one.proto) for one in app.get("html"))
    titles = " ".join(str(one.proto) for one in app.get("html"))
    assert "By kind of token" not in titles
