"""The direct door: Postgres itself, over a pool of connections, with the caller's role and claims per transaction."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool, PoolTimeout

from ingest.database.postgres_advice import advise
from ingest.database.sqlstate import database_error, function_not_found
from ingest.errors import ConfigurationError, DatabaseError, DatabaseUnavailableError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from ingest.database.contract import Argument, JsonValue

# All settings end with the transaction, as PostgREST does it: nothing stays behind in a pooler. A function's own
# statement_timeout does not bind the statement that calls it, so it is set before; PostgREST does the same. The limit
# is looked up in the same round trip rather than kept: a migration may change it, and it takes microseconds.
_PREPARE = """
select
  set_config('role', %s, true), set_config('request.jwt.claims', %s, true), set_config('timezone', 'UTC', true),
  set_config('statement_timeout', coalesce(
    (
      select split_part(s.setting, '=', 2)
      from pg_catalog.pg_proc as p
      inner join pg_catalog.pg_namespace as n on p.pronamespace = n.oid
      cross join lateral unnest(p.proconfig) as s (setting)
      where n.nspname in ('observability', 'observability_internal') and p.proname = %s
        and s.setting like 'statement_timeout=%%'
      limit 1
    ),
    current_setting('statement_timeout')
  ), true)
"""

_CONNECTION_OPTIONS = {
    "autocommit": True,
    "prepare_threshold": None,  # a transaction pooler forgets prepared statements
    "application_name": "treering",
    "keepalives_idle": 30,  # seconds; a home router or a cloud's gateway drops silent connections after minutes
}


class PostgresDatabase:
    """Calls functions over a direct Postgres connection. Thread-safe; usable after a fork.

    Args:
        conninfo: Address of the database; its user must be allowed to act in `role`.
        role: Database role of every call: service_role, authenticated or anon.
        claims: What the caller's token would say (`sub`); policies read it. The role is added.
        max_connections: Most connections open at once; they are opened when needed.
        timeout_s: Most seconds to wait for a connection.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        role: str = "service_role",
        claims: Mapping[str, JsonValue] | None = None,
        max_connections: int = 4,
        timeout_s: float = 10.0,
    ) -> None:
        check_conninfo(conninfo)
        self._conninfo = conninfo
        self._identity = (role, json.dumps({"role": role, **(claims or {})}))
        self._max_connections = max_connections
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._pool: ConnectionPool | None = None
        self._pool_pid = 0
        self._is_closed = False

    def __repr__(self) -> str:
        return f"PostgresDatabase(role={self._identity[0]!r})"

    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        """Call `observability.<function>` in one transaction; see `Database.call`."""
        query = _compose(function, arguments)
        values = tuple(_to_parameter(value) for value in arguments.values())
        pool = self._ready_pool()
        try:
            with pool.connection() as connection:
                return _call(connection, (*self._identity, function), query, values)
        except psycopg.Error as error:
            failure = translate(error, function, arguments)
            if isinstance(failure, DatabaseUnavailableError):
                pool.check()  # a restarted server has broken the idle connections too
            raise failure from error
        except UnicodeEncodeError as error:
            raise InvalidArgumentError(f"an argument is not valid Unicode: {error.reason}", sqlstate="22P05") from error

    def copy_rows(self, function: str, /, **arguments: date | datetime | str | int | None) -> Iterator[bytes]:
        """Stream the rows of `observability_internal.<function>` as CSV with a header, in one transaction.

        Raises:
            DatabaseError: As `call`.
        """
        query = sql.SQL("copy (select * from observability_internal.{}({})) to stdout (format csv, header)").format(
            sql.Identifier(function),
            sql.SQL(", ").join(
                sql.SQL("{} => {}").format(sql.Identifier(name), sql.Literal(value))
                for name, value in arguments.items()
            ),
        )
        pool = self._ready_pool()
        try:
            with pool.connection() as connection, connection.transaction():
                connection.execute(_PREPARE, (*self._identity, function))
                with connection.cursor().copy(query) as copy:
                    yield from map(bytes, copy)
        except psycopg.Error as error:
            raise translate(error, function, arguments) from error

    def close(self) -> None:
        """Close all connections; further calls are refused."""
        with self._lock:
            pool, self._pool = self._pool, None
            self._is_closed = True
        if pool is not None and self._pool_pid == os.getpid():
            pool.close()

    def _ready_pool(self) -> ConnectionPool:
        with self._lock:
            if self._is_closed:
                raise DatabaseUnavailableError("this database was closed", retryable=False)
            if self._pool is None or self._pool_pid != os.getpid():
                # The parent's pool is dropped, not closed: its sockets belong to the parent.
                self._pool, self._pool_pid = self._open_pool(), os.getpid()
            pool = self._pool
        if not pool.get_stats()["pool_size"]:
            self._probe()
        return pool

    def _open_pool(self) -> ConnectionPool:
        return ConnectionPool(
            self._conninfo,
            kwargs=self._options(),
            min_size=0,
            max_size=self._max_connections,
            timeout=self._timeout_s,
            max_idle=300,
            reconnect_timeout=self._timeout_s,
            num_workers=1,
            open=True,
            name="treering",
        )

    def _probe(self) -> None:
        # The pool itself would retry in the background until the timeout, and then not say why.
        try:
            psycopg.connect(self._conninfo, **self._options()).close()
        except psycopg.Error as error:
            raise translate(error, conninfo=self._conninfo) from error

    def _options(self) -> dict[str, Any]:
        return {
            **_CONNECTION_OPTIONS,
            "connect_timeout": max(2, round(self._timeout_s)),
        }  # libpq takes no less than 2 s


def check_conninfo(conninfo: str) -> None:
    """Refuse an address that cannot be parsed, without repeating any of it: it holds a password.

    Raises:
        ConfigurationError: The address is malformed.
    """
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.Error:
        parts = {"host": "@"}
    # A password with a bare @ or / runs on into the host or the name, which error messages repeat.
    if any("@" in str(parts.get(name, "")) for name in ("host", "port", "dbname")):
        raise ConfigurationError(
            "SUPABASE_DB_URL: must be an address like postgresql://user:password@host:5432/postgres, "
            "with special characters of the password percent-encoded"
        )


def describe(error: psycopg.Error) -> str:
    """Return what Postgres or its client library said, in one line."""
    return error.diag.message_primary or "; ".join(line.strip() for line in str(error).splitlines() if line.strip())


def translate(
    error: psycopg.Error, function: str = "", arguments: Iterable[str] = (), *, conninfo: str = ""
) -> DatabaseError:
    """Turn a psycopg error into ours.

    Args:
        error: What psycopg raised.
        function: Name of the function that was called.
        arguments: Names of its arguments.
        conninfo: The address where the connection itself failed, for advice.
    """
    if error.sqlstate is not None:
        # With a context, the missing function is one that our function calls, which is another failure.
        if function and error.sqlstate == "42883" and error.diag.context is None:
            return function_not_found(function, arguments)
        return database_error(describe(error), error.sqlstate)
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailableError("all connections to the database are busy")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        said = describe(error)
        advice = advise(conninfo, said) if conninfo else ""
        return DatabaseUnavailableError(f"the database cannot be reached: {said}{advice and '; ' + advice}")
    if isinstance(error, psycopg.DataError):
        return InvalidArgumentError(describe(error), sqlstate="22P05")  # the client library found a NUL character
    return DatabaseError(describe(error))


def _compose(function: str, arguments: Mapping[str, Argument]) -> sql.Composed:
    # In the from clause the function runs once; void has no JSON form, so its type is asked for.
    return sql.SQL(
        "select to_json(result), pg_typeof(result) = 'void'::regtype from observability.{}({}) as result"
    ).format(
        sql.Identifier(function),
        sql.SQL(", ").join(sql.SQL("{} => %s").format(sql.Identifier(name)) for name in arguments),
    )


def _to_parameter(value: Argument) -> Jsonb | str | None:
    """Leave the type to the function's own declaration, as text does, except for JSON documents."""
    match value:
        case None | str():
            return value
        case bool() | int() | float():
            return json.dumps(value)
        case datetime():
            return value.isoformat()
        case Mapping() | Sequence():
            return Jsonb(value)


def _call(
    connection: psycopg.Connection, preparation: tuple[str, str, str], query: sql.Composed, values: tuple[object, ...]
) -> JsonValue:
    # Both statements travel in one pipeline: one round trip, and one transaction that ends where the pipeline does.
    with connection.pipeline():
        connection.execute(_PREPARE, preparation)
        cursor = connection.execute(query, values)
    row = cursor.fetchone()
    if row is None or row[1]:
        return None
    return cast("JsonValue", row[0])
