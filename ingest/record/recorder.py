"""One process's recorder: takes events in, keeps them in the journal and has them delivered."""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from ingest.errors import ConfigurationError
from ingest.notices import Notices
from ingest.record.dead_letters import DEAD_LETTERS_FILE, DeadLetters
from ingest.record.delivery import Delivery
from ingest.record.encoding import USAGE, encode
from ingest.record.event_id import identify
from ingest.record.flusher import Backoff, Flusher
from ingest.record.hashing import load_salt
from ingest.record.journal import Journal
from ingest.record.open_calls import MAX_RECORD_BYTES
from ingest.record.tags import keep_declared

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from pydantic import JsonValue

    from ingest.database import Argument, Database
    from ingest.prices.costing import Costing
    from ingest.prices.in_force import Prices
    from ingest.record.event import Event
    from ingest.record.open_calls import OpenCall
    from ingest.settings import Settings

# Held while modules are imported in the background: a fork in the middle would leave the child with a locked import.
IMPORT_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Stats:
    """What the recorder of this process has done since it started.

    Attributes:
        recorded: Events taken in.
        pending: Events that wait in the journal, those of dead processes included.
        delivered: Events that the database has taken; a repeated one counts again.
        stored: Of those, new rows.
        refused: Events that the database refused for good; see `treering dead-letters list`.
        dropped: Events lost because the journal was full, or because they were in memory alone at the end.
        lost: Events that could not even be kept, by a fault of ours.
        corrected: Events with something that could not be right; `metadata.treering_flags` says what.
        fallback_priced: Events priced as `TREERING_FALLBACK_MODEL`.
        unpriced: Events without a price.
        adopted: Events taken over from dead processes.
        failed_calls: Failed tries to reach the database or to store a batch.
        journal_bytes: Size of the journal.
        is_on_disk: Whether events survive the process; False where the disk does not serve or recording is off.
        last_error: Why the last try failed; None after a success.
    """

    recorded: int = 0
    pending: int = 0
    delivered: int = 0
    stored: int = 0
    refused: int = 0
    dropped: int = 0
    lost: int = 0
    corrected: int = 0
    fallback_priced: int = 0
    unpriced: int = 0
    adopted: int = 0
    failed_calls: int = 0
    journal_bytes: int = 0
    is_on_disk: bool = False
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept and how it travels.

    Attributes:
        batch_size: Most events of one call to the database.
        flush_interval_s: Longest time an event waits for others to travel with.
        journal_max_bytes: Size of this process's journal beyond which the oldest events are dropped.

    Raises:
        ValueError: A size or time is out of range.
    """

    batch_size: int = 500
    flush_interval_s: float = 1.0
    journal_max_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= 10_000:
            raise ValueError("batch_size must be 1 to 10,000")
        if not 0 <= self.flush_interval_s <= 3600:
            raise ValueError("flush_interval_s must be 0 to 3600")


class Recorder:
    """Records events of one process.

    Args:
        home: `TREERING_HOME`.
        open_database: Opens the database; raises a `TreeringError` while there is none.
        fallback_model: See `Settings`.
        deployments: See `Settings`.
        providers: See `Settings`.
        trusted_costs: See `Settings`.
        region: See `Settings`.
        tags: See `Settings`; None takes any.
        hash_salt: See `Settings`.
        keeps_blocks: Whether `track` hashes beginnings of prompts, see `Settings.prompt_blocks`.
        limits: Sizes and times.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        home: Path,
        open_database: Callable[[], Database],
        *,
        fallback_model: str | None = None,
        deployments: Mapping[str, str] | None = None,
        providers: Mapping[str, str] | None = None,
        trusted_costs: Collection[str] = (),
        region: str | None = None,
        tags: Collection[str] | None = None,
        hash_salt: str | None = None,
        keeps_blocks: bool = True,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home = home
        self._fallback_model = fallback_model
        self._deployments = deployments
        self.providers: Mapping[str, str] = providers or {}
        self.trusted_costs = trusted_costs
        self._region = region
        self._tags = tags
        self._hash_salt = hash_salt
        self.keeps_blocks = keeps_blocks
        self._batch_size = limits.batch_size
        self._notices = Notices(clock)
        self._lost = 0
        self._journal = Journal(
            home / "journal", max_bytes=limits.journal_max_bytes, on_disk_trouble=self._report_disk_trouble
        )
        self._flusher = Flusher(
            self._journal,
            self._make_delivery,
            open_database,
            self._notices,
            Backoff(random.Random()),  # noqa: S311 -- spreads retries
            batch_size=limits.batch_size,
            interval_s=limits.flush_interval_s,
            clock=clock,
        )
        self._thread: threading.Thread | None = None

    @cached_property
    def salt(self) -> bytes:
        """The key of all hashes."""
        return load_salt(self._home, self._hash_salt)

    def start(self) -> None:
        """Start the background thread; an interpreter that is shutting down refuses, and the journal keeps all."""
        thread = threading.Thread(target=self._flusher.run, name="treering", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return
        self._thread = thread

    def record(self, kind: bytes, fields: dict[str, object], event_id: object, created_at: object) -> uuid.UUID | None:
        """Keep one event; returns its id, or None where this recorder has been shut down."""
        made = None
        try:
            made, kept = identify(fields, event_id, created_at)
            if "tags" in kept:
                self._check_tags(kept)
            if "flags" in kept:
                self._warn_of(kept["flags"])
            count = self._journal.append(encode(kind, kept))
            if not count:
                return None
            flusher = self._flusher
            if flusher.is_idle or not count % self._batch_size:
                flusher.ring()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the product goes on
            self._lost += 1
            self._notices.warn("lost", f"an event could not be recorded: {type(error).__name__}", level=logging.ERROR)
        return made or uuid7()

    def open_call(self, fields: dict[str, object], event_id: object, created_at: object) -> OpenCall | None:
        """Keep a call of a model whose answer is still coming; None where that cannot be done."""
        try:
            _, kept = identify(fields, event_id, created_at)
            if "tags" in kept:
                self._check_tags(kept)
            record = encode(USAGE, kept)
            if len(record) > MAX_RECORD_BYTES:
                record = encode(USAGE, {name: value for name, value in kept.items() if name != "metadata"})
            return self._journal.open_call(record)
        except Exception as error:  # noqa: BLE001 -- as above; the call is recorded when it ends
            self._notices.warn("open call", f"a call could not be kept while it goes on: {type(error).__name__}")
            return None

    def flush(self, timeout_s: float, *, is_patient: bool = True) -> bool:
        """Wait until what was recorded so far is settled; False where that took longer than `timeout_s`."""
        if self._thread is None or not self._thread.is_alive():
            return self._journal.settled >= self._journal.appended
        return self._flusher.wait_settled(timeout_s, is_patient=is_patient)

    def shutdown(self, timeout_s: float, *, is_patient: bool = True) -> bool:
        """Flush, stop the thread and let go of the journal, in `timeout_s` altogether."""
        deadline = time.monotonic() + timeout_s
        is_settled = self.flush(timeout_s, is_patient=is_patient)
        self._flusher.stop()
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        self._journal.close()
        return is_settled

    def abandon(self) -> None:
        """Forget everything, in a forked child: it is the parent's."""
        self._journal.abandon()

    def stats(self) -> Stats:
        """Return the figures of this moment."""
        journal, flusher = self._journal, self._flusher
        tally = flusher.delivery.tally if flusher.delivery is not None else None
        return Stats(
            recorded=journal.appended,
            pending=journal.pending,
            delivered=tally.delivered if tally else 0,
            stored=tally.stored if tally else 0,
            refused=tally.refused if tally else 0,
            dropped=journal.dropped,
            lost=self._lost,
            corrected=tally.corrected if tally else 0,
            fallback_priced=tally.fallback_priced if tally else 0,
            unpriced=tally.unpriced if tally else 0,
            adopted=journal.adopted,
            failed_calls=flusher.failed_calls,
            journal_bytes=journal.size_bytes,
            is_on_disk=journal.is_on_disk,
            last_error=flusher.last_error,
        )

    def price(self, event: Event) -> None:
        """Add the cost to a usage event, by the prices that are known now."""
        self._pricing[1].apply(event)

    @cached_property
    def _pricing(self) -> tuple[Prices, Costing]:
        with IMPORT_LOCK:
            from ingest.prices.costing import Costing
            from ingest.prices.in_force import Prices

        prices = Prices(self._notices, deployments=self._deployments, providers=self.providers, region=self._region)
        return prices, Costing(self._fallback_model, self._notices, lambda: prices.book)

    def _make_delivery(self) -> Delivery:
        prices, costing = self._pricing
        dead_letters = DeadLetters(self._home / DEAD_LETTERS_FILE)
        return Delivery(costing.apply, dead_letters, self._notices, prices.refresh_if_due)

    def _report_disk_trouble(self, error: OSError) -> None:
        self._notices.warn(
            "disk",
            f"the journal in {self._home} cannot be written ({error.strerror or error}); "
            "until it can, events are kept in memory and are lost if the process ends",
        )

    def _check_tags(self, fields: dict[str, object]) -> None:
        declared = self._tags
        unknown = keep_declared(fields, declared) if declared is not None else []
        if declared is not None and unknown:
            self._notices.warn(
                "tags",
                f"the tag {unknown[0]} is not declared and goes to metadata: "
                f"set TREERING_TAGS={','.join((*declared, unknown[0]))} to see figures by it",
            )

    def _warn_of(self, flags: object) -> None:
        assert isinstance(flags, list)
        if "event_id:repeat_not_recognisable" in flags:
            self._notices.warn(
                "identity",
                "an event_id that is not a UUIDv7 was passed without created_at: "
                "recording the same event again would count it twice",
            )
        if "created_at:epoch" in flags:
            self._notices.warn("epoch", "a created_at that is a number is taken as seconds or milliseconds since 1970")
        if "created_at:not_a_time" in flags:
            self._notices.warn("time", "a created_at that is no time is replaced by the time of recording")
        if "created_at:without_zone" in flags:
            self._notices.warn("zone", "a created_at without a time zone is read as UTC")


def opening(settings: Settings) -> Callable[[], Database]:
    """Return what opens the database that the settings name."""

    def open_it() -> Database:
        with IMPORT_LOCK:
            from ingest.database import open_database

        return open_database(settings)

    return open_it


class KeepOpen:
    """A database that somebody else opened and will close."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        """See `Database.call`."""
        return self._database.call(function, **arguments)

    def close(self) -> None:
        """Leave it open."""


def raising(error: ConfigurationError) -> Callable[[], Database]:
    """Return what raises `error` instead of opening a database."""

    def raise_it() -> Database:
        raise ConfigurationError(str(error))

    return raise_it
