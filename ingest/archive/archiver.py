"""Takes months past retention out of the database: written, read back, compared, and only then dropped.

The order of steps makes a death at any of them harmless. Files that no manifest names do not count. The manifest is
written before the rows go; the database notes the archive's id in the transaction that drops them. So the next run can
tell for each generation whether its rows are gone (keep it), still there and the same (drop them), or changed since
(write them again).
"""

from __future__ import annotations

import datetime as dt
import logging
import random
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ingest.archive.manifest import Generation, Manifest
from ingest.archive.parts import verify_part, write_parts
from ingest.archive.reader import read_month
from ingest.archive.schema import GROUPS_PER_PART, ROWS_PER_GROUP, SCHEMAS, Kind, as_kind
from ingest.archive.sums import add_sums, find_differences
from ingest.database import fetch
from ingest.documents.pipeline import ArchivedMonth, Partition, PartitionSummary
from ingest.errors import ArchiveError, DatabaseError, DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ingest.archive.storage import Storage
    from ingest.database import Database
    from ingest.documents.pipeline import ColumnSum

logger = logging.getLogger("treering.archive")

_Answer = TypeVar("_Answer")

LEASE_NAME = "archive"
_LEASE_TTL_S = 120
_LOCK_ATTEMPTS = 60
# Ten million rows a slice at a hundred million a month: a call stays below the minute that hosted databases allow.
_DAYS_A_SLICE = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one month.

    Attributes:
        kind: Which rows.
        month: Its first day.
        rows: How many were dropped; 0 where `problem` says why none were.
        size_bytes: Length of the new files.
        problem: Why the month stays in the database for now.
    """

    kind: Kind
    month: dt.date
    rows: int
    size_bytes: int
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database says of the archive: ids of dropped generations, and those whose rows were put back."""

    dropped: frozenset[str]
    restored: frozenset[str]


class Archiver:
    """Archives what is due.

    Args:
        database: Opened as service_role.
        storage: Where the files go.
        retention_days: How long rows stay, counted from the month's end and from their arrival.
        on_step: Told the name of each step when it is done; tests die there.
        sleep: Waits this many seconds.
        rows_per_group: Rows of a row group, also of what is in memory.
        groups_per_part: Row groups of a file.
    """

    def __init__(
        self,
        database: Database,
        storage: Storage,
        *,
        retention_days: int,
        on_step: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        rows_per_group: int = ROWS_PER_GROUP,
        groups_per_part: int = GROUPS_PER_PART,
    ) -> None:
        self._database = database
        self._storage = storage
        self._retention_days = retention_days
        self._on_step = on_step
        self._sleep = sleep
        self._rows_per_group = rows_per_group
        self._groups_per_part = groups_per_part
        self._holder = f"archive-{uuid.uuid4()}"

    def run(self) -> list[Outcome]:
        """Archive every month that is due; one that fails does not stop the others.

        Raises:
            ArchiveError: Another run is at work.
            DatabaseError: The database cannot be reached or refuses to be asked.
        """
        self._hold_lease()
        try:
            known = self._ask_known()
            self._confirm(known)
            listed = fetch(self._database, list[Partition], "list_partitions", retention_days=self._retention_days)
            return [self._archive_safely(as_kind(one.kind), one.month, known) for one in listed if one.state == "due"]
        finally:
            self._database.call("release_lease", name=LEASE_NAME, holder=self._holder)

    def _hold_lease(self) -> None:
        if not self._database.call("acquire_lease", name=LEASE_NAME, holder=self._holder, ttl_s=_LEASE_TTL_S):
            raise ArchiveError("another archive run is in progress")

    def _ask_known(self) -> _Known:
        months = fetch(self._database, list[ArchivedMonth], "list_archived_months")
        return _Known(
            dropped=frozenset(month.archive_id for month in months),
            restored=frozenset(month.archive_id for month in months if month.is_restored),
        )

    def _confirm(self, known: _Known) -> None:
        """Note the drops that a run did not live to note."""
        for manifest in self._storage.read_manifests():
            generations = [
                one.model_copy(update={"dropped_at": dt.datetime.now(dt.UTC)})
                if one.dropped_at is None and one.archive_id in known.dropped
                else one
                for one in manifest.generations
            ]
            if generations != list(manifest.generations):
                manifest = manifest.with_generations(*generations)
                self._storage.write_manifest(manifest)
                self._storage.sweep(manifest)

    def _archive_safely(self, kind: Kind, month: dt.date, known: _Known) -> Outcome:
        try:
            outcome = self._archive(kind, month, known)
        except DatabaseUnavailableError:
            raise
        except (ArchiveError, DatabaseError, OSError) as error:
            logger.warning("%s of %s stay in the database: %s", kind, f"{month:%Y-%m}", error)
            return Outcome(kind, month, 0, 0, str(error))
        logger.info("%s of %s: %s rows archived", kind, f"{month:%Y-%m}", f"{outcome.rows:,}")
        return outcome

    def _archive(self, kind: Kind, month: dt.date, known: _Known) -> Outcome:
        self._hold_lease()
        watch_id = self._watch(kind, month)
        summary = self._summarize(kind, month)
        expected = summary.columns
        unknown = expected.keys() - set(SCHEMAS[kind].names)
        if unknown:
            raise ArchiveError(f"this version does not know the columns {', '.join(sorted(unknown))}: upgrade Treering")
        if summary.rows == 0:
            self._drop(kind, month, str(uuid.uuid4()), watch_id, 0)
            return Outcome(kind, month, 0, 0)
        manifest = self._storage.read_manifest(kind, month)
        kept = [one for one in manifest.generations if one.archive_id in known.dropped - known.restored]
        generation = self._find_finished(manifest, expected, known) or self._write(kind, month, expected)
        if generation not in manifest.generations or len(kept) + 1 != len(manifest.generations):
            manifest = manifest.with_generations(*kept, generation)
            self._storage.write_manifest(manifest)
        self._on_step("manifest")
        self._drop(kind, month, generation.archive_id, watch_id, summary.rows)
        self._on_step("dropped")
        done = generation.model_copy(update={"dropped_at": dt.datetime.now(dt.UTC)})
        manifest = manifest.with_generations(*kept, done)
        self._storage.write_manifest(manifest)
        self._on_step("confirmed")
        self._storage.sweep(manifest)
        return Outcome(kind, month, generation.rows, sum(part.size_bytes for part in generation.parts))

    def _summarize(self, kind: Kind, month: dt.date) -> PartitionSummary:
        """Add up a month, some days a call; the watch notes what changes between the calls."""
        slices = []
        for first_day in range(1, 32, _DAYS_A_SLICE):
            last_day = min(first_day + _DAYS_A_SLICE - 1, 31)
            slices.append(
                fetch(
                    self._database,
                    PartitionSummary,
                    "summarize_partition",
                    kind=kind,
                    month=month.isoformat(),
                    first_day=first_day,
                    last_day=last_day,
                )
            )
            self._hold_lease()
        return PartitionSummary(
            rows=sum(one.rows for one in slices),
            columns=add_sums(one.columns for one in slices),
        )

    def _find_finished(self, manifest: Manifest, expected: Mapping[str, ColumnSum], known: _Known) -> Generation | None:
        """Find a generation that holds these very rows already, of a run that died before the drop."""
        for generation in manifest.generations:
            if generation.archive_id in known.dropped:
                continue
            if not find_differences(expected, generation.columns):
                for part in generation.parts:
                    verify_part(self._storage, manifest.kind, manifest.month, part)
                return generation
            if generation.dropped_at is not None:
                raise ArchiveError(
                    f"the archive holds {generation.rows:,} rows that this database has no record of "
                    "dropping: was it restored from a backup, or does another database use the same archive?"
                )
        return None

    def _write(self, kind: Kind, month: dt.date, expected: Mapping[str, ColumnSum]) -> Generation:
        archive_id = str(uuid.uuid4())

        def on_part() -> None:
            self._hold_lease()
            self._on_step("part")

        parts = write_parts(
            self._storage,
            kind,
            month,
            read_month(self._database, kind, month, page_rows=self._rows_per_group),
            prefix=f"part-{archive_id[:8]}",
            groups_per_part=self._groups_per_part,
            on_part=on_part,
        )
        generation = Generation(archive_id=archive_id, written_at=dt.datetime.now(dt.UTC), parts=tuple(parts))
        different = find_differences(expected, generation.columns)
        if different:
            raise ArchiveError(f"the rows changed while they were read (sums of {', '.join(different)})")
        for part in parts:
            verify_part(self._storage, kind, month, part)
        self._on_step("verified")
        return generation

    def _watch(self, kind: Kind, month: dt.date) -> str:
        """Let the database note what changes in the month from here on; what is summed and read comes after."""
        return self._when_free(
            lambda: fetch(self._database, str, "watch_partition", kind=kind, month=month.isoformat())
        )

    def _drop(self, kind: Kind, month: dt.date, archive_id: str, watch_id: str, rows: int) -> None:
        self._when_free(
            lambda: self._database.call(
                "drop_archived_partition",
                kind=kind,
                month=month.isoformat(),
                retention_days=self._retention_days,
                archive_id=archive_id,
                watch_id=watch_id,
                row_count=rows,
            )
        )

    def _when_free(self, ask: Callable[[], _Answer]) -> _Answer:
        """Ask for a lock again and again: the database lets others go first after 200 ms."""
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                return ask()
            except DatabaseError as error:
                if not error.retryable or isinstance(error, DatabaseUnavailableError):
                    raise
                logger.info("the table is in use, attempt %d: %s", attempt + 1, error)
                self._sleep(random.uniform(0.5, 1.5))  # noqa: S311 -- spreads retries, guards nothing
        raise ArchiveError("the table was in use at every attempt")


def verify_month(storage: Storage, manifest: Manifest) -> list[str]:
    """Read every file of a month back; returns what is wrong."""
    problems = []
    for part in manifest.parts():
        try:
            verify_part(storage, manifest.kind, manifest.month, part)
        except ArchiveError as error:
            problems.append(str(error))
    return problems
