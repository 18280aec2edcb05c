"""A browser test types and clicks through `tests.support.browser`, which waits until the app has settled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = sorted((Path(__file__).parents[1] / "browser").glob("test_*.py"))
_DIRECT = re.compile(r"\.(click|dblclick|fill|type|press|press_sequentially|check|uncheck|select_option|tap)\(")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_no_browser_test_acts_while_the_app_may_be_running(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line.strip() for line in lines if _DIRECT.search(line)] == []
