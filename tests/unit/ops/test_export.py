from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from ingest.errors import ConfigurationError
from ingest.ops.export import COLUMNS, parse_time, read_calls, write_calls
from tests.support.scripted_database import ScriptedDatabase

START = datetime(2026, 11, 1, tzinfo=UTC)


def page(*events: dict[str, Any], cursor: str | None = None) -> Any:
    return {"events": list(events), "next_cursor": cursor}


def written(rows: list[dict[str, Any]], file_format: Literal["csv", "jsonl"]) -> tuple[int, str]:
    file = io.StringIO(newline="")
    return write_calls(iter(rows), file, file_format), file.getvalue()


def test_pages_are_followed_by_their_cursor() -> None:
    database = ScriptedDatabase(get_events=[page({"event_id": "b"}, cursor="c1"), page({"event_id": "a"})])
    rows = list(read_calls(database, START, START + timedelta(days=1), {"model": ["gpt-4o"]}))
    assert [row["event_id"] for row in rows] == ["b", "a"]
    assert [call["filters"] for call in database.arguments_of("get_events")] == [
        {"model": ["gpt-4o"], "limit": 1000},
        {"model": ["gpt-4o"], "limit": 1000, "cursor": "c1"},
    ]


def test_a_range_of_years_is_cut_without_a_gap_newest_first() -> None:
    database = ScriptedDatabase(get_events=[page()])
    end = START + timedelta(days=900)
    list(read_calls(database, START, end, {}))
    ranges = [(call["from_time"], call["to_time"]) for call in database.arguments_of("get_events")]
    assert ranges == [
        (end - timedelta(days=400), end),
        (end - timedelta(days=800), end - timedelta(days=400)),
        (START, end - timedelta(days=800)),
    ]


def test_an_inverted_range_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--from"):
        list(read_calls(ScriptedDatabase(), START, START, {}))


def test_csv_has_fixed_columns_exact_costs_and_metadata_as_json() -> None:
    row = {"zz": 1, "event_id": "e", "estimated_cost": "0.00000476", "streamed": True, "metadata": {"a": "é"}}
    count, text = written([row, {"event_id": "f", "latency_ms": 1.5, "prompt_tokens": 3}], "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert count == 2
    assert rows[0] == {"event_id": "e", "streamed": "true", "estimated_cost": "0.00000476", "metadata": '{"a": "é"}',
                       "zz": "1"}  # fmt: skip
    assert rows[1]["estimated_cost"] == ""


def test_a_text_that_a_spreadsheet_would_run_is_quoted() -> None:
    _, text = written([{"user_id": '=HYPERLINK("http://x")', "model": "gpt-4o", "streamed": False}], "csv")
    assert next(csv.DictReader(io.StringIO(text)))["user_id"] == '\'=HYPERLINK("http://x")'


def test_an_empty_csv_still_has_its_header() -> None:
    assert written([], "csv") == (0, ",".join(COLUMNS) + "\r\n")


def test_jsonl_has_an_object_a_line_in_the_same_order() -> None:
    count, text = written([{"model": "m", "event_id": "e", "metadata": None}], "jsonl")
    assert count == 1
    assert list(json.loads(text)) == ["event_id", "model", "metadata"]
    assert written([], "jsonl") == (0, "")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01", START),
        ("2026-11-01T01:00:00+01:00", START),
        ("2026-11-01T00:00", START),
    ],
)
def test_a_moment_is_utc_unless_it_says_otherwise(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment


def test_what_is_no_moment_is_refused_with_an_example() -> None:
    with pytest.raises(ConfigurationError, match="2026-11-23"):
        parse_time("yesterday")
