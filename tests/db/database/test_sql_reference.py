"""The reference of the SQL functions names what the database has: names, arguments, and whom they are granted to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.support.doors import Door

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "sql.md"
ROW = re.compile(r"^\| `(?P<signature>\w+\([^`]*\))` \| (?P<who>\w+) \| \S.*\. ?\|$", re.MULTILINE)


def documented() -> dict[str, str]:
    """The least role of each function, by its signature as the page has it."""
    return {row["signature"]: row["who"] for row in ROW.finditer(REFERENCE.read_text(encoding="utf-8"))}


@pytest.fixture
def granted(direct: Door) -> dict[str, bool]:
    """Whether people may call each function of the exposed schema, by its signature."""
    with psycopg.connect(direct.database.superuser_url) as connection:
        rows = connection.execute(
            "select proname, pg_get_function_arguments(oid), has_function_privilege('authenticated', oid, 'execute')"
            " from pg_proc where pronamespace = 'observability'::regnamespace"
        ).fetchall()
    return {signature(name, arguments): is_granted for name, arguments, is_granted in rows}


def signature(name: str, arguments: str) -> str:
    short = arguments.replace("timestamp with time zone", "timestamptz").replace(" DEFAULT ", " = ")
    return f"{name}({re.sub(r'::[a-z ]+?(?=,|$)', '', short).replace('NULL', 'null')})"


def test_every_function_is_documented_with_its_arguments_and_no_other(granted: dict[str, bool]) -> None:
    assert sorted(documented()) == sorted(granted)


def test_who_may_call_a_function_agrees_with_its_grant(granted: dict[str, bool]) -> None:
    assert {name for name, who in documented().items() if who == "service"} == {
        name for name, is_granted in granted.items() if not is_granted
    }
    assert set(documented().values()) == {"member", "analyst", "ops", "service"}
