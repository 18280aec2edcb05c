"""Small products that record, for tests that kill, fork and end them: `python -m tests.unit.record.programs NAME HOME`.

Each writes the id of an event to its output after `record_usage` has returned it.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import sqlite3
import sys
import threading
import uuid
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, cast

import ingest
from ingest.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.database import Argument, Database, JsonValue
    from ingest.record.event import Event


STREAMS_AT_ONCE = 7


class FileDatabase:
    """A database in a file that survives its process; stores an event once, as the real one does."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
        with self._connection:
            self._connection.execute("create table if not exists events (event_id text primary key, event text)")

    def call(self, _function: str, /, **arguments: Argument) -> JsonValue:
        events = cast("list[Event]", arguments["events"])
        rows = [(event["event_id"], json.dumps(event)) for event in events]
        with self._connection:
            return self._connection.executemany("insert or ignore into events values (?, ?)", rows).rowcount

    def close(self) -> None:
        self._connection.close()

    def events(self) -> list[Event]:
        return [json.loads(row[0]) for row in self._connection.execute("select event from events")]

    def ids(self) -> list[str]:
        return [row[0] for row in self._connection.execute("select event_id from events")]


def record() -> str:
    return str(ingest.record_usage(user_id="user_1", model="gpt-4o", prompt_tokens=150, completion_tokens=50))


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # one write, unbuffered: it is out when this returns


def endless(home: Path) -> None:
    """Record from two threads forever, with a database."""

    ingest.configure(database=lambda: FileDatabase(home / "events.db"), home=home, flush_interval_s=0.0)
    threading.Thread(target=_record_and_say, daemon=True).start()
    _record_and_say()


def endless_postgres(home: Path) -> None:
    """Do the same with the database of `SUPABASE_DB_URL`."""
    ingest.configure(home=home, flush_interval_s=0.0)
    threading.Thread(target=_record_and_say, daemon=True).start()
    _record_and_say()


def _record_and_say() -> None:
    while True:
        say(record())


def endless_outage(home: Path) -> None:
    """Record forever, without a database, in a journal of many segments."""
    ingest.configure(database=unavailable, home=home, journal_max_bytes=64 * 1024 * 1024)
    while True:
        say(record())


def unavailable() -> Database:
    raise DatabaseUnavailableError("away")


def endless_streams(home: Path) -> None:
    """Open streams for ever, with a database; each is read to its end only after some others were opened."""
    ingest.configure(database=lambda: FileDatabase(home / "events.db"), home=home, flush_interval_s=0.0)
    _stream_and_say()


def endless_streams_postgres(home: Path) -> None:
    """Do the same with the database of `SUPABASE_DB_URL`."""
    ingest.configure(home=home, flush_interval_s=0.0)
    _stream_and_say()


def _stream_and_say() -> None:
    opened: deque[Iterator[object]] = deque()
    while True:
        name = uuid.uuid4().hex
        opened.append(ingest.track_stream(_chunks(), user_id="user_1", session_id=name))
        say(name)
        next(opened[-1])
        if len(opened) == STREAMS_AT_ONCE:
            for _ in opened.popleft():
                pass


def _chunks() -> Iterator[dict[str, object]]:
    for _ in range(5):
        yield {"model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": "eight ch"}, "finish_reason": None}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield {"choices": [], "usage": {"prompt_tokens": 150, "completion_tokens": 10}}


def fork(home: Path) -> None:
    """Record, fork twice as a preloading server does, and record in all three."""
    ingest.configure(database=lambda: FileDatabase(home / "events.db"), home=home, flush_interval_s=3600)
    say(record())
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            for _ in range(3):
                say(record())
            with contextlib.suppress(SystemExit):
                ingest.shutdown(60)
            os._exit(0)
        children.append(child)
    say(record())
    for child in children:
        os.waitpid(child, 0)
    ingest.shutdown(60)


def fork_and_vanish(home: Path) -> None:
    """Record in a child of `multiprocessing`, which ends without any exit handler."""
    ingest.configure(database=unavailable, home=home)
    say(record())
    process = multiprocessing.get_context("fork").Process(target=lambda: say(record()))
    process.start()
    process.join()


def end(home: Path) -> None:
    """Record and end; the exit handler delivers."""
    ingest.configure(database=lambda: FileDatabase(home / "events.db"), home=home, flush_interval_s=3600)
    say(record())


def end_without_database(home: Path) -> None:
    """Record and end where there is no database, by the environment alone."""
    os.environ["TREERING_HOME"] = str(home)
    say(record())


def record_late(home: Path) -> None:
    """Record after everything has been shut down, while the interpreter ends."""
    import atexit

    atexit.register(lambda: say(record()))
    ingest.configure(database=unavailable, home=home)
    say(record())


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
