"""Runs one cell and checks what was recorded of it; makes the table of all cells."""

from __future__ import annotations

import ast
import gc
import importlib
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ingest
from tests.support.openai_models import TEXT, answer_as_model
from tests.support.openai_server import document

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from tests.support.openai_server import OpenAIServer, Reply
    from tests.unit.tracking.conftest import Recorded

COLUMNS = ("plain", "stream", "async_", "tools", "error", "cancelled", "retried")
MODULES = ("openai_chat", "openai_responses", "instructor_cells", "pydantic_ai_cells", "agents_cells",
           "langchain_cells", "llama_index_cells", "litellm_cells", "haystack_cells", "dspy_cells")  # fmt: skip
# gpt-4o, worked out by hand. Chat: 13 uncached at 2.50, 8 cached at 1.25, 5 out at 10.00 per million.
# Responses: 20 uncached (4 of them written to the cache) at 2.50, 10 cached at 1.25, 12 out at 10.00.
RIGHT = {
    "chat": {"prompt_tokens": 21, "completion_tokens": 5, "cached_tokens": 8, "cost": Decimal("0.0000925")},
    "responses": {"prompt_tokens": 30, "completion_tokens": 12, "cached_tokens": 10, "cost": Decimal("0.0001825")},
}
MARKS = ("<!-- The table is made by `python -m tests.frameworks`. -->", "<!-- End of the table. -->")
_DECLARED = ("NAME", "API", "PACKAGE", "CANNOT")
REFUSAL = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}
BUSY = {"error": {"message": "busy", "type": "server_error", "code": None}}


def load(name: str) -> ModuleType:
    """Import the module of a row, which imports its library."""
    return importlib.import_module(f"tests.frameworks.{name}")


def run_cell(module: ModuleType, column: str, server: OpenAIServer, recorded: Recorded) -> None:
    """Make the calls of one cell against `server` and check the rows."""
    text = getattr(module, "TEXT", None)
    server.answer = lambda path, body: answer_as_model(path, body, text or TEXT)
    if column == "cancelled":
        server.answer = lambda path, body: _stalling(answer_as_model(path, body, text or TEXT))
    elif column == "error":
        server.script.append(document(REFUSAL, 400))
    elif column == "retried":
        server.script.append(document(BUSY, 503, **{"retry-after-ms": "1", "x-should-retry": "true"}))
    with ingest.usage_context(user_id="user_1", feature="garden"):
        if column == "error":
            _expect_failure(module, server.url)
        else:
            getattr(module, column)(server.url)
    if column == "cancelled":
        _await_collection(recorded)
    check(module, column, recorded.events)


def _await_collection(recorded: Recorded) -> None:
    """Wait for what a library's own threads still hold of a stream that was left."""
    deadline = time.monotonic() + 10
    while not recorded.events and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)


def _stalling(reply: Reply) -> Reply:
    """Leave the end of a stream out and keep its connection open, as a model that is still at work."""
    return replace(reply, pieces=reply.pieces[: len(reply.pieces) // 3], ending="stall")


def _expect_failure(module: ModuleType, url: str) -> None:
    refusal: Exception | None = None
    try:
        module.plain(url)
    except Exception as error:  # noqa: BLE001 -- each library wraps it in an exception of its own
        refusal = error
    assert refusal is not None
    chain = (refusal, refusal.__cause__, refusal.__context__)
    assert any("too long" in str(one) for one in chain), repr(refusal)


def check(module: ModuleType, column: str, events: list[Any]) -> None:
    """Check the rows of a cell."""
    right = RIGHT[module.API]
    if column == "retried" and getattr(module, "RETRIES_ITSELF", False):
        refused = events.pop(0)
        assert (refused["status"], refused["user_id"]) == ("error", "user_1")
        assert not Decimal(refused["estimated_cost"])
        column = "plain"
    expected = 2 if column == "tools" and not getattr(module, "CALLS_NO_TOOLS_ITSELF", False) else 1
    assert len(events) == expected, events
    for event in events:
        assert (event["user_id"], event["feature"], event["provider"]) == ("user_1", "garden", "openai")
        assert event["operation"] == module.API
        cost = Decimal(event["estimated_cost"])
        if column == "error":
            assert (event["status"], event["error_type"]) == ("error", "context_length_exceeded")
            assert not cost
            assert event["prompt_tokens"] == event["completion_tokens"] == 0
        elif column == "cancelled":
            facts = event["status"], event["streamed"], event["usage_source"]
            assert facts == ("cancelled", True, "tokenizer"), event
            assert event["prompt_tokens"] > 0
            assert cost > 0
        else:
            assert event["status"] == "ok"
            counts = {name: event.get(name) for name in right if name != "cost"}
            assert {**counts, "cost": cost} == right
            assert event["attempt"] == (2 if column == "retried" else 1)
    assert "fern" not in str(events)
    assert "my tree" not in str(events)
    assert "living" not in str(events)


def page_with_table(page: str, versions: dict[str, str]) -> str:
    """Put the table into the text of `docs/capture.md`, between its two marks.

    Args:
        page: The page as it is.
        versions: What each row was run with, by module.
    """
    found = {module: declarations(module) for module in MODULES}
    rows = [(row["NAME"], versions.get(module, "nothing yet"), row["CANNOT"]) for module, row in found.items()]
    return replace_table(page, MARKS, draw_table("client or framework", rows))


def replace_table(page: str, marks: tuple[str, str], table: str) -> str:
    """Put a table between two marks of a page."""
    head, _, rest = page.partition(marks[0])
    _, _, tail = rest.partition(marks[1])
    return f"{head}{marks[0]}\n\n{table}\n{marks[1]}{tail}"


def draw_table(title: str, rows: Iterable[tuple[str, str, dict[str, str]]], first_note: int = 1) -> str:
    """Make a table of rows and cells; a cell that cannot be has a note that says why.

    Args:
        title: Of the first column.
        rows: Name, version and, by column, why a cell cannot be.
        first_note: Number of the first note.
    """
    titles = [column.rstrip("_") for column in COLUMNS]
    lines = [f"| {title} | tested with | {' | '.join(titles)} |", f"|---|---|{'---|' * len(titles)}"]
    notes: list[str] = []
    for name, version, cannot in rows:
        cells = []
        for column in COLUMNS:
            reason = cannot.get(column)
            if reason is not None and reason not in notes:
                notes.append(reason)
            cells.append("yes" if reason is None else f"no ({notes.index(reason) + first_note})")
        lines.append(f"| {name} | {version} | {' | '.join(cells)} |")
    noted = [f"({number}) {note}" for number, note in enumerate(notes, first_note)]
    return "\n".join([*lines, "", "\n\n".join(noted)]).rstrip() + "\n"


def declarations(module: str) -> dict[str, Any]:
    """Read NAME, API, PACKAGE and CANNOT of a row, and its functions (`cells`), without importing its library."""
    found: dict[str, Any] = {"CANNOT": {}}
    tree = ast.parse(Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.Assign) and isinstance(target, ast.Name) and target.id in _DECLARED:
            found[target.id] = ast.literal_eval(node.value)
    found["cells"] = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return found
