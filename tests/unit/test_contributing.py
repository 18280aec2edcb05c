"""The reader's test in CONTRIBUTING: ten usual changes, at most three files each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = re.search(r"\| change \| files \|\n\|[ -|]+\|\n((?:\|.*\|\n)+)", (ROOT / "CONTRIBUTING.md").read_text())
CHANGES = dict(line.strip("| ").split(" | ", 1) for line in TABLE[1].splitlines()) if TABLE else {}
# Parts of a path that stand for a name of the reader's own, or for a version.
PLACEHOLDER = re.compile("NAME|SUBJECT|…")


def test_the_table_has_ten_changes() -> None:
    assert len(CHANGES) == 10


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_touches_at_most_three_files_and_they_exist(change: str) -> None:
    assert CHANGES[change].count(" · ") < 3
    for path in re.findall(r"`([\w./…]+/[\w./…]+)`", CHANGES[change]):
        assert list(ROOT.glob(PLACEHOLDER.sub("*", path))), path
