"""Looks for a person in every table of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from tests.support.servers import TestDatabase


def traces(database: TestDatabase, needle: str) -> list[str]:
    """Every table of ours with a row whose text holds the needle."""
    found = []
    with psycopg.connect(database.superuser_url) as connection:
        tables = connection.execute(
            "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname in ('observability', 'observability_internal') and c.relkind in ('r', 'm')"
        ).fetchall()
        for schema, table in tables:
            query = sql.SQL("select count(*) from {}.{} as t where t::text like %s").format(
                sql.Identifier(schema), sql.Identifier(table)
            )
            row = connection.execute(query, [f"%{needle}%"]).fetchone()
            assert row is not None
            if row[0]:
                found.append(f"{schema}.{table}")
    return found
