from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import TraceError
from ingest.ops.traces import BadLine, Mapping, RecordedCall, TracedCall, open_trace
from ingest.record.event_id import derive_event_id
from ingest.record.fields import ARGUMENTS

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
AZURE = HEADER + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"


def write(folder: Path, text: str, name: str = "trace") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def read(path: Path, trace_format: str, mapping: Mapping | None = None) -> list[TracedCall | BadLine]:
    return list(open_trace(path, trace_format).calls(mapping or Mapping()))


def good(lines: list[TracedCall | BadLine]) -> list[TracedCall]:
    return [line for line in lines if isinstance(line, TracedCall)]


def reasons(path: Path, trace_format: str) -> list[tuple[int, str]]:
    return [(line.number, line.reason) for line in read(path, trace_format) if isinstance(line, BadLine)]


def test_an_azure_line_becomes_a_call_in_utc_to_the_microsecond(tmp_path: Path) -> None:
    call = good(read(write(tmp_path, AZURE), "azure", Mapping(model="gpt-4o", feature="chat", environment="test")))[0]
    assert call.number == 2
    assert call.created_at == datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC)
    assert {name: value for name, value in call.arguments.items() if name not in ("created_at", "event_id")} == {
        "user_id": "replay",
        "model": "gpt-4o",
        "feature": "chat",
        "environment": "test",
        "prompt_tokens": 374,
        "completion_tokens": 44,
    }


def test_columns_may_stand_in_any_order_and_times_may_have_a_zone(tmp_path: Path) -> None:
    path = write(tmp_path, "GeneratedTokens,TIMESTAMP,ContextTokens\n44,2023-11-16 19:15:46+01:00,374\n")
    (call,) = good(read(path, "azure"))
    assert call.created_at == datetime(2023, 11, 16, 18, 15, 46, tzinfo=UTC)
    assert call.arguments["prompt_tokens"] == 374


def test_a_trace_and_its_gzipped_copy_are_the_same_calls_whatever_they_are_called(tmp_path: Path) -> None:
    plain = write(tmp_path, AZURE, "plain.gz")
    packed = tmp_path / "packed.csv"
    packed.write_bytes(gzip.compress(AZURE.encode()))
    assert read(plain, "azure") == read(packed, "azure")


def test_bad_azure_lines_are_named_with_their_number_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(
        AZURE.encode() + b"yesterday,1,2\n2023-11-16 18:15:46,-1,2\n2023-11-16 18:15:46,1\n"
        b"2023-11-16 18:15:46,1,2.5\n\xff\xfe,1,2\n\n2023-11-16 18:15:46,1,\n"
    )
    assert reasons(path, "azure") == [
        (4, "TIMESTAMP is not a time: 'yesterday'"),
        (5, "ContextTokens is not a count: '-1'"),
        (6, "has 2 columns instead of 3"),
        (7, "GeneratedTokens is not a count: '2.5'"),
        (8, "not UTF-8"),
        (10, "GeneratedTokens is not a count: ''"),
    ]
    assert len(good(read(path, "azure"))) == 2


def test_a_mooncake_line_tells_the_prompt_and_its_shared_prefix_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '{"timestamp": 0, "input_length": 1500, "output_length": 5, "hash_ids": [0, 1, 2]}\n\n'
        '{"timestamp": 1500, "input_length": 1400, "output_length": 7, "hash_ids": [0, 1, 3]}\n'
        '{"timestamp": 2000, "input_length": 400, "output_length": 7, "hash_ids": [0]}\n'
        '{"timestamp": 2000, "input_length": 400, "output_length": 7}\n'
        '{"timestamp": 2000, "input_length": "x", "output_length": 7}\n',
    )
    first, second, short, bare = good(read(path, "mooncake"))
    assert first.created_at == datetime(2024, 6, 26, tzinfo=UTC)
    assert second.created_at - first.created_at == timedelta(seconds=1.5)
    assert first.arguments["prefix_hash"] == second.arguments["prefix_hash"]
    # 1,024 tokens and the steps of 128 up to 1,408 lie in the first three blocks; two of these are the same.
    assert len(first.arguments["prompt_blocks"]) == 8 * (1 + 4)
    assert first.arguments["prompt_blocks"][8:16] == second.arguments["prompt_blocks"][8:16]
    assert first.arguments["prompt_blocks"][16:24] != second.arguments["prompt_blocks"][16:24]
    assert first.arguments["prompt_hash"] != second.arguments["prompt_hash"]
    assert "prefix_hash" not in short.arguments
    assert "prompt_hash" not in bare.arguments
    assert reasons(path, "mooncake") == [(6, "input_length: input should be a valid integer")]


def test_a_line_of_our_own_format_keeps_what_it_says(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '\n{"user_id": "u1", "model": "o4-mini", "prompt_tokens": 1, "completion_tokens": 2, "feature": "tutor", '
        '"provider_cost": "0.000001", "event_id": "7d444840-9dc0-11d1-b245-5ffdce74fad2", '
        '"created_at": "2026-01-05T10:00:00+02:00"}\n',
    )
    (call,) = good(read(path, "jsonl", Mapping(model="gpt-4o", feature="chat", users=5)))
    assert call.arguments["user_id"] == "u1"
    assert call.arguments["model"] == "o4-mini"
    assert call.arguments["feature"] == "tutor"
    assert call.arguments["event_id"] == UUID("7d444840-9dc0-11d1-b245-5ffdce74fad2")
    assert call.created_at == datetime(2026, 1, 5, 8, tzinfo=UTC)


def test_the_time_of_a_uuid7_serves_where_created_at_is_missing(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 5, 8, tzinfo=UTC)
    event_id = derive_event_id(moment, "x")
    path = write(tmp_path, f'{{"prompt_tokens": 1, "completion_tokens": 2, "event_id": "{event_id}"}}')
    (call,) = good(read(path, "jsonl"))
    assert call.created_at == moment


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[]", "input should be an object"),
        ('{"prompt_tokens": 1}', "completion_tokens: field required"),
        ('{"prompt_tokens": 1, "completion_tokens": 2, "colour": 3}', "colour: extra inputs are not permitted"),
        ('{"prompt_tokens": 1, "completion_tokens": true}', "completion_tokens: input should be a valid integer"),
        ('{"prompt_tokens": 1, "completion_tokens": 2}', "created_at is missing"),
        ('{"prompt_tokens": 1, "completion_tokens": 2, "created_at": "2026-01-05T10:00:00"}', "timezone"),
        (
            '{"prompt_tokens": 1, "completion_tokens": 2, "event_id": "7d444840-9dc0-11d1-b245-5ffdce74fad2"}',
            "created_at is missing",
        ),
    ],
)
def test_a_bad_line_of_our_own_format_says_which_field_is_wrong(tmp_path: Path, line: str, reason: str) -> None:
    ((number, found),) = reasons(write(tmp_path, line), "jsonl")
    assert number == 1
    assert reason in found


def test_our_own_format_has_the_arguments_of_record_usage() -> None:
    assert set(RecordedCall.model_fields) == ARGUMENTS


def test_users_are_spread_evenly_and_always_alike(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "2023-11-16 18:15:46,1,2\n" * 2000)
    users = [call.arguments["user_id"] for call in good(read(path, "azure", Mapping(users=10)))]
    assert users == [call.arguments["user_id"] for call in good(read(path, "azure", Mapping(users=10)))]
    assert set(users) == {f"user_{number:02d}" for number in range(1, 11)}
    assert min(users.count(user) for user in set(users)) > 120


def test_equal_lines_of_a_file_are_different_calls(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "2023-11-16 18:15:46,1,2\n" * 2)
    first, second = good(read(path, "azure"))
    assert first.arguments["event_id"] != second.arguments["event_id"]


def test_moved_calls_have_ids_of_their_own_that_tell_their_time(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path, AZURE), "azure")
    shift = timedelta(days=3)
    (original, *_), (moved, *_) = good(list(trace.calls(Mapping()))), good(list(trace.calls(Mapping(), shift=shift)))
    assert moved.created_at - original.created_at == shift
    assert moved.arguments["event_id"] != original.arguments["event_id"]
    assert moved.arguments["event_id"].int >> 80 == int(moved.created_at.timestamp() * 1000)


def test_a_shift_out_of_the_calendar_is_a_bad_line(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path, AZURE), "azure")
    assert {type(line) for line in trace.calls(Mapping(), shift=timedelta(days=3_000_000))} == {BadLine}


def test_the_last_call_counts_also_where_the_file_is_not_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "2023-11-18 00:00:00,1,2\n2023-11-17 00:00:00,1,2\nx,1,2\n")
    assert open_trace(path, "azure").last_created_at() == datetime(2023, 11, 18, tzinfo=UTC)
    assert open_trace(write(tmp_path, HEADER), "azure").last_created_at() is None


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x1f\x8b\x08\x00broken", gzip.compress(AZURE.encode())[:-9]])
def test_a_file_that_is_no_trace_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=str(path)):
        open_trace(path, "azure")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        open_trace(tmp_path / "none", "jsonl")


@settings(deadline=None)
@given(st.integers(0, 253_000_000_000_000_000), st.text())
def test_a_derived_id_is_a_uuid7_of_its_millisecond(microseconds: int, key: str) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    event_id = derive_event_id(moment, key)
    assert event_id.version == 7
    assert event_id.variant == "specified in RFC 4122"
    assert event_id.int >> 80 == microseconds // 1000
    assert event_id == derive_event_id(moment, key)
