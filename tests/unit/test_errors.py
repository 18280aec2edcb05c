from __future__ import annotations

import pickle

import pytest

from ingest import errors
from ingest.database.sqlstate import database_error


@pytest.mark.parametrize(
    ("sqlstate", "kind", "retryable"),
    [
        ("22P02", errors.InvalidArgumentError, False),
        ("23505", errors.InvalidArgumentError, False),
        ("P0001", errors.InvalidArgumentError, False),
        ("42501", errors.PermissionDeniedError, False),
        ("28P01", errors.PermissionDeniedError, False),
        ("42883", errors.FunctionNotFoundError, False),
        ("08003", errors.DatabaseUnavailableError, True),
        ("53200", errors.DatabaseUnavailableError, True),
        ("57014", errors.DatabaseUnavailableError, True),
        ("40001", errors.DatabaseError, True),
        ("42P01", errors.DatabaseError, False),
        (None, errors.DatabaseError, False),
    ],
)
def test_a_sqlstate_stands_for_one_error(
    sqlstate: str | None, kind: type[errors.DatabaseError], retryable: bool
) -> None:
    error = database_error("said", sqlstate)
    assert (type(error), error.message, error.sqlstate, error.retryable) == (kind, "said", sqlstate, retryable)


def test_an_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(errors.DatabaseUnavailableError("gone", sqlstate="57P01")))
    assert (str(error), error.sqlstate, error.retryable) == ("gone", "57P01", True)


def test_the_tree_in_the_docstring_is_complete() -> None:
    lines = [line.strip() for line in (errors.__doc__ or "").splitlines()]
    drawn = [line.strip(" *-·") for line in lines if line.startswith(("*", "-", "·"))]
    assert drawn == [name for name, value in vars(errors).items() if isinstance(value, type)]
