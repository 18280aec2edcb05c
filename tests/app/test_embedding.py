"""A product that embeds the app names the viewer: once, for minutes, and nobody else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from pydantic import SecretStr
from streamlit.testing.v1 import AppTest

from dashboard.reads import embedding
from dashboard.reads import viewer as identity
from dashboard.reads.embedding import EmbeddedPerson, TokenRefusedError, UsedTokens, read_embed_token
from tests.app.conftest import APP, TIMEOUT_S

if TYPE_CHECKING:
    from tests.app.fake_database import FakeDatabase

SECRET = "a-secret-of-the-product-and-the-app-alone"
NOW = 1_800_000_000


def make(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {"aud": "treering-embed", "sub": "user_ana", "jti": "t1", "iat": NOW, "exp": NOW + 60, **changes}
    return jwt.encode({key: value for key, value in claims.items() if value is not None}, secret, algorithm=algorithm)


def read(token: str, now: float = NOW) -> EmbeddedPerson:
    return read_embed_token(token, SecretStr(SECRET), now)


def test_a_token_names_a_person_for_an_hour_from_when_it_was_made() -> None:
    assert read(make()) == EmbeddedPerson("user_ana", "user_ana", None, "t1", NOW + 3600)
    assert read(make(name="Ana"), NOW + 50).name == "Ana"
    assert read(make(treering_tenant="acme")).tenant_id == "acme"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (make(secret="another-secret-of-more-than-32-characters"), "not valid"),
        (make(algorithm="HS512", secret=SECRET * 2), "not valid"),
        (jwt.encode({"aud": "treering-embed", "sub": "user_ana", "jti": "t"}, "", algorithm="none"), "not valid"),
        (make(aud="another"), "not valid"),
        (make(jti=None), "not valid"),
        (make(exp=None), "not valid"),
        (make(exp="soon"), "not valid"),
        (make(sub=""), "names nobody"),
        (make(treering_tenant=""), "names no tenant"),
        (make(treering_tenant=7), "names no tenant"),
        (make(iat=NOW - 120, exp=NOW - 60), "has expired"),
        (make(iat=NOW + 120, exp=NOW + 180), "has expired"),
        (make(exp=NOW + 3600), "valid for too long"),
        ("x" * 5000, "not valid"),
    ],
)
def test_a_token_that_does_not_hold_says_why(token: str, reason: str) -> None:
    with pytest.raises(TokenRefusedError, match=reason):
        read(token)


def test_a_token_counts_once_and_is_forgotten_when_it_could_no_longer_be_used() -> None:
    used = UsedTokens()
    assert [used.claim("t1", NOW), used.claim("t2", NOW), used.claim("t1", NOW + 319)] == [True, True, False]
    assert used.claim("t1", NOW + 400)


def open_with(token: str | None) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=TIMEOUT_S)
    if token is not None:
        app.query_params[embedding.PARAMETER] = token
    return app.run()


def test_the_embedded_app_shows_the_named_viewer_and_takes_the_token_out_of_the_address(
    fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(identity.LOCAL_VIEWER_VARIABLE)
    monkeypatch.setenv("TREERING_EMBED_SECRET", SECRET)
    now = int(time.time())
    token = make(iat=now, exp=now + 60, jti="first", name="Ana")

    app = open_with(token)
    assert app.metric
    assert app.sidebar.caption[0].value.endswith("Ana")
    assert not app.sidebar.button
    assert embedding.PARAMETER not in app.query_params
    app.run()
    assert app.metric

    second = open_with(token)
    assert not second.metric
    assert "used before" in " ".join(str(element.proto) for element in second.get("html"))
    calls = len(fake.calls)
    assert not open_with(None).metric
    assert len(fake.calls) == calls


def test_without_the_secret_no_token_opens_the_app(fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(identity.LOCAL_VIEWER_VARIABLE)
    monkeypatch.delenv("TREERING_EMBED_SECRET", raising=False)
    assert not open_with(make()).metric
    assert fake.calls == []


def test_the_session_of_an_embedded_page_ends(monkeypatch: pytest.MonkeyPatch, fake: FakeDatabase) -> None:
    monkeypatch.delenv(identity.LOCAL_VIEWER_VARIABLE)
    monkeypatch.setenv("TREERING_EMBED_SECRET", SECRET)
    now = int(time.time())
    app = open_with(make(iat=now, exp=now + 60, jti="ends"))
    assert app.metric
    asked = len(fake.calls)
    monkeypatch.setattr(time, "time", lambda: now + 3601.0)
    app.run()
    assert not app.metric
    assert len(fake.calls) == asked
