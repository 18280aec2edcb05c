"""The file for Edge Functions and Next.js: its size, its types, and what it does under Node and Deno."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support import javascript

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_has_no_dependency_and_is_below_5_kb_minified() -> None:
    assert re.findall(r"^\s*import\b|\brequire\(|\bimport\(", javascript.SHARED_FILE.read_text(), re.MULTILINE) == []
    assert 0 < javascript.minified_size() < 5000


def test_its_types_and_those_of_its_users_are_strict() -> None:
    javascript.check_types(javascript.SHARED_FILE, *sorted(javascript.SOURCES.glob("*.ts")))


def test_a_wrong_field_does_not_compile(tmp_path: Path) -> None:
    use = tmp_path / "wrong.ts"
    for call in (
        '{ model: "m", tokens: 1 }',
        '{ model: "m", status: "fine" }',
        '{ model: "m", event_id: "of my own" }',
    ):
        use.write_text(f'import {{ recordUsage }} from "{javascript.SHARED_FILE}";\nrecordUsage({call});\n')
        with pytest.raises(AssertionError, match=r"wrong\.ts\(2,\d+\): error TS2\d+"):
            javascript.check_types(use)


@pytest.mark.parametrize("runtime", ["node", "deno"])
def test_it_passes_its_own_tests(runtime: javascript.Runtime, tmp_path: Path) -> None:
    source = javascript.SOURCES / "treering.test.ts"
    printed = javascript.run(runtime, source, tmp_path, command="test", env={"NO_COLOR": "1"})
    passed = re.search(r"^# pass (\d+)$|^ok \| (\d+) passed", printed, re.MULTILINE)
    assert passed is not None, printed
    assert int(passed[1] or passed[2]) >= len(re.findall(r"\btest\(", source.read_text()))
