"""Every error that Treering raises on purpose, as one tree.

* TreeringError
    - ArchiveError
    - CatalogueError
    - ChildEndedError
    - ConfigurationError
    - FileTooLargeError
    - ForbiddenTargetError
    - ProviderError
    - ReplayError
    - RepriceError
    - TraceError
    - UpError
    - DatabaseError
        · PermissionDeniedError
            - SignInExpiredError
            - SignInTokenError
        · InvalidArgumentError
        · FunctionNotFoundError
        · DatabaseUnavailableError
        · RequestTooLargeError
        · UnexpectedResponseError
        · MigrationError
        · EmbeddedServerError

An argument of a wrong type or value raises Python's own `TypeError` or `ValueError`. `pricing` has a tree of its own,
`pricing.PricingError`.

The same failure raises the same class with the same SQLSTATE and the same message, whether the database was reached
through Supabase's API or directly.
"""

from __future__ import annotations

__all__ = [
    "ArchiveError",
    "CatalogueError",
    "ChildEndedError",
    "ConfigurationError",
    "DatabaseError",
    "DatabaseUnavailableError",
    "EmbeddedServerError",
    "FileTooLargeError",
    "ForbiddenTargetError",
    "FunctionNotFoundError",
    "InvalidArgumentError",
    "MigrationError",
    "PermissionDeniedError",
    "ProviderError",
    "ReplayError",
    "RepriceError",
    "RequestTooLargeError",
    "SignInExpiredError",
    "SignInTokenError",
    "TraceError",
    "TreeringError",
    "UnexpectedResponseError",
    "UpError",
]


class TreeringError(Exception):
    """Base of every error that Treering raises on purpose."""


class ArchiveError(TreeringError):
    """The archive is incomplete, damaged or at odds with the database; nothing was deleted because of it."""


class CatalogueError(TreeringError):
    """The published price catalogue cannot be fetched or is not fit for use; the one in force stays."""


class ChildEndedError(TreeringError):
    """A child process ended without being asked to."""


class ConfigurationError(TreeringError):
    """A setting is missing or wrong; the message names its environment variable."""


class FileTooLargeError(TreeringError):
    """A file has a longer line, or unpacks to more, than its reader takes; the message says where."""


class ForbiddenTargetError(TreeringError):
    """The name leads to an address that may not be sent to."""


class ProviderError(TreeringError):
    """A provider's billing API refused, failed, or returned an unexpected response."""


class ReplayError(TreeringError):
    """The calls of a trace could not all be brought into the database."""


class RepriceError(TreeringError):
    """Repricing stopped; applied corrections stay applied and counted, and the same command resumes."""


class TraceError(TreeringError):
    """A trace cannot be read at all: the file is missing, damaged, or in another format."""


class UpError(TreeringError):
    """`treering up` cannot start or go on; the message says what to do."""


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


class SignInExpiredError(PermissionDeniedError):
    """The viewer's sign-in has expired; signing in again helps."""


class SignInTokenError(PermissionDeniedError):
    """The token of the viewer's sign-in is not one that the project takes; the message says what it lacks."""


class InvalidArgumentError(DatabaseError):
    """An argument has a wrong type or a value that the function or a constraint refuses."""


class FunctionNotFoundError(DatabaseError):
    """No function of this name takes these arguments: usually the migrations are older than the client."""


class DatabaseUnavailableError(DatabaseError):
    """The database could not be reached or had no time or room; the same call may succeed later."""

    def __init__(self, message: str, *, sqlstate: str | None = None, retryable: bool = True) -> None:
        super().__init__(message, sqlstate=sqlstate, retryable=retryable)


class RequestTooLargeError(DatabaseError):
    """The request is longer than the API or a proxy before it takes; fewer rows may go."""


class UnexpectedResponseError(DatabaseError):
    """A function returned an unexpected document: usually app and migrations are of different versions."""


class MigrationError(DatabaseError):
    """A migration failed; the database is as it was before that migration."""


class EmbeddedServerError(DatabaseError):
    """The embedded Postgres could not be installed, started or stopped."""


def _rebuild(kind: type[DatabaseError], message: str, sqlstate: str | None, retryable: bool) -> DatabaseError:
    return kind(message, sqlstate=sqlstate, retryable=retryable)
