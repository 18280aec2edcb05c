from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import ReplayError
from ingest.ops import replay
from ingest.ops.replay import replay_calls, shift_to_now
from ingest.ops.traces import BadLine, Trace, TracedCall, open_trace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def call(number: int) -> TracedCall:
    created_at = NOW + timedelta(seconds=number)
    return TracedCall(number, {"created_at": created_at, "prompt_tokens": 10, "completion_tokens": 1})


def trace(folder: Path) -> Trace:
    path = folder / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,1,2\n")
    return open_trace(path, "azure")


def test_calls_are_recorded_in_order_and_summed_up() -> None:
    recorded: list[dict[str, Any]] = []
    totals = replay_calls([call(2), call(1), call(3)], lambda **arguments: recorded.append(arguments), lambda: True)
    assert [one["created_at"].second for one in recorded] == [2, 1, 3]
    assert (totals.requests, totals.prompt_tokens, totals.completion_tokens) == (3, 30, 3)
    assert totals.first_created_at == NOW + timedelta(seconds=1)
    assert totals.last_created_at == NOW + timedelta(seconds=3)


def test_bad_lines_are_told_and_left_out() -> None:
    told: list[BadLine] = []
    totals = replay_calls(
        [call(1), BadLine(2, "odd"), call(3)], lambda **_: None, lambda: True, on_bad_line=told.append
    )
    assert told == [BadLine(2, "odd")]
    assert (totals.requests, totals.bad_lines, totals.lines) == (2, 1, 3)


def test_the_limit_counts_calls_and_reads_no_further() -> None:
    lines: Iterator[TracedCall | BadLine] = iter([BadLine(1, "odd"), call(2), call(3), call(4)])
    assert replay_calls(lines, lambda **_: None, lambda: True, limit=2).requests == 2
    assert next(lines).number == 4


def test_the_journal_is_emptied_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "CALLS_PER_FLUSH", 2)
    order: list[str] = []

    def flush() -> bool:
        order.append("flush")
        return True

    replay_calls([call(number) for number in range(1, 6)], lambda **_: order.append("call"), flush)
    assert order == ["call", "call", "flush", "call", "call", "flush", "call", "flush"]


def test_calls_that_are_not_committed_in_time_fail_the_replay() -> None:
    with pytest.raises(ReplayError, match="safe in the journal"):
        replay_calls([call(1)], lambda **_: None, lambda: False)


def test_a_shift_ends_the_trace_now_to_the_millisecond(tmp_path: Path) -> None:
    one = trace(tmp_path)
    shift, is_remembered = shift_to_now(one, tmp_path, now=NOW)
    last = one.last_created_at()
    assert last is not None
    assert timedelta(0) <= NOW - (last + shift) < timedelta(milliseconds=1)
    assert not is_remembered


def test_a_shift_is_kept_for_a_day_and_then_made_anew(tmp_path: Path) -> None:
    one = trace(tmp_path)
    first, _ = shift_to_now(one, tmp_path, now=NOW)
    assert shift_to_now(one, tmp_path, now=NOW + timedelta(hours=23)) == (first, True)
    later, is_remembered = shift_to_now(one, tmp_path, now=NOW + timedelta(hours=24))
    assert later == first + timedelta(hours=24)
    assert not is_remembered


def test_a_shift_from_the_future_is_not_used(tmp_path: Path) -> None:
    one = trace(tmp_path)
    shift_to_now(one, tmp_path, now=NOW + timedelta(hours=1))
    assert not shift_to_now(one, tmp_path, now=NOW)[1]


def test_old_shifts_are_forgotten(tmp_path: Path) -> None:
    shift_to_now(trace(tmp_path), tmp_path, now=NOW)
    other = tmp_path / "other.csv"
    other.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,5,6\n")
    shift_to_now(open_trace(other, "azure"), tmp_path, now=NOW + timedelta(days=2))
    assert len(json.loads((tmp_path / "replays.json").read_text())) == 1


def test_a_trace_without_calls_needs_no_shift(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")
    assert shift_to_now(open_trace(path, "azure"), tmp_path, now=NOW)[0] == timedelta(0)


@pytest.mark.parametrize("content", ["[]", "{", '{"x": {}}', '{"x": {"ended_at": "now", "shift_ms": 1}}'])
def test_a_damaged_memory_of_shifts_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "replays.json").write_text(content)
    with pytest.raises(ReplayError, match=r"replays\.json cannot be read"):
        shift_to_now(trace(tmp_path), tmp_path, now=NOW)


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file in the way")
    with pytest.raises(ReplayError, match="cannot be"):
        shift_to_now(trace(tmp_path), home, now=NOW)


def test_a_memory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_text("a file in the way")
    with pytest.raises(ReplayError, match="cannot be written"):
        replay._write_shifts(home / "replays.json", {})
