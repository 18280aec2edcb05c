"""What the two doors have in common: a function called by name, its arguments, its result as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from pydantic import JsonValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

__all__ = ["Argument", "Database", "JsonValue"]

Argument: TypeAlias = "bool | int | float | str | datetime | Sequence[Argument] | Mapping[str, Argument] | None"


class Database(Protocol):
    """Calls the database's functions as one caller with one role."""

    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        """Call `observability.<function>` with named arguments in a transaction of its own.

        Args:
            function: Name of the function, without its schema.
            **arguments: Its arguments. A mapping or sequence travels as jsonb, a datetime as timestamptz, everything
                else as what the function declares; None is an explicit null.

        Returns:
            The function's result as JSON; None for void.

        Raises:
            DatabaseError: In its subclasses; `retryable` tells whether the same call may succeed later.
        """

    def close(self) -> None:
        """Close all connections; further calls are refused."""
