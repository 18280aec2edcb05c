"""The table in docs/capture.md and the pages of docs/frameworks: what can run here does, all else is complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ingest
from tests.frameworks.harness import COLUMNS, MODULES, declarations, load, page_with_table, run_cell
from tests.frameworks.others import ROWS, missing_cells, page_with_others
from tests.frameworks.pages import FOLDER, PACKAGES, use_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.openai_server import OpenAIServer
    from tests.unit.tracking.conftest import Recorded

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def instrumented(recorded: Recorded) -> Iterator[Recorded]:
    ingest.instrument()
    yield recorded
    ingest.uninstrument()


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", ["openai_chat", "openai_responses"])
def test_a_cell_of_the_openai_client_is_recorded_right(
    row: str, column: str, server: OpenAIServer, instrumented: Recorded
) -> None:
    run_cell(load(row), column, server, instrumented)


@pytest.mark.parametrize("row", MODULES)
def test_each_cell_is_tested_or_says_why_it_cannot_be(row: str) -> None:
    declared = declarations(row)
    cells = set(COLUMNS) - {"error"}  # which makes the call of `plain`
    assert cells - declared["cells"] == set(declared["CANNOT"])


def test_the_table_in_the_documentation_is_that_of_the_tests() -> None:
    versions = json.loads((ROOT / "tests/frameworks/versions.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/capture.md").read_text(encoding="utf-8")
    assert page == page_with_table(page, versions)
    assert page == page_with_others(page, versions)
    assert versions.keys() == {*MODULES, *ROWS}


def test_each_cell_of_the_other_rows_has_a_test_or_a_reason() -> None:
    assert missing_cells() == {row: set() for row in ROWS}


@pytest.mark.parametrize("page", ["fastapi", "flask"])
def test_the_code_of_a_page_records_its_call(
    page: str, server: OpenAIServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = use_page(page, server, recorded, monkeypatch)
    assert (event["user_id"], event["status"], event["prompt_tokens"]) == ("user_2abc", "ok", 21)


def test_each_page_is_tried_and_listed() -> None:
    pages = {path.stem for path in FOLDER.glob("*.md")}
    assert pages == {*PACKAGES, "nextjs"}  # whose code is that of docs/typescript.md
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    assert [page for page in sorted(pages) if f"(frameworks/{page}.md)" not in index] == []
