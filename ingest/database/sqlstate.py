"""Which error a SQLSTATE maps to; shared by both doors, so that they cannot differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    FunctionNotFoundError,
    InvalidArgumentError,
    PermissionDeniedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

# Deadlocks, serialization failures and locks that were not free in time: the same call succeeds once others are done.
_RETRYABLE = ("40001", "40P01", "55P03")


def database_error(message: str, sqlstate: str | None) -> DatabaseError:
    """Return the error for a SQLSTATE.

    Args:
        message: What Postgres said in its primary message.
        sqlstate: Postgres's code, https://www.postgresql.org/docs/current/errcodes-appendix.html.
    """
    if sqlstate == "22023" and message.startswith('role "'):
        # An invalid value to Postgres, but of the connection's own set-up: no argument is to blame.
        return PermissionDeniedError(f"{message}: run `treering migrate`", sqlstate=sqlstate)
    match (sqlstate or "")[:2]:
        case "22" | "23" | "P0":
            return InvalidArgumentError(message, sqlstate=sqlstate)
        case "28":
            return PermissionDeniedError(message, sqlstate=sqlstate)
        case "08" | "53" | "57":
            return DatabaseUnavailableError(message, sqlstate=sqlstate)
    match sqlstate:
        case "42501":
            return PermissionDeniedError(message, sqlstate=sqlstate)
        case "42883" | "3F000":  # without any migration the schema itself is missing
            return FunctionNotFoundError(message, sqlstate=sqlstate)
    return DatabaseError(message, sqlstate=sqlstate, retryable=sqlstate in _RETRYABLE)


def function_not_found(function: str, names: Iterable[str]) -> FunctionNotFoundError:
    """Return the error for a function that does not exist or does not take these arguments."""
    signature = f"observability.{function}({', '.join(sorted(names))})"
    return FunctionNotFoundError(
        f"the database has no function {signature}: apply the migrations of this version",
        sqlstate="42883",
    )
