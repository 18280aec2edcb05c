"""Bounds of the Python code, so that a module stays one idea and a function fits on a screen."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60


def sources() -> list[Path]:
    folders = ["pricing", "ingest", "dashboard", "tests", "examples"]
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts]


def test_no_file_and_no_function_is_longer_than_its_bound() -> None:
    too_long: list[str] = []
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MOST_LINES_OF_A_FILE:
            too_long.append(str(path.relative_to(ROOT)))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION:
                    too_long.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert not too_long
