"""How long SQL may be, and that every object stands once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

MIGRATIONS = sorted((Path(__file__).parents[2] / "supabase" / "migrations").glob("*.sql"))
FUNCTION = re.compile(r"^create function ([\w.]+)\(.*?^\$\$;$", re.MULTILINE | re.DOTALL)
OBJECT = re.compile(
    r"^create (?:or replace )?(?:unique )?(?:materialized )?(table|view|function|type|index|sequence|trigger|policy)"
    r' ([\w.]+|"[^"]+")(?: [\w ]+ on ([\w.]+))?',
    re.MULTILINE,
)


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_files_and_lines_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 500
    assert [number for number, line in enumerate(lines, 1) if len(line) > 160] == []


def test_functions_are_short() -> None:
    lengths = {
        match[1]: match[0].count("\n") + 1 for path in MIGRATIONS for match in FUNCTION.finditer(path.read_text())
    }
    assert len(lengths) > 200
    assert {name: length for name, length in lengths.items() if length > 80} == {}


def test_every_object_stands_once_and_in_its_final_form() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in MIGRATIONS)
    assert [kind for kind, count in Counter(OBJECT.findall(text)).items() if count > 1] == []
    assert re.findall(r"^(?:drop|alter (?!table [\w.]+ enable row level security)).*", text, re.MULTILINE) == []


def test_every_file_says_what_it_is_for_and_which_locks_it_takes() -> None:
    for path in MIGRATIONS:
        header = path.read_text(encoding="utf-8").split("\n\n")[0]
        assert re.fullmatch(r"-- [A-Z](.|\n)*\n-- Locks: (.|\n)*", header), path.name


def test_every_file_has_a_version_of_its_own() -> None:
    versions = [path.name.partition("_")[0] for path in MIGRATIONS]
    assert len(set(versions)) == len(versions)
