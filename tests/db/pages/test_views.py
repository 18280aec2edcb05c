"""Saved views: each person's own, shared ones for those who see all calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ingest.database import fetch
from ingest.documents.views import SavedViews
from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.support.traces import traces

if TYPE_CHECKING:
    from ingest.database import Database, JsonValue
    from tests.support.doors import Door


def save(person: Database, name: str, *, is_shared: bool = False, **query: JsonValue) -> Any:
    view: JsonValue = {"page": "costs", "name": name, "query": query, "is_shared": is_shared}
    return person.call("save_view", view=view)


def names(person: Database) -> list[tuple[str, bool]]:
    return [(view.name, view.is_own) for view in fetch(person, SavedViews, "get_views").views]


def is_done(report: Any) -> bool:
    return bool(report["is_done"])


def test_a_view_is_its_owners_and_a_shared_one_of_those_who_see_all_calls(door: Door) -> None:
    service = door.service()
    for user, role in (("ana", "analyst"), ("olga", "ops")):
        service.call("add_member", user_id=user, role=role)
    ana, olga, bo = door.viewer("ana"), door.viewer("olga"), door.viewer("bo")
    save(ana, " mine ", model=["gpt-4o"])
    save(ana, "team", is_shared=True, user_id=["user_x"])
    save(bo, "bo's", period=["day"])
    save(olga, "mine")

    assert names(ana) == [("mine", True), ("team", True)]
    assert names(olga) == [("mine", True), ("team", False)]
    assert names(bo) == [("bo's", True)]

    save(ana, "mine", model=["gpt-4.1", "o3"])
    (mine,) = [view for view in fetch(ana, SavedViews, "get_views").views if view.name == "mine"]
    assert (mine.query, mine.owner, mine.is_shared) == ({"model": ("gpt-4.1", "o3")}, "ana", False)

    with pytest.raises(PermissionDeniedError):
        save(bo, "for all", is_shared=True)
    of_ana = {view.name: view.view_id for view in fetch(ana, SavedViews, "get_views").views}
    assert not bo.call("delete_view", view_id=of_ana["team"])
    assert not olga.call("delete_view", view_id=of_ana["mine"])
    assert olga.call("delete_view", view_id=of_ana["team"])
    assert ana.call("delete_view", view_id=of_ana["mine"])
    assert names(ana) == []


@pytest.mark.parametrize(
    "wrong", [{"name": " "}, {"name": "x" * 81}, {"query": []}, {"query": {"model": "x" * 10_000}}, {"page": None}]
)
def test_a_view_that_is_none_is_refused_and_nothing_is_kept(door: Door, wrong: dict[str, Any]) -> None:
    person = door.viewer("ana")
    with pytest.raises(InvalidArgumentError):
        person.call("save_view", view={"page": "costs", "name": "n", "query": {}, **wrong})
    assert names(person) == []


def test_a_person_keeps_at_most_200_views(direct: Door) -> None:
    direct.database.execute(
        "insert into observability_internal.saved_views (owner, page, name, query)"
        " select 'ana', 'costs', n::text, '{}' from generate_series(1, 200) as n"
    )
    person = direct.viewer("ana")
    with pytest.raises(InvalidArgumentError, match="at most 200"):
        save(person, "one more")
    save(person, "200", period=["day"])
    assert len(names(person)) == 200


def test_a_forgotten_persons_views_and_those_that_ask_for_them_are_gone(direct: Door) -> None:
    service = direct.service()
    service.call("add_member", user_id="ana", role="analyst")
    ana = direct.viewer("ana")
    save(ana, "about them", user_id=["user_gone"])
    save(ana, "another", user_id=["user_gone_home"])
    save(direct.viewer("user_gone"), "theirs")
    while not is_done(service.call("forget_user", user_id="user_gone")):
        pass
    assert names(ana) == [("another", True)]
    assert traces(direct.database, '"user_gone"') == []
