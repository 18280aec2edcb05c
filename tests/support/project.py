"""A database as a hosted project has it: its owner is no superuser, and may act in the API's roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from tests.support.servers import TestDatabase

OWNER = "project_owner"
OWNER_PASSWORD = "only-for-the-owner"


def hand_to_owner(database: TestDatabase) -> None:
    """Make the owner, and give the database to it."""
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        if connection.execute("select to_regrole(%s)", [OWNER]).fetchone() == (None,):
            role, password = sql.Identifier(OWNER), sql.Literal(OWNER_PASSWORD)
            connection.execute(sql.SQL("create role {} login createrole createdb bypassrls").format(role))
            connection.execute(sql.SQL("alter role {} password {}").format(role, password))
            grant = "grant anon, authenticated, service_role, treering_writer to {}"
            connection.execute(sql.SQL(grant).format(role))
        name = sql.Identifier(database.name)
        connection.execute(sql.SQL("alter database {} owner to {}").format(name, sql.Identifier(OWNER)))
