"""Applies the migrations and keeps a history of its own; `supabase_migrations` belongs to the database's owner."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from ingest.database.postgres import check_conninfo, describe, translate
from ingest.database.sql_statements import split_statements
from ingest.errors import MigrationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = Path(__file__).parent
_PACKAGE = _FOLDER.parent
_PACKAGED_MIGRATIONS = _PACKAGE / "_migrations"
_CHECKOUT_MIGRATIONS = _PACKAGE.parent / "supabase" / "migrations"

# What the Supabase command line takes for a migration; anything else in the folder is left alone.
_FILE_NAME = re.compile(r"(?P<version>\d+)_(?P<name>.*)\.sql")

# Any number will do as long as no other program on the database locks it: the letters "treering" as a bigint.
LOCK_KEY = int.from_bytes(b"treering", "big", signed=True)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the migrations folder.

    Attributes:
        version: Digits in front of the file name; the order of application and the key of our history.
        name: The rest of the file name without its ending.
        sql: The whole text.
    """

    version: str
    name: str
    sql: str

    @property
    def title(self) -> str:
        """The file name without its ending."""
        return f"{self.version}_{self.name}"

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return sha256(self.sql.encode()).hexdigest()


def find_migrations_folder() -> Path:
    """Find the migrations: inside the installed package, else in the checkout that is running.

    Raises:
        MigrationError: Neither is there.
    """
    for folder in (_PACKAGED_MIGRATIONS, _CHECKOUT_MIGRATIONS):
        if folder.is_dir():
            return folder
    raise MigrationError("the migrations are missing from this installation of Treering: install it again")


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """Read all migrations of a folder (by default Treering's own), oldest first."""
    return sorted(
        (
            Migration(match["version"], match["name"], path.read_text(encoding="utf-8"))
            for path in (folder or find_migrations_folder()).iterdir()
            if (match := _FILE_NAME.fullmatch(path.name))
        ),
        key=lambda migration: migration.version,
    )


def apply_migrations(conninfo: str, *, folder: Path | None = None) -> list[str]:
    """Bring a database up to date.

    A plain Postgres first gets the roles and functions that Supabase brings along. Each migration runs in a transaction
    of its own together with its row in `observability_internal.migrations`, which the first of them creates. Several
    callers at once wait for one another, and each migration is applied once.

    Args:
        conninfo: Address of the database, with a user that may create schemas (and roles, on a plain Postgres).
        folder: Where the migrations are; by default those that came with this version of Treering.

    Returns:
        The file names, without ending, of the migrations applied by this call, in order.

    Raises:
        MigrationError: A statement failed, named with its file and line; its migration left no trace. Or the database
            was set up by an unreleased version of Treering, or by one whose files differ.
        DatabaseUnavailableError: The database could not be reached.
    """
    check_conninfo(conninfo)
    migrations = read_migrations(folder)
    try:
        with psycopg.connect(
            conninfo, autocommit=True, prepare_threshold=None, application_name="treering migrate"
        ) as connection:
            _bootstrap(connection)
            applied = [migration.title for migration in migrations if _apply(connection, migration)]
            if applied:
                connection.execute("notify pgrst, 'reload schema'")  # PostgREST picks up the new functions at once
    except psycopg.Error as error:
        raise translate(error, conninfo=conninfo) from error
    return applied


def _bootstrap(connection: psycopg.Connection) -> None:
    with connection.transaction():
        _lock(connection)
        with _explained("bootstrap.sql"):
            connection.execute((_FOLDER / "bootstrap.sql").read_bytes())
            _refuse_unreleased(connection)


def _apply(connection: psycopg.Connection, migration: Migration) -> bool:
    statements = split_statements(migration.sql)
    with connection.transaction():
        _lock(connection)
        if _is_applied(connection, migration):
            return False
        for line, statement in statements:
            with _explained(f"{migration.title}.sql, statement in line {line}"):
                connection.execute(statement.encode())
        connection.execute(
            "select observability_internal.record_migration(%s, %s, %s)",
            (migration.version, migration.name, migration.checksum),
        )
    return True


def _lock(connection: psycopg.Connection) -> None:
    # For the transaction only: a session's lock would be lost or left behind in a transaction pooler.
    connection.execute("select pg_advisory_xact_lock(%s)", (LOCK_KEY,))


def _has_history(connection: psycopg.Connection) -> bool:
    found = connection.execute("select to_regclass('observability_internal.migrations') is not null").fetchone()
    return bool(found and found[0])


def _is_applied(connection: psycopg.Connection, migration: Migration) -> bool:
    if not _has_history(connection):
        return False
    found = connection.execute(
        "select m.checksum from observability_internal.migrations as m where m.version = %s", (migration.version,)
    ).fetchone()
    if found is not None and found[0] != migration.checksum:
        raise MigrationError(
            f"{migration.title}.sql: this database was set up with another text of it; "
            "files never change after a release, so use the version of Treering that set it up, or a new database"
        )
    return found is not None


def _refuse_unreleased(connection: psycopg.Connection) -> None:
    """Databases from before the first release kept their history in `supabase_migrations`, of files that are gone."""
    found = connection.execute("select to_regnamespace('observability_internal') is not null").fetchone()
    if found and found[0] and not _has_history(connection):
        raise MigrationError(
            "this database was set up by an unreleased version of Treering, which cannot be brought up to date: export "
            "what you need, drop the schemas observability and observability_internal, delete Treering's versions "
            "(20261123…) from supabase_migrations.schema_migrations, and migrate again"
        )


@contextmanager
def _explained(place: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate is None:  # the connection is gone: not the migration's fault
            raise
        raise MigrationError(f"{place}: {describe(error)}", sqlstate=error.sqlstate) from error
