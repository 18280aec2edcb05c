"""Access to the app: the local viewer and people who signed in, no one else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard.reads import connection
from dashboard.reads import viewer as identity
from dashboard.reads.viewer import Viewer, viewer_key
from ingest.errors import DatabaseUnavailableError, SignInExpiredError, SignInTokenError
from tests.app.conftest import APP, TIMEOUT_S
from tests.app.fake_database import FakeDatabase

ANNA = {"is_logged_in": True, "sub": "user_anna", "name": "Anna *Berg*", "email": "anna@example.com"}


class SignIn:
    """Stands for Streamlit's record of the sign-in."""

    def __init__(self, claims: dict[str, Any], tokens: dict[str, str] | None = None) -> None:
        self.claims, self.tokens = claims, tokens or {}

    def to_dict(self) -> dict[str, Any]:
        return self.claims


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The viewers for whom the database was opened."""
    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.delenv(identity.LOCAL_VIEWER_VARIABLE, raising=False)
    seen: list[dict[str, Any]] = []

    def open_for(_: object, **viewer: Any) -> FakeDatabase:
        seen.append(viewer)
        return FakeDatabase(access="member")

    monkeypatch.setattr(connection, "open_viewer_database", open_for)
    return seen


def sign_in(monkeypatch: pytest.MonkeyPatch, claims: dict[str, Any], tokens: dict[str, str] | None = None) -> AppTest:
    monkeypatch.setattr(st, "user", SignIn(claims, tokens))
    return AppTest.from_file(str(APP), default_timeout=TIMEOUT_S).run()


@pytest.mark.parametrize(
    "claims",
    [
        {"is_logged_in": False},
        {"is_logged_in": False, "sub": "user_anna"},
        {"is_logged_in": True},
        {"is_logged_in": True, "sub": ""},
        {"is_logged_in": True, "sub": 7},
        {"is_logged_in": "true", "sub": "user_anna"},
    ],
)
def test_whoever_has_not_signed_in_sees_the_sign_in_page_and_nothing_is_read(
    monkeypatch: pytest.MonkeyPatch, opened: list[dict[str, Any]], claims: dict[str, Any]
) -> None:
    app = sign_in(monkeypatch, claims)

    assert not app.exception
    assert app.button(key="sign_in_start").label == "Sign in"
    assert not app.metric
    assert opened == []


def test_without_a_provider_the_sign_in_page_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, opened: list[dict[str, Any]]
) -> None:
    app = sign_in(monkeypatch, {})

    assert "secrets.toml.example" in "".join(element.proto.body for element in app.main.get("html"))
    assert not app.button
    assert opened == []


def test_who_signed_in_reads_with_their_own_id_and_token(
    monkeypatch: pytest.MonkeyPatch, opened: list[dict[str, Any]]
) -> None:
    app = sign_in(monkeypatch, ANNA, {"id": "token-of-anna"})

    assert not app.exception
    assert app.metric
    assert opened == [{"user_id": "user_anna", "tenant_id": None, "access_token": "token-of-anna"}]


def test_the_sidebar_names_the_viewer_and_offers_the_way_out(
    monkeypatch: pytest.MonkeyPatch, opened: list[dict[str, Any]]
) -> None:
    app = sign_in(monkeypatch, ANNA)

    assert opened
    assert r"Anna \*Berg\*" in app.sidebar.caption[0].value
    assert app.sidebar.button(key="account_log_out").label == "Log out"


def test_the_local_viewer_needs_no_sign_in_and_cannot_sign_out(
    monkeypatch: pytest.MonkeyPatch, opened: list[dict[str, Any]]
) -> None:
    monkeypatch.setenv(identity.LOCAL_VIEWER_VARIABLE, "local-ops")

    app = AppTest.from_file(str(APP), default_timeout=TIMEOUT_S).run()

    assert opened == [{"user_id": "local-ops", "tenant_id": None, "access_token": None}]
    assert not app.sidebar.button


@pytest.mark.parametrize(
    ("claims", "name"),
    [({"preferred_username": "anna"}, "anna"), ({"email": "a@b.example"}, "a@b.example"), ({}, "user_anna")],
)
def test_a_viewer_without_a_name_is_called_by_what_is_known(
    monkeypatch: pytest.MonkeyPatch, claims: dict[str, str], name: str
) -> None:
    monkeypatch.delenv(identity.LOCAL_VIEWER_VARIABLE, raising=False)
    monkeypatch.setattr(st, "user", SignIn({"is_logged_in": True, "sub": "user_anna", **claims}))

    assert identity.current_viewer() == Viewer(user_id="user_anna", name=name)


def test_a_sign_in_that_names_a_tenant_narrows_its_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(identity.LOCAL_VIEWER_VARIABLE, raising=False)
    monkeypatch.setattr(st, "user", SignIn({"is_logged_in": True, "sub": "user_anna", "treering_tenant": "acme"}))
    viewer = identity.current_viewer()
    assert viewer == Viewer(user_id="user_anna", name="user_anna", tenant_id="acme")
    assert viewer_key(viewer) != viewer_key(Viewer(user_id="user_anna", name="user_anna"))


def test_every_cache_tells_the_viewers_of_two_tenants_apart() -> None:
    files = Path("dashboard").rglob("*.py")
    cached = [line for path in files for line in path.read_text().splitlines() if "hash_funcs=" in line]
    assert len(cached) >= 7
    assert [line for line in cached if "Viewer: viewer_key" not in line] == []


def test_a_token_never_shows_in_a_text() -> None:
    assert "secret" not in repr(Viewer("user_anna", "Anna", access_token="secret"))


def test_two_viewers_never_share_a_cached_answer(monkeypatch: pytest.MonkeyPatch, opened: list[dict[str, Any]]) -> None:
    sign_in(monkeypatch, ANNA)
    sign_in(monkeypatch, {**ANNA, "sub": "user_ben"})

    assert [viewer["user_id"] for viewer in opened] == ["user_anna", "user_ben"]


def test_a_database_that_cannot_be_found_is_looked_for_again(
    monkeypatch: pytest.MonkeyPatch, opened: list[dict[str, Any]]
) -> None:
    def refuse(*_: object, **__: object) -> FakeDatabase:
        raise DatabaseUnavailableError("no database")

    monkeypatch.setattr(connection, "open_viewer_database", refuse)
    app = sign_in(monkeypatch, ANNA)
    assert not app.metric
    monkeypatch.setattr(connection, "open_viewer_database", lambda *_, **__: FakeDatabase())

    app.button(key="overview_try_again").click().run()

    assert app.metric
    assert opened == []


def test_an_expired_sign_in_offers_to_sign_in_again(
    monkeypatch: pytest.MonkeyPatch, opened: list[dict[str, Any]]
) -> None:
    del opened

    def refuse(*_: object, **__: object) -> FakeDatabase:
        return FakeDatabase(error=SignInExpiredError("The sign-in has expired."))

    monkeypatch.setattr(connection, "open_viewer_database", refuse)
    app = sign_in(monkeypatch, ANNA)

    assert app.button(key="overview_sign_in").label == "Sign in again"
    assert "Your sign-in has expired" in page_text(app)


def test_a_token_that_lacks_something_is_not_told_as_missing_access(
    monkeypatch: pytest.MonkeyPatch, opened: list[dict[str, Any]]
) -> None:
    del opened

    def refuse(*_: object, **__: object) -> FakeDatabase:
        return FakeDatabase(error=SignInTokenError("The sign-in's token has no claim role."))

    monkeypatch.setattr(connection, "open_viewer_database", refuse)
    text = page_text(sign_in(monkeypatch, ANNA))

    assert "has no claim role" in text
    assert "You have no access" not in text


def page_text(app: AppTest) -> str:
    return " ".join(str(element.proto) for element in app.get("html"))
