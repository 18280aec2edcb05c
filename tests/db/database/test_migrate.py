from __future__ import annotations

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

from ingest.database import migrate
from ingest.database.migrate import apply_migrations, find_migrations_folder, read_migrations
from ingest.errors import ConfigurationError, DatabaseUnavailableError, MigrationError
from tests.support import toolchain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import TestDatabase

FIRST = """-- Purpose: a; b
create schema one;

/* a block; a comment */
create table one.t (id int, words text default 'a;b');
create function one.f() returns int language plpgsql as $$
begin
  return 1; -- inner; comment
end;
$$;
create function one.g() returns int language sql begin atomic select 1; select 2; end;
insert into one.t values (1, E'it\\'s; so'), (2, $tag$ ; $tag$);
-- last words
"""
SECOND = "create table one.u (id int);;\n\ncreate table one.v (id int)\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project as the Supabase command line expects it, with two migrations and a file that is none."""
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (tmp_path / "supabase" / "config.toml").write_text('project_id = "test"\n')
    (folder / "20260101000000_create_one.sql").write_text(FIRST)
    (folder / "20260102000000_add_two.sql").write_text(SECOND)
    (folder / "notes.sql").write_text("this is no migration")
    return tmp_path


@pytest.fixture
def folder(project: Path) -> Path:
    return project / "supabase" / "migrations"


def push(project: Path, database: TestDatabase) -> str:
    command = [str(toolchain.supabase()), "db", "push", "--yes", f"--remote={database.tcp_url}"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def history(database: TestDatabase) -> list[tuple[object, ...]]:
    return query(database, "select version, name, statements from supabase_migrations.schema_migrations order by 1")


def query(database: TestDatabase, text: LiteralString) -> list[tuple[object, ...]]:
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(text).fetchall()


def test_migrations_apply_in_order_and_only_once(empty_database: TestDatabase, folder: Path) -> None:
    applied = apply_migrations(empty_database.superuser_url, folder=folder)
    assert applied == ["20260101000000_create_one", "20260102000000_add_two"]
    assert apply_migrations(empty_database.superuser_url, folder=folder) == []
    assert query(empty_database, "select one.f(), one.g(), (select max(words) from one.t)") == [(1, 2, "it's; so")]


def test_the_history_is_the_one_that_supabase_writes(
    empty_database: TestDatabase, every_postgres: TestDatabase, project: Path, folder: Path
) -> None:
    push(project, empty_database)
    apply_migrations(every_postgres.superuser_url, folder=folder)
    assert history(every_postgres) == history(empty_database)
    columns: LiteralString = """
      select column_name, data_type, is_nullable from information_schema.columns
      where table_name = 'schema_migrations' order by ordinal_position
    """
    assert query(every_postgres, columns) == query(empty_database, columns)


def test_supabase_goes_on_where_we_stopped(empty_database: TestDatabase, project: Path, folder: Path) -> None:
    apply_migrations(empty_database.superuser_url, folder=folder)
    assert "up to date" in push(project, empty_database)
    (folder / "20260103000000_add_three.sql").write_text("create table one.w (id int);")
    assert "20260103000000_add_three.sql" in push(project, empty_database)
    assert apply_migrations(empty_database.superuser_url, folder=folder) == []


def test_we_go_on_where_supabase_stopped(empty_database: TestDatabase, project: Path, folder: Path) -> None:
    push(project, empty_database)
    (folder / "20260103000000_add_three.sql").write_text("create table one.w (id int);")
    assert apply_migrations(empty_database.superuser_url, folder=folder) == ["20260103000000_add_three"]
    assert "up to date" in push(project, empty_database)


def test_a_failed_migration_leaves_nothing_and_is_named_with_its_line(
    empty_database: TestDatabase, folder: Path
) -> None:
    (folder / "20260103000000_break.sql").write_text("create table one.w (id int);\n\n\nselect 1 / 0;\n")
    with pytest.raises(MigrationError, match=r"20260103000000_break\.sql, statement in line 4: division by zero") as e:
        apply_migrations(empty_database.superuser_url, folder=folder)
    assert e.value.sqlstate == "22012"
    assert query(empty_database, "select to_regclass('one.w')") == [(None,)]
    assert [row[0] for row in history(empty_database)] == ["20260101000000", "20260102000000"]


def test_migrators_at_the_same_time_apply_each_migration_once(empty_database: TestDatabase, folder: Path) -> None:
    barrier = threading.Barrier(4)

    def run(_: int) -> list[str]:
        barrier.wait()
        return apply_migrations(empty_database.superuser_url, folder=folder)

    with ThreadPoolExecutor(4) as pool:
        applied = [title for titles in pool.map(run, range(4)) for title in titles]
    assert sorted(applied) == ["20260101000000_create_one", "20260102000000_add_two"]


def test_the_products_migrations_apply_to_every_postgres(every_postgres: TestDatabase) -> None:
    assert apply_migrations(every_postgres.superuser_url) == [migration.title for migration in read_migrations()]


def test_a_plain_postgres_gets_what_supabase_has(every_postgres: TestDatabase, tmp_path: Path) -> None:
    assert apply_migrations(every_postgres.superuser_url, folder=tmp_path) == []
    roles = query(
        every_postgres,
        """
        select rolname, rolcanlogin, rolinherit, rolbypassrls from pg_roles
        where rolname in ('anon', 'authenticated', 'service_role', 'authenticator') order by 1
        """,
    )
    assert roles == [
        ("anon", False, False, False),
        ("authenticated", False, False, False),
        ("authenticator", True, False, False),
        ("service_role", False, False, True),
    ]
    claims: LiteralString = """
      select set_config('request.jwt.claims',
        '{"sub": "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "role": "authenticated"}', true)
    """
    with psycopg.connect(every_postgres.superuser_url) as connection:
        assert connection.execute("select auth.jwt(), auth.uid(), auth.role()").fetchone() == (None, None, None)
        connection.execute(claims)
        connection.execute("set local role authenticated")
        row = connection.execute("select auth.jwt() ->> 'sub', auth.uid()::text, auth.role()").fetchone()
    assert row == ("6f9619ff-8b86-d011-b42d-00cf4fc964ff",) * 2 + ("authenticated",)


def test_what_supabase_already_has_is_left_alone(empty_database: TestDatabase, tmp_path: Path) -> None:
    empty_database.execute("""
      create schema auth;
      create function auth.jwt() returns jsonb language sql as $$ select '"the original"'::jsonb $$;
    """)
    apply_migrations(empty_database.superuser_url, folder=tmp_path)
    assert query(empty_database, "select auth.jwt(), to_regprocedure('auth.uid()') is not null") == [
        ("the original", True)
    ]


def test_a_user_without_the_right_to_set_up_is_told_so(empty_database: TestDatabase, tmp_path: Path) -> None:
    apply_migrations(empty_database.superuser_url, folder=tmp_path)
    empty_database.execute("drop schema supabase_migrations cascade")
    with pytest.raises(MigrationError, match=r"bootstrap\.sql: permission denied"):
        apply_migrations(empty_database.authenticator_url, folder=tmp_path)


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailableError) as caught:
        apply_migrations(f"postgresql://postgres:geheim@/postgres?host={tmp_path}", folder=tmp_path)
    assert caught.value.retryable
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("password", ["100%geheim", "ge@heim", "ge/heim", "ge:/heim@"])
def test_a_malformed_address_is_refused_without_repeating_it(tmp_path: Path, password: str) -> None:
    with pytest.raises(ConfigurationError, match="SUPABASE_DB_URL") as caught:
        apply_migrations(f"postgresql://postgres:{password}@localhost/postgres", folder=tmp_path)
    assert "heim" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_installed_package_brings_its_migrations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(migrate, "_PACKAGED_MIGRATIONS", tmp_path)
    assert find_migrations_folder() == tmp_path


def test_an_installation_without_migrations_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(migrate, "_PACKAGED_MIGRATIONS", tmp_path / "none")
    monkeypatch.setattr(migrate, "_CHECKOUT_MIGRATIONS", tmp_path / "none")
    with pytest.raises(MigrationError, match="install it again"):
        find_migrations_folder()
