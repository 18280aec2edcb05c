"""Keys that may only insert, through both doors and as `treering keys create` signs them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ingest.database.writer_key import make_writer_key
from ingest.errors import ConfigurationError, PermissionDeniedError
from ingest.settings import load_settings
from tests.support.api import JWT_SECRET, PUBLISHABLE_KEY, Api
from tests.support.cli import run_cli
from tests.support.events import performance_event, usage_event

if TYPE_CHECKING:
    from tests.support.doors import Door
    from tests.support.servers import TestDatabase


def environments(database: TestDatabase) -> list[tuple[str, str]]:
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(
            "select user_id, environment from observability_internal.ai_usage_metrics union all"
            " select user_id, environment from observability_internal.performance_metrics order by 1, 2"
        ).fetchall()


def private_jwk() -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    document: dict[str, str] = jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True)
    return {**document, "kid": "key-1", "alg": "ES256", "use": "sig"}


def post(api: Api, key: str, events: list[object]) -> httpx.Response:
    headers = {"apikey": PUBLISHABLE_KEY, "Authorization": f"Bearer {key}"}
    return httpx.post(f"{api.url}/rest/v1/rpc/record_usage", json={"events": events}, headers=headers, timeout=30)


def test_a_key_inserts_calls_and_requests_and_a_repeat_stores_nothing(door: Door) -> None:
    writer = door.writer()
    call, request = usage_event(user_id="user_a"), performance_event(user_id="user_b")
    assert writer.call("record_usage", events=[call]) == 1
    assert writer.call("record_usage", events=[call]) == 0
    assert writer.call("record_performance", events=[request]) == 1
    assert writer.call("record_performance", events=[request]) == 0
    assert [user for user, _ in environments(door.database)] == ["user_a", "user_b"]


def test_a_key_inserts_into_a_month_that_has_no_partition_yet(door: Door) -> None:
    assert door.writer().call("record_usage", events=[usage_event(created_at="2019-03-04T10:00:00Z")]) == 1


def test_a_bad_event_does_not_cost_a_key_its_batch(door: Door) -> None:
    assert door.writer().call("record_usage", events=[usage_event(model=None), usage_event()]) == 1


def test_a_key_reads_nothing_and_changes_nothing(door: Door) -> None:
    writer = door.writer()
    with pytest.raises(PermissionDeniedError):
        writer.call("get_status")
    with pytest.raises(PermissionDeniedError):
        writer.call("roll_up")
    with pytest.raises(PermissionDeniedError):
        writer.call("add_member", user_id="user_x", role="ops")


def test_a_key_of_one_environment_inserts_into_no_other(door: Door) -> None:
    writer = door.writer(treering_environment="staging")
    events = [usage_event(user_id="user_a", environment="production"), usage_event(user_id="user_b")]
    writer.call("record_usage", events=events)
    writer.call("record_performance", events=[performance_event(user_id="user_c", environment="production")])
    assert environments(door.database) == [("user_a", "staging"), ("user_b", "staging"), ("user_c", "staging")]


def test_the_order_and_what_is_no_event_stay_as_they_were_under_such_a_key(door: Door) -> None:
    assert door.writer(treering_environment="staging").call("record_usage", events=[7, usage_event()]) == 1
    assert door.writer(treering_environment="staging").call("record_usage", events=[]) == 0


def test_the_command_makes_a_key_that_the_api_takes(api: Api, database: TestDatabase) -> None:
    result = run_cli("keys", "create", "--environment", "edge", "--days", "30", env={"SUPABASE_JWT_SECRET": JWT_SECRET})
    assert result.exit_code == 0, result.output
    key = result.stdout.strip()
    claims = jwt.decode(key, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 30 * 24 * 3600
    answer = post(api, key, [usage_event(user_id="user_a")])
    assert (answer.status_code, answer.json()) == (200, 1)
    assert environments(database) == [("user_a", "edge")]


def test_an_expired_key_is_refused(api: Api) -> None:
    settings = load_settings(supabase_jwt_secret=JWT_SECRET)
    then = datetime.now(UTC) - timedelta(days=2)
    key = make_writer_key(settings, issued_at=then, expires_at=then + timedelta(days=1), environment=None)
    answer = post(api, key, [usage_event()])
    assert answer.status_code == 401


def test_a_private_key_signs_where_the_project_has_one(database: TestDatabase) -> None:
    document = private_jwk()
    settings = load_settings(supabase_jwt_signing_key=json.dumps(document), supabase_jwt_secret=JWT_SECRET)
    now = datetime.now(UTC)
    key = make_writer_key(settings, issued_at=now, expires_at=now + timedelta(days=1), environment=None)
    assert jwt.get_unverified_header(key) == {"alg": "ES256", "kid": "key-1", "typ": "JWT"}
    public = {name: value for name, value in document.items() if name != "d"}
    api = Api(jwt_keys=json.dumps({"keys": [public]}))
    api.start(database)
    try:
        answer = post(api, key, [usage_event()])
        assert (answer.status_code, answer.json()) == (200, 1)
    finally:
        api.stop()


@pytest.mark.parametrize(
    "document",
    [
        "not JSON",
        "[]",
        '{"kty": "oct", "k": "c2VjcmV0"}',
        '{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}',
        '{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "leaked-part"}',
    ],
)
def test_what_is_no_private_key_is_refused_without_being_shown(document: str) -> None:
    now = datetime.now(UTC)
    settings = load_settings(supabase_jwt_signing_key=document)
    with pytest.raises(ConfigurationError, match="SUPABASE_JWT_SIGNING_KEY") as caught:
        make_writer_key(settings, issued_at=now, expires_at=now, environment=None)
    assert "leaked-part" not in str(caught.value)


def test_without_anything_to_sign_with_the_command_names_the_variable() -> None:
    result = run_cli("keys", "create", env={"SUPABASE_JWT_SECRET": "", "SUPABASE_JWT_SIGNING_KEY": ""})
    assert result.exit_code == 1
    assert result.stderr.startswith("SUPABASE_JWT_SECRET: ")


@pytest.mark.parametrize(
    "options", [("--days", "0"), ("--days", "4000"), ("--environment", ""), ("--environment", "x" * 201)]
)
def test_a_life_or_environment_that_cannot_be_is_refused(options: tuple[str, str]) -> None:
    assert run_cli("keys", "create", *options, env={"SUPABASE_JWT_SECRET": JWT_SECRET}).exit_code == 2
