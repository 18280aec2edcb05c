"""Migrations and their history, beside a project of Supabase's own."""

from __future__ import annotations

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

from ingest.database import migrate
from ingest.database.migrate import apply_migrations, find_migrations_folder, read_migrations
from ingest.database.migration_copies import copy_migrations
from ingest.errors import ConfigurationError, DatabaseUnavailableError, MigrationError
from tests.support import toolchain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import TestDatabase

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)

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
def folder(tmp_path: Path) -> Path:
    """Treering's first file, which creates the history, two more migrations, and a file that is none."""
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "20260101000000_schemas.sql").write_text(read_migrations()[0].sql)
    (folder / "20260102000000_create_one.sql").write_text(FIRST)
    (folder / "20260103000000_add_two.sql").write_text(SECOND)
    (folder / "notes.sql").write_text("this is no migration")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A customer's project as the Supabase command line expects it, with a migration of their own."""
    theirs = tmp_path / "supabase" / "migrations"
    theirs.mkdir(parents=True)
    (tmp_path / "supabase" / "config.toml").write_text('project_id = "test"\n')
    (theirs / "20260101000000_create_theirs.sql").write_text("create table public.theirs (id int);")
    return tmp_path


def push(project: Path, database: TestDatabase) -> str:
    command = [str(toolchain.supabase()), "db", "push", "--yes", f"--remote={database.tcp_url}"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def history(database: TestDatabase) -> list[tuple[object, ...]]:
    return query(database, "select version, name, checksum from observability_internal.migrations order by 1")


def versions(database: TestDatabase) -> list[object]:
    return [version for version, _, _ in history(database)]


def query(database: TestDatabase, text: LiteralString) -> list[tuple[object, ...]]:
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(text).fetchall()


def test_migrations_apply_in_order_and_only_once(empty_database: TestDatabase, folder: Path) -> None:
    applied = apply_migrations(empty_database.superuser_url, folder=folder)
    assert applied == ["20260101000000_schemas", "20260102000000_create_one", "20260103000000_add_two"]
    assert apply_migrations(empty_database.superuser_url, folder=folder) == []
    assert query(empty_database, "select one.f(), one.g(), (select max(words) from one.t)") == [(1, 2, "it's; so")]


def test_the_history_holds_each_files_checksum(empty_database: TestDatabase, folder: Path) -> None:
    apply_migrations(empty_database.superuser_url, folder=folder)
    assert history(empty_database)[1:] == [
        ("20260102000000", "create_one", sha256(FIRST.encode()).hexdigest()),
        ("20260103000000", "add_two", sha256(SECOND.encode()).hexdigest()),
    ]


def test_supabases_own_history_is_never_touched(empty_database: TestDatabase) -> None:
    apply_migrations(empty_database.superuser_url)
    assert query(empty_database, "select to_regnamespace('supabase_migrations')") == [(None,)]


def test_a_file_that_changed_after_it_was_applied_is_refused(empty_database: TestDatabase, folder: Path) -> None:
    apply_migrations(empty_database.superuser_url, folder=folder)
    (folder / "20260103000000_add_two.sql").write_text("select 1;")
    with pytest.raises(MigrationError, match=r"20260103000000_add_two\.sql: .* another text"):
        apply_migrations(empty_database.superuser_url, folder=folder)


def test_a_database_of_an_unreleased_version_is_recognised(empty_database: TestDatabase) -> None:
    empty_database.execute("create schema observability_internal; create schema observability")
    with pytest.raises(MigrationError, match="set up by an unreleased version"):
        apply_migrations(empty_database.superuser_url)


def test_the_customers_own_push_works_before_and_after_ours(empty_database: TestDatabase, project: Path) -> None:
    assert "create_theirs" in push(project, empty_database)
    apply_migrations(empty_database.superuser_url)
    assert "up to date" in push(project, empty_database)
    (project / "supabase/migrations/20260103000000_add_more.sql").write_text("create table public.more (id int);")
    assert "20260103000000_add_more.sql" in push(project, empty_database)
    assert apply_migrations(empty_database.superuser_url) == []


@pytest.mark.parametrize("pushed_after", [0, 12, 1000])
def test_a_push_of_copies_and_our_own_command_agree_in_any_order(
    empty_database: TestDatabase, project: Path, tmp_path: Path, pushed_after: int
) -> None:
    before = tmp_path / "before"
    before.mkdir()
    for migration in read_migrations()[:pushed_after]:
        (before / f"{migration.title}.sql").write_text(migration.sql)
    apply_migrations(empty_database.superuser_url, folder=before)
    written = copy_migrations(project / "supabase/migrations", now=NOW)
    assert len(written) == len(read_migrations())
    assert written[-1].name in push(project, empty_database)
    assert apply_migrations(empty_database.superuser_url) == []
    assert "up to date" in push(project, empty_database)
    assert history(empty_database) == [(m.version, m.name, m.checksum) for m in read_migrations()]


def test_copies_apply_to_every_postgres(every_postgres: TestDatabase, project: Path) -> None:
    copies = copy_migrations(project / "supabase/migrations", now=NOW)
    nothing = project / "nothing"
    nothing.mkdir()
    apply_migrations(every_postgres.superuser_url, folder=nothing)  # the roles that Supabase has
    with psycopg.connect(every_postgres.superuser_url, autocommit=True) as connection:
        for path in copies:
            connection.execute(path.read_bytes())
    assert versions(every_postgres) == [migration.version for migration in read_migrations()]


def test_copies_come_after_the_newest_file_and_only_once(project: Path, folder: Path) -> None:
    theirs = project / "supabase/migrations"
    (theirs / "20260201000000_newest.sql").write_text("select 1;")
    first = copy_migrations(theirs, now=NOW, source=folder)
    assert [path.name for path in first] == [
        "20260201000001_treering_schemas.sql",
        "20260201000002_treering_create_one.sql",
        "20260201000003_treering_add_two.sql",
    ]
    (folder / "20260104000000_add_three.sql").write_text("select 3;")
    later = copy_migrations(theirs, now=NOW + timedelta(days=365), source=folder)
    assert [path.name for path in later] == ["20270102120000_treering_add_three.sql"]
    assert copy_migrations(theirs, now=NOW, source=folder) == []


def test_a_copy_of_another_text_is_named(project: Path, folder: Path) -> None:
    theirs = project / "supabase/migrations"
    copy_migrations(theirs, now=NOW, source=folder)
    (folder / "20260103000000_add_two.sql").write_text("select 1;")
    with pytest.raises(MigrationError, match=r"treering_add_two\.sql holds another text of 20260103000000_add_two"):
        copy_migrations(theirs, now=NOW, source=folder)


def test_copies_need_a_folder(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="is not a folder"):
        copy_migrations(tmp_path / "missing", now=NOW)


def test_a_failed_migration_leaves_nothing_and_is_named_with_its_line(
    empty_database: TestDatabase, folder: Path
) -> None:
    (folder / "20260104000000_break.sql").write_text("create table one.w (id int);\n\n\nselect 1 / 0;\n")
    with pytest.raises(MigrationError, match=r"20260104000000_break\.sql, statement in line 4: division by zero") as e:
        apply_migrations(empty_database.superuser_url, folder=folder)
    assert e.value.sqlstate == "22012"
    assert query(empty_database, "select to_regclass('one.w')") == [(None,)]
    assert versions(empty_database) == ["20260101000000", "20260102000000", "20260103000000"]


def test_migrators_at_the_same_time_apply_each_migration_once(empty_database: TestDatabase, folder: Path) -> None:
    barrier = threading.Barrier(4)

    def run(_: int) -> list[str]:
        barrier.wait()
        return apply_migrations(empty_database.superuser_url, folder=folder)

    with ThreadPoolExecutor(4) as pool:
        applied = [title for titles in pool.map(run, range(4)) for title in titles]
    assert sorted(applied) == ["20260101000000_schemas", "20260102000000_create_one", "20260103000000_add_two"]


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
    with pytest.raises(MigrationError, match=r"bootstrap\.sql: permission denied"):
        apply_migrations(empty_database.authenticator_url)


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
