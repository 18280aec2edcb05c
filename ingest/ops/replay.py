"""Plays a trace into the database through `record_usage`, as if its calls happened here."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ingest.errors import ReplayError
from ingest.ops.traces import BadLine, Trace, TracedCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

# Few enough that the journal, whose size is bounded, never has to drop the oldest; enough to keep the flusher busy.
CALLS_PER_FLUSH = 10_000

# A repeat within a day counts as another attempt at the same replay and keeps its shift; later, "now" is a new one.
SHIFT_KEPT_FOR = timedelta(hours=24)

_SHIFTS_FILE = "replays.json"


@dataclass(slots=True)
class ReplayTotals:
    """What a replay has read so far.

    Attributes:
        lines: Lines read up to now, good and bad.
        requests: Calls handed to `record_usage`.
        prompt_tokens: Their prompt tokens.
        completion_tokens: Their completion tokens.
        bad_lines: Lines left out.
        first_created_at: Time of the earliest call.
        last_created_at: Time of the latest call.
    """

    lines: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    bad_lines: int = 0
    first_created_at: datetime | None = None
    last_created_at: datetime | None = None

    def add(self, call: TracedCall) -> None:
        """Count one call."""
        self.lines = call.number
        self.requests += 1
        self.prompt_tokens += call.arguments["prompt_tokens"]
        self.completion_tokens += call.arguments["completion_tokens"]
        self.first_created_at = min(self.first_created_at or call.created_at, call.created_at)
        self.last_created_at = max(self.last_created_at or call.created_at, call.created_at)


def replay_calls(
    lines: Iterable[TracedCall | BadLine],
    record: Callable[..., object],
    flush: Callable[[], bool],
    *,
    limit: int | None = None,
    on_progress: Callable[[ReplayTotals], None] = lambda _: None,
    on_bad_line: Callable[[BadLine], None] = lambda _: None,
) -> ReplayTotals:
    """Submit the calls and wait until the database has committed all of them.

    Args:
        lines: What `Trace.calls` reads.
        record: `ingest.record_usage`.
        flush: Waits until everything recorded is committed; False when that did not happen in time.
        limit: At most this many calls; None for all.
        on_progress: Told the totals after each line.
        on_bad_line: Told each line that is left out.

    Raises:
        ReplayError: The database did not take the calls in time.
    """
    totals = ReplayTotals()
    stop_at = limit if limit is not None else float("inf")
    remaining = iter(lines)
    while totals.requests < stop_at and (line := next(remaining, None)) is not None:
        if isinstance(line, BadLine):
            totals.lines = line.number
            totals.bad_lines += 1
            on_bad_line(line)
        else:
            record(**line.arguments)
            totals.add(line)
            if totals.requests % CALLS_PER_FLUSH == 0:
                _flush(flush)
        on_progress(totals)
    _flush(flush)
    return totals


def shift_to_now(trace: Trace, home: Path, *, now: datetime) -> tuple[timedelta, bool]:
    """Compute the shift that makes a trace's last call happen now.

    The shift is remembered in `TREERING_HOME` under the content of the file, so that a repeat within `SHIFT_KEPT_FOR`
    (after an interruption, say) makes the same calls of it again, which the database then knows.

    Returns:
        The shift, and whether it is one remembered from before.

    Raises:
        TraceError: The trace cannot be read.
    """
    path = home / _SHIFTS_FILE
    remembered = _read_shifts(path)
    if trace.sha256 in remembered:
        ended_at, shift = remembered[trace.sha256]
        if timedelta(0) <= now - ended_at < SHIFT_KEPT_FOR:
            return shift, True
    last = trace.last_created_at()
    # Milliseconds, so that a shift survives the file and no call lands in the future.
    shift = timedelta(0) if last is None else (now - last) // timedelta(milliseconds=1) * timedelta(milliseconds=1)
    fresh = {key: value for key, value in remembered.items() if now - value[0] < SHIFT_KEPT_FOR}
    _write_shifts(path, fresh | {trace.sha256: (now, shift)})
    return shift, False


def _flush(flush: Callable[[], bool]) -> None:
    if not flush():
        raise ReplayError(
            "the database did not accept all calls in time; they are safe in the journal: run the same replay again, "
            "or start `treering worker`, to deliver them"
        )


def _read_shifts(path: Path) -> dict[str, tuple[datetime, timedelta]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: (datetime.fromisoformat(entry["ended_at"]).astimezone(UTC), timedelta(milliseconds=entry["shift_ms"]))
            for key, entry in entries.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReplayError(f"{path} cannot be read ({error}); remove it to compute a new shift") from error


def _write_shifts(path: Path, shifts: dict[str, tuple[datetime, timedelta]]) -> None:
    entries = {
        key: {"ended_at": ended_at.isoformat(), "shift_ms": shift // timedelta(milliseconds=1)}
        for key, (ended_at, shift) in shifts.items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(entries, indent=2), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ReplayError(f"{path} cannot be written: {error.strerror or error}") from error
