"""Every way to sign in, with a provider of tokens and the real PostgREST; docs/hosted.md has what comes of each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ingest.database import choose_token, open_viewer_database
from ingest.errors import PermissionDeniedError, SignInExpiredError, SignInTokenError
from ingest.settings import Settings, load_settings
from tests.support.api import JWT_SECRET, PUBLISHABLE_KEY, Api
from tests.support.keys import ALGORITHMS, key_set, make_key
from tests.support.oidc_provider import OidcProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Server, TestDatabase

HOSTED = Path(__file__).parents[3] / "docs" / "hosted.md"
ROLE = {"role": "authenticated"}
PROJECT_KEYS = [make_key(algorithm, f"project-{algorithm}") for algorithm in ALGORITHMS]

# What each kind of provider puts into its tokens, and whether the project was told to trust it.
PROVIDERS: dict[str, dict[str, Any]] = {
    "Clerk, or another third-party provider": {"access_claims": {"client_id": "c"}, "is_trusted": True},
    "Google, or a provider that Supabase does not know": {"access_claims": None, "is_trusted": False},
    "Supabase as OAuth server": {"access_claims": {"aud": "authenticated", **ROLE}, "is_trusted": True},
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "TREERING_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def project(postgres_server: Server) -> Iterator[tuple[TestDatabase, Api]]:
    """A project that trusts its own keys of each kind and those of a provider."""
    database = postgres_server.create_database()
    trusted = [make_key(algorithm, f"provider-{algorithm}") for algorithm in ALGORITHMS]
    api = Api(jwt_keys=key_set(*PROJECT_KEYS, *trusted))
    api.start(database)
    yield database, api
    api.stop()
    database.drop()


@pytest.fixture(scope="module")
def other_project(project: tuple[TestDatabase, Api]) -> Iterator[Api]:
    """The same database behind an API that trusts the project's own keys alone."""
    api = Api(jwt_keys=key_set(*PROJECT_KEYS))
    api.start(project[0])
    yield api
    api.stop()


def outcome(settings: Settings, token: str | None) -> str:
    """Ask as the viewer would, and say in few words what came of it."""
    database = open_viewer_database(settings, user_id="user_ana", access_token=token)
    try:
        document = database.call("get_settings")
    except SignInExpiredError:
        return "sign in again"
    except SignInTokenError as error:
        return "told: no role" if "has no claim role" in str(error) else "told: no JWT"
    except PermissionDeniedError as error:
        return "told: not trusted" if "Third-party auth" in str(error) else str(error)
    finally:
        database.close()
    assert isinstance(document, dict)
    assert document["access"] == "member"
    return "works"


def walk(provider: OidcProvider, api: Settings, direct: Settings) -> Iterator[tuple[str, str, str, str]]:
    """Sign in with each token, with and without the role, valid and expired: (token, what it says, API, direct)."""
    own = provider.access_claims
    for name, (id_claims, access_claims, lifetime_s) in {
        "no role": ({}, own and {key: value for key, value in own.items() if key != "role"}, 600),
        "role": (ROLE, own and {**own, **ROLE}, 600),
        "role, expired": (ROLE, own and {**own, **ROLE}, -60),
    }.items():
        provider.id_claims, provider.access_claims, provider.lifetime_s = id_claims, access_claims, lifetime_s
        tokens = provider.sign_in()
        for kind in ("id", "access"):
            token = choose_token({kind: tokens[kind]})
            yield kind, name, outcome(api, token), outcome(direct, token)
    provider.access_claims = own


def measure(
    name: str, algorithm: str, project: tuple[TestDatabase, Api], other: Api
) -> list[tuple[str, str, str, str]]:
    database, trusting = project
    traits = PROVIDERS[name]
    provider = OidcProvider(algorithm=algorithm, access_claims=traits["access_claims"])
    provider.start()
    try:
        url = (trusting if traits["is_trusted"] else other).url
        api = load_settings(supabase_url=url, supabase_publishable_key=PUBLISHABLE_KEY)
        direct = load_settings(supabase_db_url=database.authenticator_url)
        return list(walk(provider, api, direct))
    finally:
        provider.stop()


def documented(name: str) -> list[tuple[str, str, str, str]]:
    rows = [
        line.strip("| \n").split(" | ") for line in HOSTED.read_text().splitlines() if line.startswith(f"| {name} |")
    ]
    return [(kind, says, api, direct) for _, kind, says, api, direct in rows]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", PROVIDERS)
def test_what_comes_of_a_sign_in_is_as_documented(
    name: str, algorithm: str, project: tuple[TestDatabase, Api], other_project: Api
) -> None:
    assert measure(name, algorithm, project, other_project) == documented(name)


@pytest.mark.parametrize("key", PROJECT_KEYS, ids=ALGORITHMS)
def test_tokens_signed_with_the_projects_key_work_whatever_the_sign_in_brought(
    key: dict[str, Any], project: tuple[TestDatabase, Api]
) -> None:
    settings = load_settings(
        supabase_url=project[1].url,
        supabase_publishable_key=PUBLISHABLE_KEY,
        supabase_jwt_signing_key=json.dumps(key),
        supabase_jwt_secret="left over from before the project had a key of its own",
    )
    assert [outcome(settings, token) for token in (None, "opaque")] == ["works", "works"]


def test_tokens_that_the_project_refuses_name_the_setting_that_signed_them(project: tuple[TestDatabase, Api]) -> None:
    address = {"supabase_url": project[1].url, "supabase_publishable_key": PUBLISHABLE_KEY}
    for wrong, advice in {
        "supabase_jwt_secret": "gen signing-key",
        "supabase_jwt_signing_key": "import the same key, with its kid",
    }.items():
        value = "x" * 40 if wrong == "supabase_jwt_secret" else json.dumps(make_key("ES256", "stranger"))
        database = open_viewer_database(load_settings(**address, **{wrong: value}), user_id="user_ana")
        with pytest.raises(PermissionDeniedError, match=advice) as caught:
            database.call("get_settings")
        assert wrong.upper() in str(caught.value)
        database.close()


def test_a_wrong_publishable_key_is_named_and_not_the_secret_one(project: tuple[TestDatabase, Api]) -> None:
    settings = load_settings(
        supabase_url=project[1].url,
        supabase_publishable_key="sb_publishable_of_another",
        supabase_jwt_secret=JWT_SECRET,
    )
    database = open_viewer_database(settings, user_id="user_ana")
    with pytest.raises(PermissionDeniedError, match="check SUPABASE_PUBLISHABLE_KEY"):
        database.call("get_settings")
    database.close()


def test_a_sign_in_without_a_role_goes_the_direct_way_where_there_is_one(project: tuple[TestDatabase, Api]) -> None:
    provider = OidcProvider()
    provider.start()
    try:
        settings = load_settings(
            supabase_url=project[1].url,
            supabase_publishable_key=PUBLISHABLE_KEY,
            supabase_db_url=project[0].authenticator_url,
        )
        assert outcome(settings, choose_token(provider.sign_in())) == "works"
    finally:
        provider.stop()
