"""Every error that Treering raises on purpose, as one tree.

* TreeringError
    - ArchiveError
    - ConfigurationError
    - ProviderError
    - DatabaseError
        · PermissionDeniedError
        · InvalidArgumentError
        · FunctionNotFoundError
        · DatabaseUnavailableError
        · MigrationError
        · EmbeddedServerError

The same failure raises the same class with the same SQLSTATE and the same message, whether the database was reached
through Supabase's API or directly.
"""

from __future__ import annotations


class TreeringError(Exception):
    """Base of every error that Treering raises on purpose."""


class ArchiveError(TreeringError):
    """The archive is incomplete, damaged or at odds with the database; nothing was deleted because of it."""


class ConfigurationError(TreeringError):
    """A setting is missing or wrong; the message names its environment variable."""


class ProviderError(TreeringError):
    """A provider's billing API refused, failed, or returned an unexpected response."""


class DatabaseError(TreeringError):
    """The database refused or failed a call.

    Args:
        message: What the database said, without any credentials.
        sqlstate: Postgres's five-character code; None where the failure never reached Postgres.
        retryable: Whether the same call may succeed later.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.retryable = retryable

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword-only attributes when a worker process hands the error on."""
        return (_rebuild, (type(self), self.message, self.sqlstate, self.retryable))


class PermissionDeniedError(DatabaseError):
    """The caller's role may not do this, or its key or token was not accepted."""


class InvalidArgumentError(DatabaseError):
    """An argument has a wrong type or a value that the function or a constraint refuses."""


class FunctionNotFoundError(DatabaseError):
    """No function of this name takes these arguments: usually the migrations are older than the client."""


class DatabaseUnavailableError(DatabaseError):
    """The database could not be reached or had no time or room; the same call may succeed later."""

    def __init__(self, message: str, *, sqlstate: str | None = None, retryable: bool = True) -> None:
        super().__init__(message, sqlstate=sqlstate, retryable=retryable)


class MigrationError(DatabaseError):
    """A migration failed; the database is as it was before that migration."""


class EmbeddedServerError(DatabaseError):
    """The embedded Postgres could not be installed, started or stopped."""


def _rebuild(kind: type[DatabaseError], message: str, sqlstate: str | None, retryable: bool) -> DatabaseError:
    return kind(message, sqlstate=sqlstate, retryable=retryable)
