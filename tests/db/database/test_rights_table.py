"""Every function, asked by everybody, with honest and with crafted tokens, through both doors: docs/reliability.md."""

from __future__ import annotations

import base64
import hmac
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import psycopg
import pytest
from psycopg import sql

from ingest.errors import InvalidArgumentError
from tests.db.database.test_sql_reference import documented
from tests.support.api import JWT_SECRET, PUBLISHABLE_KEY, SECRET_KEY, Api, make_token
from tests.support.events import NOON, roll_up_all, usage_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.doors import Door

RELIABILITY = Path(__file__).parents[3] / "docs" / "reliability.md"
LEVELS = ("member", "analyst", "ops", "service")
INJECTION = "user_b' or '1'='1"

# Values by the argument's name, else by its type; the arguments of a function that changes something are valid.
BY_NAME: dict[str, Any] = {
    "from_time": NOON.replace(hour=0).isoformat(), "to_time": NOON.replace(hour=13).isoformat(), "filters": {},
    "from_day": "2026-05-04", "to_day": "2026-05-05", "period": "hour", "group_by": "model", "timezone": "UTC",
    "role": "analyst", "user_id": "user_x", "kind": "usage", "events": [], "rows": [], "changes": [], "progress": {},
    "rule": {"name": "r", "metric": "spend", "threshold": "1", "window_s": 3600}, "months_ahead": 1, "days": 1,
    "budget": {"name": "b", "amount": "1", "steps": ["1"], "channels": []}, "schedule": {"kind": "daily"},
    "price": {"model": "m", "valid_from": "2026-05-01", "rates": {"input": "1", "output": "1"}, "source": "s"},
    "term": {"kind": "credit", "amount": "1", "valid_from": "2026-05-01", "source": "s"}, "ttl_s": 5,
    "channel": {"name": "c", "kind": "webhook", "target_url": "https://h.example/x", "sealed": "x"}, "max_rows": 1,
    "scenario": {
        "name": "s", "change": {}, "from_day": "2026-05-04", "to_day": "2026-05-05", "days": 1, "units": 1, "cost": "1",
        "changed_cost": "1",
    },
    "notification_ids": [1], "batch_ids": [], "ends_at": "2030-01-01T00:00:00Z", "as_of": None, "month": "2019-01-01",
}  # fmt: skip
BY_TYPE: dict[str, Any] = {
    "text": "x", "integer": 1, "bigint": 1, "boolean": False, "jsonb": {}, "date": "2026-05-04", "numeric": 1,
    "timestamp with time zone": NOON.isoformat(), "uuid": "0190b0f1-0000-7000-8000-000000000001",
}  # fmt: skip

Function = tuple[str, dict[str, tuple[str, Any]]]


def craft(**claims: Any) -> str:
    """Sign whatever is asked for with the project's key, also what no library would make."""
    body = f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode(claims)}"
    signature = hmac.digest(JWT_SECRET.encode(), body.encode(), "sha256")
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def encode(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def tokens() -> dict[str, str | None]:
    """What each caller sends to the API beside the publishable key; None for a key alone."""
    soon = {"exp": int(time.time()) + 600}
    return {
        "nobody (publishable key)": None,
        "a stranger": make_token("user_stranger"),
        "a member": make_token("user_a"),
        "an analyst": make_token("user_ana"),
        "ops": make_token("user_ops"),
        "the service": SECRET_KEY,
        "signed with another key": jwt.encode(
            {"sub": "user_ops", "role": "authenticated", **soon}, "x" * 40, algorithm="HS256"
        ),
        "signed with another key, as the service": jwt.encode({"role": "service_role", **soon}, "x" * 40),
        "expired": make_token("user_ops", exp=int(time.time()) - 3600),
        "not signed (`alg: none`)": f"{encode({'alg': 'none'})}.{encode({'role': 'service_role', **soon})}.",
        "role of the database's owner": make_token("user_ops", "postgres"),
        "role that does not exist": make_token("user_ops", "ops"),
        "no role": craft(sub="user_ops", **soon),
        "two roles": craft(sub="user_ops", role=["authenticated", "service_role"], **soon),
        "no sub": make_token(None),
        "empty sub": make_token(""),
        "sub is a number": craft(role="authenticated", sub=42, **soon),
        "sub is a list": craft(role="authenticated", sub=["user_ops"], **soon),
        "sub is SQL": make_token(INJECTION),
        "sub with a space": make_token("user_ops "),
    }


def claims_of(name: str, token: str | None) -> dict[str, Any] | None:
    """The same caller for Postgres itself, which has no signatures to check; None where only they tell."""
    if token is None:
        return {"role": "anon"}
    if token == SECRET_KEY:
        return {"role": "service_role"}
    if name.startswith(("signed", "expired", "not signed")):
        return None
    claims: dict[str, Any] = jwt.decode(token, JWT_SECRET, ["HS256"], {"verify_aud": False, "verify_sub": False})
    return claims


@pytest.fixture
def functions(direct: Door) -> list[Function]:
    """Every function of the exposed schema with a value and the type of each argument."""
    with psycopg.connect(direct.database.superuser_url) as connection:
        rows = connection.execute(
            "select p.oid::regproc::text, p.proname, p.proargnames,"
            " array(select format_type(t, null) from unnest(p.proargtypes) as t)"
            " from pg_proc p where p.pronamespace = 'observability'::regnamespace order by 2"
        ).fetchall()
    found = []
    for _, name, names, types in rows:
        arguments = zip(names or [], types, strict=False)
        values = {one: (kind, BY_NAME.get(one, BY_TYPE[kind])) for one, kind in arguments}
        if name == "get_daily_cost":  # of the caller; somebody else's is the analyst's to ask for
            values["user_id"] = ("text", None)
        found.append((name, values))
    return found


@pytest.fixture
def filled(direct: Door) -> Iterator[Api]:
    service = direct.service()
    service.call("record_usage", events=[usage_event(user_id="user_a"), usage_event(user_id="user_b")])
    roll_up_all(service)
    service.call("add_member", user_id="user_ana", role="analyst")
    service.call("add_member", user_id="user_ops", role="ops")
    service.call("add_member", user_id="user_spare", role="ops")
    api = Api(tx_end="rollback")
    api.start(direct.database)
    yield api
    api.stop()


def ask_api(api: Api, token: str | None, functions: list[Function]) -> tuple[set[str], str]:
    """Which functions let the caller in, and what they said."""
    key = SECRET_KEY if token == SECRET_KEY else PUBLISHABLE_KEY
    headers = {"apikey": key, "Content-Profile": "observability", "Authorization": f"Bearer {token or key}"}
    let_in, said = set(), ""
    with httpx.Client(base_url=f"{api.url}/rest/v1/rpc", headers=headers, timeout=60) as client:
        for name, arguments in functions:
            answer = client.post(f"/{name}", json={one: value for one, (_, value) in arguments.items()})
            refused = answer.status_code in (401, 403) or '"role \\"' in answer.text
            if not refused:
                let_in.add(name)
                said += answer.text
    return let_in, said


def ask_postgres(door: Door, claims: dict[str, Any], functions: list[Function]) -> tuple[set[str], str]:
    """The same in Postgres itself, with each call undone."""
    let_in, said = set(), ""
    with psycopg.connect(door.database.authenticator_url, autocommit=True) as connection:
        for name, arguments in functions:
            query = sql.SQL("select to_json(f) from observability.{}({}) as f").format(
                sql.Identifier(name),
                sql.SQL(", ").join(
                    sql.SQL("{} => {}::{}").format(sql.Identifier(one), sql.Placeholder(), sql.SQL(kind))
                    for one, (kind, _) in arguments.items()
                ),
            )
            values = [json.dumps(value) if kind == "jsonb" else value for kind, value in arguments.values()]
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
                    connection.execute("select set_config('role', %s, true)", [str(claims.get("role") or "anon")])
                    said += str(connection.execute(query, values).fetchall())
            except psycopg.Error as error:
                if error.sqlstate in ("42501", "22023") and _is_refusal(error):
                    continue
            let_in.add(name)
    return let_in, said


def _is_refusal(error: psycopg.Error) -> bool:
    return error.sqlstate == "42501" or str(error).startswith('role "')


def level_of(let_in: set[str], who: dict[str, str]) -> str:
    """Whose functions these are: nobody's, or all up to a level."""
    if not let_in:
        return "none"
    for number, level in enumerate(LEVELS):
        if let_in == {name for name, least in who.items() if least in LEVELS[: number + 1]}:
            return f"those of {level}" if level != "service" else "all"
    return f"something else: {sorted(let_in)}"


def test_everybody_is_let_in_where_documented_and_sees_nobody_else(
    direct: Door, filled: Api, functions: list[Function]
) -> None:
    who = {signature.partition("(")[0]: least for signature, least in documented().items()}
    rows = []
    for name, token in tokens().items():
        api, said = ask_api(filled, token, functions)
        claims = claims_of(name, token)
        shown = "—"
        if claims is not None:
            postgres, more = ask_postgres(direct, claims, functions)
            shown, said = level_of(postgres, who), said + more
        others = "everybody's" if "user_b" in said.replace(INJECTION, "") else "own" if "user_a" in said else "nothing"
        rows.append(f"| {name} | {level_of(api, who)} | {shown} | {others} |")
    written = [line for line in RELIABILITY.read_text().splitlines() if line.startswith("| ")]
    assert rows == written[written.index("| --- | --- | --- | --- |") + 1 :][: len(rows)], "\n".join(rows)


def test_filters_of_megabytes_are_refused_at_once(door: Door) -> None:
    viewer = door.viewer("user_a")
    for filters in ({"model": "x" * 20_000_000}, {"user_id": ["x" * 600_000]}, {"metadata": {"k": "x" * 600_000}}):
        with pytest.raises(InvalidArgumentError, match="filters have at most 512 KiB"):
            viewer.call("get_costs", from_time=NOON, to_time=NOON.replace(hour=13), filters=filters)
