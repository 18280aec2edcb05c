"""Real Postgres servers for tests, each with a template that has all migrations applied."""

from __future__ import annotations

import itertools
import shutil
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import sql

from ingest.database.migrate import apply_migrations
from ingest.local.cluster import PostgresCluster
from tests.support.leftovers import make_folder, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TEMPLATE = "migrated"
_PASSWORD = "only-for-tests"

# The data need not survive a crash.
_SETTINGS: dict[str, str | int] = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": 100,
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "jit": "off",
    "max_parallel_workers_per_gather": 0,
    "autovacuum": "off",
}


@dataclass(frozen=True)
class Server:
    """A running Postgres with one template database."""

    cluster: PostgresCluster
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def start(cls, binaries: Path) -> Server:
        remove_leftovers()
        folder = make_folder()
        cluster = PostgresCluster(binaries, folder / "data", _PASSWORD, port=free_port())
        try:
            cluster.create()
            cluster.start(_SETTINGS)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        server = cls(cluster)
        server._execute(sql.SQL("create database {}").format(sql.Identifier(_TEMPLATE)))
        apply_migrations(cluster.uri(database=_TEMPLATE))
        server._execute(sql.SQL("alter role authenticator password {}").format(sql.Literal(_PASSWORD)))
        return server

    def stop(self) -> None:
        self.cluster.stop()
        shutil.rmtree(self.cluster.folder.parent, ignore_errors=True)

    def create_database(self, *, empty: bool = False) -> TestDatabase:
        """Make a database, with all migrations applied unless it is to be empty."""
        name = f"test_{next(self._numbers)}"
        template = "template1" if empty else _TEMPLATE
        self._execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))
        return TestDatabase(self, name)

    def drop_database(self, name: str) -> None:
        self._execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.cluster.uri(), autocommit=True) as connection:
            connection.execute(statement)


@dataclass(frozen=True)
class TestDatabase:
    """A database of one test.

    Attributes:
        server: Where it is.
        name: Its name there.
    """

    __test__ = False

    server: Server
    name: str

    @property
    def superuser_url(self) -> str:
        return self.server.cluster.uri(database=self.name)

    @property
    def authenticator_url(self) -> str:
        return self.server.cluster.uri(user="authenticator", password=_PASSWORD, database=self.name)

    @property
    def tcp_url(self) -> str:
        """The superuser's address for programs that do not know sockets."""
        return f"postgresql://postgres:{_PASSWORD}@127.0.0.1:{self.server.cluster.port}/{self.name}"

    def execute(self, statements: LiteralString) -> None:
        """Run SQL as the superuser."""
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute(statements)

    def count_rows(self) -> dict[str, int]:
        """How many rows each table of ours has."""
        with psycopg.connect(self.superuser_url) as connection:
            tables = connection.execute(
                "select relname from pg_class where relnamespace = 'observability_internal'::regnamespace"
                " and relkind in ('r', 'p') and not relispartition"
            ).fetchall()
            counts = sql.SQL(" union all ").join(
                sql.SQL("select {}, count(*) from observability_internal.{}").format(name, sql.Identifier(name))
                for (name,) in tables
            )
            return dict(connection.execute(counts).fetchall())

    def drop(self) -> None:
        self.server.drop_database(self.name)


def free_port() -> int:
    """Find a free TCP port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
