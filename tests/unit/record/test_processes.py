"""Processes that are killed, forked and ended."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ingest.record.recorder import Limits, Recorder
from tests.unit.record.programs import STREAMS_AT_ONCE, FileDatabase

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 120


def start(program: str, home: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.unit.record.programs", program, str(home)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(program: str, home: Path) -> list[str]:
    """Run a program to its end and return the ids it recorded."""
    process = start(program, home)
    output, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors.decode()
    return output.decode().split()


def kill_after(program: str, home: Path, size_bytes: int) -> list[str]:
    """Kill -9 a program once it has written so much, and return the ids it had recorded by then."""
    process = start(program, home)
    assert process.stdout is not None
    assert process.stderr is not None
    output = process.stdout.read(size_bytes)
    process.kill()
    output += process.stdout.read()
    process.wait(timeout=TIMEOUT_S)
    process.stderr.close()
    process.stdout.close()
    return [line.decode() for line in output.split(b"\n")[:-1]]


def deliver_the_rest(home: Path) -> FileDatabase:
    """Do what the next process does: adopt and deliver what the dead ones left."""
    recorder = Recorder(home, lambda: FileDatabase(home / "events.db"), limits=Limits(flush_interval_s=0.0))
    while recorder.stats().adopted == 0 or recorder.stats().pending:
        if recorder._flusher.step() > 0:
            break
    recorder.shutdown(0)
    return FileDatabase(home / "events.db")


@pytest.mark.parametrize("program", ["endless", "endless_outage"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_that_was_recorded_is_lost_by_kill_9(tmp_path: Path, program: str, seed: int) -> None:
    recorded = kill_after(program, tmp_path, random.Random(seed).randrange(1, 400_000))
    database = deliver_the_rest(tmp_path)
    stored = database.ids()
    database.close()
    assert set(recorded) <= set(stored)
    assert len(stored) <= len(recorded) + 2  # the two threads may have been about to tell
    assert list((tmp_path / "journal").iterdir()) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_stream_that_was_opened_is_one_row_after_kill_9(tmp_path: Path, seed: int) -> None:
    opened = kill_after("endless_streams", tmp_path, random.Random(seed).randrange(1, 20_000))
    database = deliver_the_rest(tmp_path)
    events = {str(event["session_id"]): event for event in database.events()}
    assert len(database.ids()) == len(events)
    database.close()
    assert set(opened) <= set(events)
    assert len(events) <= len(opened) + 1  # it may have been about to tell
    cancelled = [event for event in events.values() if event.get("status") == "cancelled"]
    assert 0 < len(cancelled) <= STREAMS_AT_ONCE
    assert {event["metadata"]["treering_flags"][0] for event in cancelled} == {"stream:process_ended"}  # type: ignore[index, call-overload]
    # One chunk of eight characters had come of each, or none yet of the one that was just opened.
    assert {event["completion_tokens"] for event in cancelled} <= {0, 2}
    assert {event["completion_tokens"] for event in events.values() if event.get("status") == "ok"} <= {10}
    assert list((tmp_path / "journal").iterdir()) == []


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    processes = [start("endless_outage", tmp_path) for _ in range(3)]
    recorded = []
    for process in processes:
        assert process.stdout is not None
        assert process.stderr is not None
        output = process.stdout.read(30_000)
        process.kill()
        output += process.stdout.read()
        process.wait(timeout=TIMEOUT_S)
        process.stdout.close()
        process.stderr.close()
        recorded += [line.decode() for line in output.split(b"\n")[:-1]]
    database = deliver_the_rest(tmp_path)
    assert set(recorded) <= set(database.ids())
    database.close()


def test_forked_processes_record_for_themselves(tmp_path: Path) -> None:
    recorded = run("fork", tmp_path)
    assert len(set(recorded)) == len(recorded) == 8
    database = FileDatabase(tmp_path / "events.db")
    assert sorted(database.ids()) == sorted(recorded)
    database.close()
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_child_that_vanishes_leaves_its_events_to_the_next(tmp_path: Path) -> None:
    recorded = run("fork_and_vanish", tmp_path)
    assert len(recorded) == 2
    database = deliver_the_rest(tmp_path)
    assert sorted(database.ids()) == sorted(recorded)
    database.close()


def test_a_program_that_ends_delivers_first(tmp_path: Path) -> None:
    recorded = run("end", tmp_path)
    database = FileDatabase(tmp_path / "events.db")
    assert database.ids() == recorded
    database.close()


@pytest.mark.parametrize("program", ["end_without_database", "record_late"])
def test_without_a_database_a_program_ends_and_the_next_one_delivers(tmp_path: Path, program: str) -> None:
    recorded = run(program, tmp_path)
    database = deliver_the_rest(tmp_path)
    assert sorted(database.ids()) == sorted(recorded)
    database.close()


def test_importing_takes_none_of_the_heavy_libraries() -> None:
    heavy = (
        "supabase psycopg pydantic pydantic_core pydantic_settings openai streamlit pandas schedule asyncio "
        "genai_prices dataclasses"
    )
    code = f"import sys, ingest; print([name for name in {heavy.split()!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    assert result.stdout == "[]\n"
