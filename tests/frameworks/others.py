"""The rows of docs/capture.md whose cells are tests of their own: other makers' clients, callbacks, the exporter."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

from tests.frameworks.harness import COLUMNS, draw_table, replace_table

ROOT = Path(__file__).resolve().parents[2]
MARKS = (
    "<!-- The table of other clients and callbacks is made by `python -m tests.frameworks`. -->",
    "<!-- End of the table of others. -->",
)
_UNIT = "tests/unit/tracking"


class Row(NamedTuple):
    """A row.

    Attributes:
        name: What the table calls it.
        package: Distribution whose version the table names.
        file: Where its tests are.
        cells: The test of each cell.
        cannot: Why a cell cannot be.
    """

    name: str
    package: str
    file: str
    cells: dict[str, str]
    cannot: dict[str, str]

    def tests(self) -> set[str]:
        """Return the names of the tests that its file has."""
        tree = ast.parse((ROOT / self.file).read_text(encoding="utf-8"))
        return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


ROWS = {
    "anthropic": Row("anthropic, messages", "anthropic", f"{_UNIT}/makers/test_anthropic.py", {
        "plain": "test_whole_messages_are_recorded_and_counting_is_not",
        "stream": "test_a_stream_is_recorded_however_it_is_read",
        "async_": "test_asynchronous_messages_are_recorded",
        "tools": "test_a_call_of_a_tool_is_recorded",
        "error": "test_an_error_has_its_kind_and_costs_nothing",
        "cancelled": "test_a_stream_that_is_left_keeps_the_exact_input_and_estimates_the_output",
        "retried": "test_a_repeated_call_is_recorded_once_with_the_time_of_its_own_attempt",
    }, {}),
    "genai": Row("google-genai, Gemini API and Vertex AI", "google-genai", f"{_UNIT}/makers/test_genai.py", {
        "plain": "test_generations_are_recorded_and_counting_is_not",
        "stream": "test_a_stream_keeps_the_user_for_whom_it_was_opened",
        "async_": "test_asynchronous_generations_are_recorded",
        "tools": "test_each_request_of_automatic_calls_of_functions_is_recorded",
        "error": "test_an_error_has_its_kind_and_costs_nothing",
        "cancelled": "test_a_stream_that_is_left_has_the_tokens_until_then",
        "retried": "test_a_repeated_call_is_recorded_once",
    }, {}),
    "bedrock": Row("boto3, `bedrock-runtime`", "boto3", f"{_UNIT}/makers/test_bedrock.py", {
        "plain": "test_converse_is_recorded",
        "stream": "test_a_models_own_stream_is_recorded",
        "tools": "test_a_call_of_a_tool_is_recorded",
        "error": "test_an_error_has_its_kind_and_costs_nothing",
        "cancelled": "test_a_stream_that_is_left_is_cancelled_with_what_was_delivered",
        "retried": "test_a_repeated_call_is_recorded_once",
    }, {"async_": "boto3 has no asynchronous client."}),
    "litellm_callback": Row("LiteLLM, `TreeringLogger`", "litellm", "tests/frameworks/litellm_callback.py", {
        "plain": "test_calls_sync_and_async_streamed_and_not",
        "stream": "test_calls_sync_and_async_streamed_and_not",
        "async_": "test_calls_sync_and_async_streamed_and_not",
        "tools": "test_a_call_of_a_tool_an_embedding_and_a_call_of_claude",
        "error": "test_failures_and_the_attempts_of_a_router",
        "retried": "test_failures_and_the_attempts_of_a_router",
    }, {"cancelled": "LiteLLM does not tell its callbacks about a stream that is left; `instrument()` and "
                     "`track_stream` record it."}),
    "langchain_callback": Row(
        "LangChain and LangGraph, `TreeringHandler`", "langchain-core", "tests/frameworks/langchain_callback.py", {
            "plain": "test_chat_models_sync_and_async_streamed_and_not",
            "stream": "test_chat_models_sync_and_async_streamed_and_not",
            "async_": "test_chat_models_sync_and_async_streamed_and_not",
            "tools": "test_deep_in_chains_and_graphs_tools_included",
            "error": "test_failures_and_streams_that_are_left",
            "cancelled": "test_failures_and_streams_that_are_left",
        }, {"retried": "The inner client retries and does not tell LangChain; `instrument()` records the retries."}),
    "opentelemetry": Row(
        "OpenTelemetry, `TreeringSpanExporter`", "opentelemetry-sdk", f"{_UNIT}/integrations/test_opentelemetry.py", {
            "plain": "test_a_span_is_read_in_the_words_of_its_convention",
            "stream": "test_a_span_is_read_in_the_words_of_its_convention",
            "async_": "test_spans_of_tasks_are_recorded_for_their_own_users",
            "tools": "test_spans_of_other_work_are_left_alone",
            "error": "test_a_failure_costs_nothing_and_a_call_without_counts_has_no_cost",
        }, {
            "cancelled": "The conventions have no word for a stream that was left: it is an error where the span "
                         "says so, else a call.",
            "retried": "The conventions do not number attempts: each span is a call.",
        }),
}  # fmt: skip
CALLBACKS = tuple(name for name in ROWS if name.endswith("_callback"))
"""Rows that run with `python -m tests.frameworks` alone; all others run with every test, in the locked version."""


def page_with_others(page: str, versions: dict[str, str]) -> str:
    """Put the table of these rows into the text of `docs/capture.md`.

    Args:
        page: The page as it is.
        versions: What each row was run with, by its key.
    """
    rows = [(row.name, versions.get(key, "nothing yet"), row.cannot) for key, row in ROWS.items()]
    return replace_table(page, MARKS, draw_table("client or callback", rows, first_note=2))


def missing_cells() -> dict[str, set[str]]:
    """Return, by row, the columns that neither a test of its file nor a reason stands for."""
    return {
        key: {column for column in COLUMNS if (row.cells.get(column) in row.tests()) == (column in row.cannot)}
        for key, row in ROWS.items()
    }
