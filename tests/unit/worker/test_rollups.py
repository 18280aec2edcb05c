"""The comparison of the rollups goes on, slice by slice, until all days are done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ingest.worker.rollups import verify_rollups

if TYPE_CHECKING:
    from pydantic import JsonValue

CHECKED_AT = datetime(2026, 5, 8, 1, tzinfo=UTC)
START, MIDDLE, END = (datetime(2026, 5, day, tzinfo=UTC) for day in (4, 5, 7))


class Slices:
    """A database that compares one slice a call and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []

    def call(self, function: str, /, **arguments: object) -> JsonValue:
        assert function == "verify_rollups"
        self.asked.append(arguments)
        is_done = len(self.asked) == 2
        return {
            "checked_at": CHECKED_AT.isoformat(), "from_time": START.isoformat(), "is_exact": True, "is_done": is_done,
            "to_time": (END if is_done else MIDDLE).isoformat(), "requests": len(self.asked),
        }  # fmt: skip

    def close(self) -> None:
        """Nothing is open."""


def test_a_slice_that_is_not_the_last_is_continued_from_its_end() -> None:
    database = Slices()
    check = verify_rollups(database, START, END)
    assert (check.is_done, check.requests) == (True, 2)
    assert database.asked == [
        {"from_time": START, "to_time": END},
        {"from_time": MIDDLE, "to_time": END, "continues": CHECKED_AT},
    ]
