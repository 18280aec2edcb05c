"""What Supabase's own tools say of the schema, on the oldest Postgres that it must run on."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from ingest.database import PostgresDatabase
from tests.support import toolchain
from tests.support.events import performance_event, roll_up_all, usage_event

if TYPE_CHECKING:
    from tests.support.servers import TestDatabase

ROOT = Path(__file__).parents[3]
SCHEMAS = ("observability", "observability_internal")


def supabase(database: TestDatabase, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the Supabase command line against the database."""
    return subprocess.run(
        [toolchain.supabase(), *words, f"--remote={database.tcp_url}?sslmode=disable"],
        cwd=ROOT,
        env={**os.environ, "DO_NOT_TRACK": "1", "SUPABASE_TELEMETRY_DISABLED": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def used(postgres15_database: TestDatabase) -> TestDatabase:
    """A database in use: partitions made, rows rolled up."""
    service = PostgresDatabase(postgres15_database.authenticator_url)
    service.call("ensure_partitions")
    service.call("record_usage", events=[usage_event()])
    service.call("record_performance", events=[performance_event()])
    roll_up_all(service)
    service.close()
    return postgres15_database


@pytest.mark.postgres15
def test_supabases_advisors_find_nothing_to_warn_of(used: TestDatabase) -> None:
    result = supabase(used, "db", "advisors", "--level=warn", "--fail-on=warn")
    assert result.returncode == 0, result.stdout


@pytest.mark.postgres15
def test_supabases_advisors_would_find_a_table_without_row_level_security(used: TestDatabase) -> None:
    used.execute("create table observability.forgotten (note text); grant select on observability.forgotten to anon")
    result = supabase(used, "db", "advisors", "--level=warn", "--fail-on=warn")
    assert result.returncode != 0
    findings = json.loads(result.stdout[result.stdout.index("[") :].split("\nfail-on")[0])
    assert [(finding["name"], finding["metadata"]["name"]) for finding in findings] == [
        ("rls_disabled_in_public", "forgotten")
    ]


@pytest.mark.postgres15
def test_supabases_lint_finds_no_fault_in_any_function(used: TestDatabase) -> None:
    result = supabase(used, "db", "lint", f"--schema={','.join(SCHEMAS)}", "--fail-on=warning")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.postgres15
@pytest.mark.parametrize("path", sorted((ROOT / "supabase/tests").glob("*_test.sql")), ids=lambda path: path.stem)
def test_pgtap_passes(postgres15_database: TestDatabase, path: Path) -> None:
    lines: list[str] = []
    with psycopg.connect(postgres15_database.superuser_url, cursor_factory=psycopg.ClientCursor) as connection:
        cursor = connection.execute(path.read_text().encode())
        while True:
            if cursor.description is not None:
                lines += [str(row[0]) for row in cursor.fetchall()]
            if not cursor.nextset():
                break
    planned = next(line for line in lines if line.startswith("1.."))
    assert [line for line in lines if line.startswith(("not ok", "#"))] == []
    assert sum(line.startswith("ok ") for line in "\n".join(lines).splitlines()) == int(planned.removeprefix("1.."))
