"""What each door does by itself: how it is opened, loses its server, forks, and keeps secrets."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import jwt
import psycopg
import pytest

from ingest.database import PostgresDatabase, SupabaseDatabase, open_database, open_viewer_database
from ingest.database import supabase as _supabase
from ingest.database.signing import SigningKey
from ingest.database.viewer_token import TokenMint
from ingest.errors import (
    ConfigurationError,
    DatabaseError,
    DatabaseUnavailableError,
    FunctionNotFoundError,
    PermissionDeniedError,
    RequestTooLargeError,
)
from ingest.settings import load_settings
from tests.support.api import JWT_SECRET, PUBLISHABLE_KEY, SECRET_KEY, Answer, make_token
from tests.support.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.database import Database
    from tests.support.api import Api
    from tests.support.doors import Door
    from tests.support.servers import TestDatabase


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "TREERING_")):
            monkeypatch.delenv(name)


def access_of(database: Database) -> object:
    """Read the access of a viewer, then close."""
    try:
        settings = database.call("get_settings")
    finally:
        database.close()
    assert isinstance(settings, dict)
    return settings["access"]


def is_service(database: Database) -> bool:
    try:
        return isinstance(database.call("get_status"), dict)
    finally:
        database.close()


# ---- which door the settings open


def test_the_direct_address_comes_first(database: TestDatabase) -> None:
    settings = load_settings(supabase_url="http://127.0.0.1:9", supabase_db_url=database.authenticator_url)
    assert is_service(open_database(settings))
    assert access_of(open_viewer_database(settings, user_id="user_a")) == "member"


def test_the_secret_key_opens_the_api(api: Api) -> None:
    assert is_service(open_database(load_settings(supabase_url=api.url, supabase_secret_key=SECRET_KEY)))


def test_an_address_without_a_key_names_the_missing_variable() -> None:
    settings = load_settings(supabase_url="http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"^SUPABASE_SECRET_KEY: "):
        open_database(settings)
    with pytest.raises(ConfigurationError, match="SUPABASE_PUBLISHABLE_KEY"):
        open_viewer_database(settings, user_id="user_a")


@pytest.mark.dated
def test_a_viewers_token_is_signed_with_the_projects_secret(api: Api) -> None:
    settings = load_settings(
        supabase_url=api.url, supabase_publishable_key=PUBLISHABLE_KEY, supabase_jwt_secret=JWT_SECRET
    )
    assert access_of(open_viewer_database(settings, user_id="user_a")) == "member"


def test_a_viewer_of_a_tenant_is_one_by_every_way_in(api: Api, database: TestDatabase) -> None:
    own = {"supabase_url": api.url, "supabase_publishable_key": PUBLISHABLE_KEY}
    signed = load_settings(**own, supabase_jwt_secret=JWT_SECRET)
    direct = load_settings(**own, supabase_db_url=database.authenticator_url)
    for settings in (signed, direct):
        assert access_of(open_viewer_database(settings, user_id="user_a", tenant_id="acme")) == "tenant"
    token = make_token("user_a", treering_tenant="acme")
    passed_on = open_viewer_database(load_settings(**own), user_id="user_a", tenant_id="acme", access_token=token)
    assert access_of(passed_on) == "tenant"
    with pytest.raises(ConfigurationError):  # the token would let the person see more than the tenant
        open_viewer_database(
            load_settings(**own), user_id="user_a", tenant_id="acme", access_token=make_token("user_a")
        )


def test_a_viewers_own_token_is_passed_on_without_that_secret(api: Api) -> None:
    settings = load_settings(supabase_url=api.url, supabase_publishable_key=PUBLISHABLE_KEY)
    assert access_of(open_viewer_database(settings, user_id="user_a", access_token=make_token("user_a"))) == "member"


def test_without_any_token_the_direct_address_serves_the_viewer(api: Api, database: TestDatabase) -> None:
    settings = load_settings(
        supabase_url=api.url,
        supabase_publishable_key=PUBLISHABLE_KEY,
        supabase_db_url=database.authenticator_url,
    )
    assert access_of(open_viewer_database(settings, user_id="user_a")) == "member"


def test_nothing_set_and_nothing_running_is_unavailable_for_now(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    with pytest.raises(DatabaseUnavailableError, match="treering up") as caught:
        open_database(settings)
    assert caught.value.retryable
    with pytest.raises(DatabaseUnavailableError, match="treering up"):
        open_viewer_database(settings, user_id="user_a")


def test_an_unreadable_address_is_named(tmp_path: Path) -> None:
    (tmp_path / "database.uri").mkdir()
    with pytest.raises(DatabaseUnavailableError, match=r"database\.uri cannot be read"):
        open_database(load_settings(home=tmp_path))


# ---- Postgres itself


def test_a_server_that_is_not_there_is_told_at_once_and_why(tmp_path: Path) -> None:
    database = PostgresDatabase(f"postgresql://postgres:geheim@/postgres?host={tmp_path}", timeout_s=30)
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailableError, match="No such file or directory") as caught:
        database.call("get_status")
    assert time.monotonic() - started < 10
    assert caught.value.retryable
    assert "geheim" not in str(caught.value)
    database.close()


def test_a_wrong_password_is_told_and_not_shown(database: TestDatabase) -> None:
    wrong = database.authenticator_url.replace("only-for-tests", "geheim")
    door = PostgresDatabase(wrong)
    with pytest.raises(DatabaseUnavailableError, match="password authentication failed") as caught:
        door.call("get_status")
    assert "geheim" not in f"{caught.value!r} {door!r}"
    door.close()


def test_connections_that_broke_are_replaced(direct: Door) -> None:
    service = direct.service()
    service.call("get_status")
    with psycopg.connect(direct.database.superuser_url) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'authenticator' "
            "and datname = current_database()"
        )
    with pytest.raises(DatabaseUnavailableError):
        service.call("get_status")
    assert isinstance(service.call("get_status"), dict)


def test_when_all_connections_are_busy_the_call_may_be_repeated(database: TestDatabase) -> None:
    database.execute("""
      create function observability.probe_wait() returns void language sql
        as $$ select pg_advisory_xact_lock_shared(7) $$;
      grant execute on function observability.probe_wait() to service_role;
    """)
    door = PostgresDatabase(database.authenticator_url, max_connections=1, timeout_s=1.5)
    door.call("get_status")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(database.superuser_url) as blocker:
        blocker.execute("select pg_advisory_xact_lock(7)")
        waiting = pool.submit(door.call, "probe_wait")
        while not blocker.execute("select from pg_locks where locktype = 'advisory' and not granted").rowcount:
            assert not waiting.done()
        with pytest.raises(DatabaseUnavailableError, match="busy") as caught:
            door.call("get_status")
        blocker.rollback()
        waiting.result(timeout=60)
    assert caught.value.retryable
    door.close()


def test_a_role_that_the_user_may_not_take_is_denied(database: TestDatabase) -> None:
    door = PostgresDatabase(database.authenticator_url, role="postgres")
    with pytest.raises(PermissionDeniedError) as caught:
        door.call("get_status")
    assert caught.value.sqlstate == "42501"
    door.close()


@pytest.mark.parametrize("kind", ["postgres", "postgrest"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_opens_connections_of_its_own(kind: str, api: Api, database: TestDatabase) -> None:
    door: Database = (
        PostgresDatabase(database.authenticator_url) if kind == "postgres" else SupabaseDatabase(api.url, SECRET_KEY)
    )
    door.call("get_status")
    child = os.fork()
    if child == 0:
        exit_code = 1
        try:
            exit_code = 0 if isinstance(door.call("get_status"), dict) else 1
        finally:
            os._exit(exit_code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert isinstance(door.call("get_status"), dict)
    door.close()


# ---- Supabase's API


def test_one_connection_is_kept_for_all_calls(api: Api) -> None:
    door = SupabaseDatabase(api.url, SECRET_KEY)
    for _ in range(5):
        door.call("get_status")
    door.close()
    assert api.connections == 1


def test_a_key_that_the_project_does_not_know_is_denied(api: Api) -> None:
    door = SupabaseDatabase(api.url, "sb_secret_geheim")
    with pytest.raises(PermissionDeniedError, match="Invalid API key") as caught:
        door.call("get_status")
    assert "geheim" not in f"{caught.value!r} {door!r}"
    door.close()


@pytest.mark.dated
def test_an_expired_token_is_denied(api: Api) -> None:
    door = SupabaseDatabase(api.url, PUBLISHABLE_KEY, access_token=make_token("user_a", exp=1))
    with pytest.raises(PermissionDeniedError, match="JWT expired"):
        door.call("get_settings")
    door.close()


@pytest.mark.parametrize(
    ("answer", "kind", "retryable"),
    [
        (Answer(502, "<html>Bad gateway</html>", "text/html"), DatabaseUnavailableError, True),
        (Answer(503, '{"message":"no upstream"}'), DatabaseUnavailableError, True),
        (Answer(504, '{"code":"PGRST003","message":"Timed out acquiring connection"}'), DatabaseUnavailableError, True),
        (Answer(520, ""), DatabaseUnavailableError, True),
        (Answer(429, '{"message":"API rate limit exceeded"}'), DatabaseUnavailableError, True),
        (Answer(408, ""), DatabaseUnavailableError, True),
        (Answer(500, '{"code":"57014","message":"canceling statement"}'), DatabaseUnavailableError, True),
        (Answer(401, '{"message":"Invalid API key"}'), PermissionDeniedError, False),
        (Answer(403, "<html>Forbidden</html>", "text/html"), PermissionDeniedError, False),
        (Answer(404, '{"code":"PGRST202","message":"Could not find the function"}'), FunctionNotFoundError, False),
        (Answer(404, "<html>Not found</html>", "text/html"), DatabaseError, False),
        (Answer(406, '{"code":"PGRST106","message":"The schema must be one of: public"}'), DatabaseError, False),
        (Answer(413, ""), RequestTooLargeError, False),
    ],
)
def test_an_answer_of_the_gateway_says_whether_to_try_again(
    api: Api, answer: Answer, kind: type[DatabaseError], retryable: bool
) -> None:
    api.canned.put(answer)
    door = SupabaseDatabase(api.url, SECRET_KEY)
    with pytest.raises(DatabaseError) as caught:
        door.call("get_status")
    assert (type(caught.value), caught.value.retryable) == (kind, retryable)
    assert isinstance(door.call("get_status"), dict)
    door.close()


def test_a_schema_that_is_not_exposed_says_what_to_do(api: Api) -> None:
    api.canned.put(Answer(406, '{"code":"PGRST106","message":"The schema must be one of: public"}'))
    door = SupabaseDatabase(api.url, SECRET_KEY)
    with pytest.raises(DatabaseError, match="add observability to the exposed schemas"):
        door.call("get_status")
    door.close()


def test_an_api_that_is_not_there_is_unavailable() -> None:
    door = SupabaseDatabase(f"http://127.0.0.1:{free_port()}", SECRET_KEY)
    with pytest.raises(DatabaseUnavailableError, match="cannot be reached") as caught:
        door.call("get_status")
    assert caught.value.retryable
    door.close()


def test_an_api_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_supabase, "_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        door = SupabaseDatabase(f"http://127.0.0.1:{silent.getsockname()[1]}", SECRET_KEY)
        with pytest.raises(DatabaseUnavailableError, match=r"did not respond in time \(ReadTimeout\)"):
            door.call("get_status")
        door.close()


def test_a_minted_token_is_kept_until_half_its_life(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    mint = TokenMint(SigningKey("SUPABASE_JWT_SECRET", "HS256", None, JWT_SECRET), "user_a")
    first = mint()
    claims = jwt.decode(first, JWT_SECRET, algorithms=["HS256"], audience="authenticated")
    assert (claims["sub"], claims["role"], claims["exp"] - claims["iat"]) == ("user_a", "authenticated", 3600)
    clock += 1799
    assert mint() is first
    clock += 1
    assert mint() is not first


def test_no_secret_is_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        door = SupabaseDatabase(api.url, SECRET_KEY, access_token=(token := make_token("user_a")))
        door.call("get_settings")
        door.close()
    written = "\n".join(record.getMessage() for record in caplog.records)
    assert SECRET_KEY not in written
    assert token not in written


def test_the_gateway_of_the_tests_asks_for_a_key(api: Api) -> None:
    connection = http.client.HTTPConnection(api.url.removeprefix("http://"))
    connection.request("POST", "/rest/v1/rpc/get_status", "{}")
    response = connection.getresponse()
    assert (response.status, b"No API key" in response.read()) == (401, True)
    connection.close()
