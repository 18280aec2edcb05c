"""Sends dead letters again, or gives them up."""

from __future__ import annotations

import contextlib
import os
from base64 import b64decode
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.record.dead_letters import read_letters
from ingest.record.delivery import FUNCTIONS, Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from ingest.database import Database
    from ingest.record.dead_letters import DeadLetter, DeadLetters
    from ingest.record.delivery import Delivery
    from ingest.record.event import Event

BATCH_SIZE = 500


@dataclass(slots=True)
class Redelivered:
    """What became of dead letters.

    Attributes:
        taken: Letters that were chosen.
        stored: New rows in the database.
        refused: Refused again; they are dead letters again.
    """

    taken: int = 0
    stored: int = 0
    refused: int = 0

    @property
    def known(self) -> int:
        """Letters whose events the database had already, or keeps in `rejected_events`."""
        return self.taken - self.stored - self.refused


def retry_letters(
    letters: DeadLetters, delivery: Delivery, database: Database, event_ids: Collection[str] = ()
) -> Redelivered:
    """Send dead letters to the database. Safe to repeat: an event is stored once.

    Args:
        letters: Where they are.
        delivery: Sends them; what it refuses goes to `letters` again.
        database: Opened as service_role.
        event_ids: Only these; all where it is empty.

    Raises:
        DatabaseError: The database cannot take them now; those not sent yet stay where they are.
    """
    total = Redelivered()

    def send(chosen: list[DeadLetter]) -> None:
        before = delivery.tally.stored, delivery.tally.refused
        for start in range(0, len(chosen), BATCH_SIZE):
            _send(chosen[start : start + BATCH_SIZE], delivery, database)
        total.taken += len(chosen)
        total.stored += delivery.tally.stored - before[0]
        total.refused += delivery.tally.refused - before[1]

    _consume(letters, event_ids, send)
    return total


def drop_letters(letters: DeadLetters, event_ids: Collection[str] = ()) -> int:
    """Delete dead letters, those of `event_ids` or all, with the lines that cannot be read; returns how many."""
    dropped = 0

    def count(chosen: list[DeadLetter]) -> None:
        nonlocal dropped
        dropped += len(chosen)

    _consume(letters, event_ids, count, keeps_unreadable=bool(event_ids))
    return dropped


def _consume(
    letters: DeadLetters,
    event_ids: Collection[str],
    use: Callable[[list[DeadLetter]], None],
    *,
    keeps_unreadable: bool = True,
) -> None:
    """Hand over the chosen letters, file by file, and remove them once `use` has returned."""
    for path in letters.take():
        kept: list[bytes] = []
        chosen: list[DeadLetter] = []
        with contextlib.suppress(FileNotFoundError):  # another command was faster
            for line, letter in read_letters(path):
                if letter is not None and (not event_ids or letter.event_id in event_ids):
                    chosen.append(letter)
                elif letter is not None or keeps_unreadable:
                    kept.append(line)
            use(chosen)
            _rewrite(path, kept)


def _rewrite(path: Path, lines: list[bytes]) -> None:
    if not lines:
        path.unlink(missing_ok=True)
        return
    draft = path.with_suffix(f".draft-{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_bytes(b"".join(lines))
    draft.replace(path)


def _send(chosen: list[DeadLetter], delivery: Delivery, database: Database) -> None:
    parts: deque[tuple[str, list[Event]]] = deque()
    for function in FUNCTIONS.values():
        events = [letter.event for letter in chosen if letter.kind == function]
        if events:
            parts.append((function, events))
    records = [(_record_of(letter), 0) for letter in chosen if letter.kind not in FUNCTIONS.values()]
    readable_now = delivery.prepare(records)
    if readable_now is not None:
        parts += readable_now.parts
    delivery.send(Batch(0, len(chosen), parts), database)


def _record_of(letter: DeadLetter) -> bytes:
    try:
        return b64decode(str(letter.event.get("record", "")), validate=True)
    except ValueError:
        return b""
