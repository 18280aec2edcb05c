"""Lends databases to tests, and makes one as new when it comes back: making another would take ten times as long.

A database that cannot be made as new, because its schema, its rights, its settings or a row that came with the
migrations changed, is dropped.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql

from tests.support.api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Server, TestDatabase

# What a table, function, policy, … is, but for the partitions of months that rows have made: those are dropped first.
_SCHEMA: LiteralString = """
with spaces as (
  select oid from pg_namespace where nspname not like 'pg\\_%' and nspname <> 'information_schema'
), parts (part) as (
  select concat_ws(' ', 'space', oid, nspname, nspacl) from pg_namespace
    where oid in (select oid from spaces)
  union all select concat_ws(' ', 'relation', oid, relname, relacl, relrowsecurity, reloptions) from pg_class
    where relnamespace in (select oid from spaces)
  union all select concat_ws(' ', 'column', attrelid, attnum, attname, atttypid, attacl, attnotnull, attisdropped)
    from pg_attribute where attrelid in (select oid from pg_class where relnamespace in (select oid from spaces))
  union all select concat_ws(' ', 'function', oid, proname, proacl, proconfig, provolatile, prosecdef, md5(prosrc))
    from pg_proc where pronamespace in (select oid from spaces)
  union all select concat_ws(' ', 'constraint', oid, conname) from pg_constraint
  union all select concat_ws(' ', 'trigger', oid, tgname, tgenabled) from pg_trigger where not tgisinternal
  union all select concat_ws(' ', 'policy', oid, polname) from pg_policy
  union all select concat_ws(' ', 'extension', oid, extname) from pg_extension
  union all select concat_ws(' ', 'acl', oid, defaclacl) from pg_default_acl
  union all select concat_ws(' ', 'setting', setrole, setconfig) from pg_db_role_setting
    where setdatabase in (0, (select oid from pg_database where datname = current_database()))
  union all select concat_ws(' ', 'type', oid, typname) from pg_type where typnamespace in (select oid from spaces)
)
select md5(string_agg(part, ',' order by part)) from parts
"""
_TABLES: LiteralString = (
    "select relname from pg_class where relnamespace = 'observability_internal'::regnamespace"
    " and relkind in ('r', 'p') and not relispartition"
)
_OTHERS: LiteralString = (
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
    " and pid <> pg_backend_pid() and application_name not like 'PostgREST%'"
)
_PARTITIONS: LiteralString = (
    "select c.relname from pg_class c where c.relispartition and c.relkind = 'r'"
    " and c.relnamespace = 'observability_internal'::regnamespace"
)
_FILLED: LiteralString = (
    "select relname from pg_class where relnamespace = 'observability_internal'::regnamespace and relkind = %s"
    " and not relispartition and pg_relation_size(oid) > 0"
)
_REFERENCES: LiteralString = (
    "select b.relname, a.relname from pg_constraint c join pg_class a on a.oid = c.conrelid"
    " join pg_class b on b.oid = c.confrelid where c.contype = 'f'"
)
_RESTART: LiteralString = (
    "select setval(s.seqrelid, s.seqstart, false) from pg_sequence s join pg_class c on c.oid = s.seqrelid"
    " where c.relnamespace = 'observability_internal'::regnamespace and pg_sequence_last_value(s.seqrelid) is not null"
)


@dataclass(frozen=True)
class _Origin:
    """What a new database is like.

    Attributes:
        schema: A digest of its catalogue.
        rows: The tables that have rows, and a digest of these.
        references: Which tables refer to a table.
    """

    schema: str
    rows: dict[str, str]
    references: dict[str, set[str]]


@dataclass
class Lender:
    """Lends the databases of one server.

    Attributes:
        server: Where they are.
    """

    server: Server
    _free: list[TestDatabase] = field(default_factory=list)
    _apis: dict[str, Api] = field(default_factory=dict)

    @contextmanager
    def lend(self) -> Iterator[TestDatabase]:
        """Lend a migrated database in which nothing has happened."""
        origin = self._origin  # before the first is lent
        database = self._free.pop() if self._free else self.server.create_database()
        yield database
        api = self._apis.get(database.name)
        if (api is None or api.is_as_new()) and _renew(database, origin):
            self._free.append(database)
        else:
            self._discard(database)

    def api(self, database: TestDatabase) -> Api:
        """The API of a database that is lent; it stays for the next who borrows it."""
        if database.name not in self._apis:
            api = Api()
            api.start(database)
            self._apis[database.name] = api
        return self._apis[database.name]

    def stop_api(self, database: TestDatabase) -> None:
        """Stop the API of a database, if it runs: it knows the functions of when it was started."""
        if (api := self._apis.pop(database.name, None)) is not None:
            api.stop()

    def close(self) -> None:
        for database in self._free:
            self._discard(database)

    @cached_property
    def _origin(self) -> _Origin:
        database = self.server.create_database()
        self._free.append(database)
        with psycopg.connect(database.superuser_url) as connection:
            references: dict[str, set[str]] = {}
            for name, by in connection.execute(_REFERENCES).fetchall():
                references.setdefault(name, set()).add(by)
            tables = [name for (name,) in connection.execute(_TABLES).fetchall()]
            return _Origin(_ask(connection, _SCHEMA), _digests(connection, tables), references)

    def _discard(self, database: TestDatabase) -> None:
        self.stop_api(database)
        database.drop()


def _renew(database: TestDatabase, origin: _Origin) -> bool:
    """Make a database as new; returns whether it is."""
    try:
        with psycopg.connect(database.superuser_url) as connection:
            connection.execute("set lock_timeout = '5s'")
            connection.execute(_OTHERS)
            _run(connection, "drop table {}", [name for (name,) in connection.execute(_PARTITIONS).fetchall()])
            if _ask(connection, _SCHEMA) != origin.schema:
                return False
            filled = {name for (name,) in connection.execute(_FILLED, ["r"]).fetchall()}
            if _digests(connection, [*origin.rows]) != origin.rows:
                return False
            emptied = filled - origin.rows.keys()
            while more := {by for name in emptied for by in origin.references.get(name, ())} - emptied:
                emptied |= more
            if emptied & origin.rows.keys():
                return False
            _run(connection, "truncate {} restart identity", sorted(emptied))
            for (name,) in connection.execute(_FILLED, ["m"]).fetchall():
                _run(connection, "refresh materialized view {}", [name])
            connection.execute(_RESTART)
    except psycopg.Error:
        return False
    return True


def _ask(connection: psycopg.Connection[Any], query: LiteralString) -> str:
    row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def _digests(connection: psycopg.Connection[Any], tables: list[str]) -> dict[str, str]:
    query = sql.SQL(" union all ").join(
        sql.SQL("select {}, md5(string_agg(t::text, ',' order by t::text)) from observability_internal.{} as t").format(
            name, sql.Identifier(name)
        )
        for name in tables
    )
    return {name: digest for name, digest in connection.execute(query).fetchall() if digest is not None}


def _run(connection: psycopg.Connection[Any], statement: LiteralString, names: list[str]) -> None:
    if names:
        identifiers = sql.SQL(", ").join(sql.Identifier("observability_internal", name) for name in names)
        connection.execute(sql.SQL(statement).format(identifiers))
