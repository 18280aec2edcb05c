from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

import ingest
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


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    path: list[str] = []
    drawn = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r"( *)[*·-] (\w+)", line)
        if found is not None:
            del path[len(found[1]) // 4 :]
            drawn.append((found[2], path[-1] if path else "Exception"))
            path.append(found[2])
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert sorted(drawn) == sorted((kind.__name__, kind.__base__.__name__) for kind in classes if kind.__base__)


def test_every_error_is_exported() -> None:
    assert errors.__all__ == sorted(name for name, value in vars(errors).items() if isinstance(value, type))


def test_no_other_module_defines_an_error() -> None:
    defined = {
        node.name: path.name
        for path in Path(ingest.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and any(_is_error(base) for base in node.bases)
    }
    assert defined == dict.fromkeys(errors.__all__, "errors.py")


def _is_error(base: ast.expr) -> bool:
    return isinstance(base, ast.Name) and base.id.endswith(("Error", "Exception"))
