"""docs/reference/http.md and openapi.yaml, held against the real API."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from openapi_spec_validator.readers import read_from_filename

from tests.support.api import PUBLISHABLE_KEY, Api, make_token
from tests.support.doors import Door

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
FUNCTIONS = ("record_usage", "record_performance")
SCHEMAS = {"record_usage": "Call", "record_performance": "Request"}
TABLES = {"record_usage": "ai_usage_metrics", "record_performance": "performance_metrics"}
OWN_COLUMNS = {"batch_id", "received_at"}

# How a column's type reads in JSON. numeric also takes text, which keeps every digit.
JSON_TYPES = {
    "uuid": {"string"},
    "timestamptz": {"string"},
    "text": {"string"},
    "bytea": {"string"},
    "bool": {"boolean"},
    "int8": {"integer"},
    "int4": {"integer"},
    "numeric": {"number", "string"},
    "float8": {"number"},
    "jsonb": {"object"},
}


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    document, _ = read_from_filename(str(REFERENCE / "openapi.yaml"))
    return dict(document)


@pytest.fixture
def door(database: Any) -> Iterator[Door]:
    door = Door("postgrest", database)
    yield door
    door.close()


def resolve(contract: dict[str, Any], part: Any) -> Any:
    """Follow a reference within the document; what stands beside it counts too."""
    if "$ref" not in part:
        return part
    found: Any = contract
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return {**found, **{name: value for name, value in part.items() if name != "$ref"}}


def operation(contract: dict[str, Any], function: str) -> dict[str, Any]:
    found: dict[str, Any] = contract["paths"][f"/rest/v1/rpc/{function}"]["post"]
    return found


def example(contract: dict[str, Any], function: str) -> dict[str, Any]:
    (event,) = operation(contract, function)["requestBody"]["content"]["application/json"]["example"]["events"]
    return dict(event)


def post(api: Api, function: str, body: Any, **headers: str) -> httpx.Response:
    sent = {
        "apikey": PUBLISHABLE_KEY,
        "Authorization": f"Bearer {make_token(None, 'treering_writer')}",
        "Content-Profile": "observability",
        **headers,
    }
    return httpx.post(f"{api.url}/rest/v1/rpc/{function}", json=body, headers=sent, timeout=60)


def columns(door: Door, function: str) -> dict[str, str]:
    """The fields that the SQL function reads of an event, with their types."""
    query = (
        "select a.attname, t.typname from pg_attribute as a inner join pg_type as t on a.atttypid = t.oid"
        " where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped"
    )
    with psycopg.connect(door.database.superuser_url) as connection:
        rows = connection.execute(query, [f"observability_internal.{TABLES[function]}"]).fetchall()
    usage = {"usage": "jsonb"} if function == "record_usage" else {}
    return {name: kind for name, kind in rows if name not in OWN_COLUMNS} | usage


def test_the_document_is_valid_openapi(contract: dict[str, Any]) -> None:
    validate(contract)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_document_names_every_field_that_the_function_reads(
    door: Door, contract: dict[str, Any], function: str
) -> None:
    properties = contract["components"]["schemas"][SCHEMAS[function]]["properties"]
    described = {}
    for name, part in properties.items():
        kinds = resolve(contract, part)["type"]
        described[name] = {kinds} if isinstance(kinds, str) else set(kinds) - {"null"}
    assert described == {name: JSON_TYPES[kind] for name, kind in columns(door, function).items()}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_documents_example_is_stored_once(door: Door, contract: dict[str, Any], function: str) -> None:
    event = example(contract, function)
    OAS31Validator(
        {**contract["components"]["schemas"][SCHEMAS[function]], "components": contract["components"]}
    ).validate(event)
    answers = [post(door.api, function, {"events": [event]}) for _ in range(2)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, 1), (200, 0)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_exactly_the_required_fields_are_required(door: Door, contract: dict[str, Any], function: str) -> None:
    required = contract["components"]["schemas"][SCHEMAS[function]]["required"]
    bare = {name: value for name, value in example(contract, function).items() if name in required}
    assert set(bare) == set(required)

    def stored(event: dict[str, Any]) -> int:
        count: int = post(door.api, function, {"events": [event]}).json()
        return count

    assert stored(bare) == 1
    for name in required:
        event = {**bare, "event_id": str(uuid.uuid4())}
        del event[name]
        assert (name, stored(event)) == (name, 0)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_documents_defaults_are_the_databases(door: Door, contract: dict[str, Any], function: str) -> None:
    schema = contract["components"]["schemas"][SCHEMAS[function]]
    defaults = {name: part["default"] for name, part in schema["properties"].items() if "default" in part}
    bare = {name: value for name, value in example(contract, function).items() if name in schema["required"]}
    if function == "record_usage":
        bare |= {"prompt_tokens": 0, "completion_tokens": 0}  # without both, the call is flagged as not reported
    post(door.api, function, {"events": [bare]})
    with psycopg.connect(door.database.superuser_url) as connection:
        query = f"select to_jsonb(m) from observability_internal.{TABLES[function]} as m"
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    kept = {name: value for name, value in row[0].items() if value is not None and name in schema["properties"]}
    unpriced = {"cost_source": "unpriced"} if function == "record_usage" else {}
    assert {name: value for name, value in kept.items() if name not in schema["required"]} == {**defaults, **unpriced}


def refusals(api: Api, function: str) -> dict[str, httpx.Response]:
    """An answer of each kind that the document names."""
    expired = make_token(None, "treering_writer", exp=1_700_000_000, iat=1_600_000_000)
    missing = post(api, f"{function}_2", {"events": []})
    return {
        "400": post(api, function, {"events": 7}),
        "401": post(api, function, {"events": []}, Authorization=f"Bearer {expired}"),
        "403": post(api, function, {"events": []}, Authorization=f"Bearer {make_token('user_a')}"),
        "404": missing,
        "406": post(api, function, {"events": []}, **{"Content-Profile": "observability_internal"}),
    }


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_refusal_is_as_the_document_says(door: Door, contract: dict[str, Any], function: str) -> None:
    described = operation(contract, function)["responses"]
    answers = refusals(door.api, function)
    assert {*answers, "200", "default"} == set(described)
    for status, answer in answers.items():
        assert answer.status_code == int(status)
        problem = resolve(contract, described[status])["content"]["application/json"]["schema"]
        OAS31Validator({**resolve(contract, problem), "components": contract["components"]}).validate(answer.json())


def test_the_guide_names_the_same_answers(contract: dict[str, Any]) -> None:
    guide = (REFERENCE / "http.md").read_text(encoding="utf-8")
    for status in operation(contract, "record_usage")["responses"]:
        assert status == "default" or re.search(rf"^\| {status}\b", guide, re.MULTILINE)


def test_the_guides_ten_lines_of_curl_record_a_call(door: Door) -> None:
    guide = (REFERENCE / "http.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```bash\n(.*?)```", guide, re.DOTALL)
    assert script.count("\n") <= 10
    environment = {
        "PATH": os.environ["PATH"],
        "SUPABASE_URL": door.api.url,
        "SUPABASE_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
        "TREERING_KEY": make_token(None, "treering_writer"),
    }
    result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "1"), result.stderr
    with psycopg.connect(door.database.superuser_url) as connection:
        row = connection.execute(
            "select user_id, model, prompt_tokens, completion_tokens from observability_internal.ai_usage_metrics"
        ).fetchall()
    assert row == [("user_2abc", "gpt-4o", 150, 50)]
