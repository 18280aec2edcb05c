"""The two doors to a test's database, opened as any role the test needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ingest.database import Database, PostgresDatabase, SupabaseDatabase
from tests.support.api import PUBLISHABLE_KEY, SECRET_KEY, Api, make_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import TestDatabase

DoorName = Literal["postgres", "postgrest"]


class Door:
    """Opens `Database` objects of one kind and closes them after the test.

    Attributes:
        name: "postgres" for the direct connection, "postgrest" for Supabase's API.
        database: The database behind it, for set-up as the superuser.

    Args:
        name: Which kind.
        database: The database.
        lend_api: Gives a running API of this database, which somebody else stops.
    """

    def __init__(
        self, name: DoorName, database: TestDatabase, lend_api: Callable[[TestDatabase], Api] | None = None
    ) -> None:
        self.name = name
        self.database = database
        self._opened: list[Database] = []
        self._api: Api | None = None
        self._lend_api = lend_api

    @property
    def api(self) -> Api:
        """The API; it starts when first needed."""
        if self._lend_api is not None:
            return self._lend_api(self.database)
        if self._api is None:
            api = Api()
            api.start(self.database)
            self._api = api
        return self._api

    def service(self) -> Database:
        """Open as service_role."""
        if self.name == "postgres":
            return self._keep(PostgresDatabase(self.database.authenticator_url))
        return self._keep(SupabaseDatabase(self.api.url, SECRET_KEY))

    def viewer(self, user_id: str, **claims: str) -> Database:
        """Open as a signed-in person; further claims go into the token."""
        if self.name == "postgres":
            known = {"sub": user_id, **claims}
            return self._keep(PostgresDatabase(self.database.authenticator_url, role="authenticated", claims=known))
        token = make_token(user_id, **claims)
        return self._keep(SupabaseDatabase(self.api.url, PUBLISHABLE_KEY, access_token=token))

    def anonymous(self) -> Database:
        """Open as somebody who has not signed in."""
        if self.name == "postgres":
            return self._keep(PostgresDatabase(self.database.authenticator_url, role="anon"))
        return self._keep(SupabaseDatabase(self.api.url, PUBLISHABLE_KEY))

    def writer(self, **claims: str) -> Database:
        """Open as a program with an insert-only key; further claims go into the key."""
        if self.name == "postgres":
            return self._keep(
                PostgresDatabase(self.database.authenticator_url, role="treering_writer", claims={**claims})
            )
        key = make_token(None, "treering_writer", **claims)
        return self._keep(SupabaseDatabase(self.api.url, PUBLISHABLE_KEY, access_token=key))

    def close(self) -> None:
        for database in self._opened:
            database.close()
        if self._api is not None:
            self._api.stop()

    def _keep(self, database: Database) -> Database:
        self._opened.append(database)
        return database
