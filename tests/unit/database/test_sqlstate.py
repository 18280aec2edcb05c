"""What a SQLSTATE stands for."""

from __future__ import annotations

import pytest

from ingest.database.sqlstate import database_error
from ingest.errors import DatabaseError, InvalidArgumentError, PermissionDeniedError


@pytest.mark.parametrize(
    ("message", "sqlstate", "kind"),
    [
        ('role "service_role" does not exist', "22023", PermissionDeniedError),  # a database that was never migrated
        ("at most 400 days", "22023", InvalidArgumentError),
        ("value out of range", "22003", InvalidArgumentError),
        ("duplicate key", "23505", InvalidArgumentError),
    ],
)
def test_a_role_that_is_missing_blames_no_argument(message: str, sqlstate: str, kind: type[DatabaseError]) -> None:
    assert type(database_error(message, sqlstate)) is kind
