"""Erases a person from the database and from the archive.

What is left of a call identifies nobody: model, tokens, cost and minute, and the customer that
it is charged to. So totals, which say what was spent, stay right.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import time
import uuid
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.archive.parts import read_groups, verify_part, write_parts
from ingest.database import fetch
from ingest.documents.pipeline import ErasedRows
from ingest.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ingest.archive.manifest import Generation, Manifest, Part
    from ingest.archive.storage import Storage
    from ingest.database import Database

FORGOTTEN = "(forgotten)"
LEASE_NAME = "archive"
_LEASE_TTL_S = 120
_ERASED = ("session_id", "request_group_id", "prompt_hash", "prefix_hash", "prompt_blocks", "response_id", "metadata")
_WAIT_S = 1.0
_LONGEST_WAIT_S = 300


@dataclasses.dataclass(slots=True)
class Erasure:
    """What was erased.

    Attributes:
        usage_rows: LLM calls anonymised.
        performance_rows: Requests anonymised.
        rollup_rows: Rollup rows of months without raw rows, moved to the shared key.
        other_rows: Members, rejected events, names of who changed something.
        archive_rows: Archived calls and requests anonymised.
        archive_parts: Files of the archive that were rewritten.
    """

    usage_rows: int = 0
    performance_rows: int = 0
    rollup_rows: int = 0
    other_rows: int = 0
    archive_rows: int = 0
    archive_parts: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Person:
    user_id: str
    salt: str

    def rename(self, event_id: bytes) -> bytes:
        """The event's new id, the same as in the database; without the salt nothing leads from one to the other."""
        return hashlib.md5(f"{self.salt}{uuid.UUID(bytes=event_id)}".encode(), usedforsecurity=False).digest()


def forget_user(
    database: Database,
    storage: Storage | None,
    user_id: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    on_part: Callable[[], None] = lambda: None,
) -> Erasure:
    """Erase a person everywhere. Safe to repeat, also after dying half-way.

    Args:
        database: Opened as service_role.
        storage: The archive, None where there is none.
        user_id: The person, as in the recorded events.
        sleep: Waits this many seconds.
        on_part: Told after each file of the archive.

    Raises:
        ArchiveError: A file of the archive is damaged, or another run of the archive is at work.
        DatabaseError: The database failed.
    """
    erasure = Erasure()
    holder = f"forget-{uuid.uuid4()}"
    # Retention must not carry rows to the archive while they are erased here.
    if not database.call("acquire_lease", name=LEASE_NAME, holder=holder, ttl_s=_LEASE_TTL_S):
        raise ArchiveError("an archive run is in progress; try again when it has finished")

    def go_on() -> None:
        if not database.call("acquire_lease", name=LEASE_NAME, holder=holder, ttl_s=_LEASE_TTL_S):
            raise ArchiveError("another archive run took over; run the command again to continue")

    try:
        salt = _forget_in_database(database, user_id, erasure, sleep, go_on)
        if storage is not None:
            for manifest in storage.read_manifests():
                go_on()
                _forget_in_month(storage, manifest, _Person(user_id, salt), erasure, on_part)
        database.call(
            "finish_erasure",
            user_id=user_id,
            counts={"archive_rows": erasure.archive_rows, "archive_parts": erasure.archive_parts},
        )
    finally:
        database.call("release_lease", name=LEASE_NAME, holder=holder)
    return erasure


def _forget_in_database(
    database: Database,
    user_id: str,
    erasure: Erasure,
    sleep: Callable[[float], None],
    go_on: Callable[[], None],
) -> str:
    waited_s = 0.0
    while True:
        erased = fetch(database, ErasedRows, "forget_user", user_id=user_id)
        erasure.usage_rows += erased.usage_rows
        erasure.performance_rows += erased.performance_rows
        erasure.rollup_rows += erased.rollup_rows
        erasure.other_rows += erased.other_rows
        moved = erased.usage_rows + erased.performance_rows + erased.rollup_rows + erased.other_rows
        if erased.is_done:
            return str(erased.event_salt)
        go_on()
        if moved == 0:
            # What is left waits for its roll-up: rows are changed once they are counted.
            database.call("roll_up")
            if waited_s >= _LONGEST_WAIT_S:
                raise ArchiveError("rows have waited too long for the roll-up; is another one running?")
            sleep(_WAIT_S)
            waited_s += _WAIT_S


def _forget_in_month(
    storage: Storage, manifest: Manifest, person: _Person, erasure: Erasure, on_part: Callable[[], None]
) -> None:
    generations: list[Generation] = []
    changed = False
    for generation in manifest.generations:
        parts: list[Part] = []
        for part in generation.parts:
            rewritten, rows = _forget_in_part(storage, manifest, part, person)
            parts.append(rewritten)
            if rows:
                changed = True
                erasure.archive_rows += rows
                erasure.archive_parts += 1
                on_part()
        generations.append(generation.model_copy(update={"parts": tuple(parts)}))
    if changed:
        manifest = manifest.with_generations(*generations)
        storage.write_manifest(manifest)
    # Also what an earlier run left behind: an old file still holds the person.
    storage.sweep(manifest)


def _forget_in_part(storage: Storage, manifest: Manifest, part: Part, person: _Person) -> tuple[Part, int]:
    kind, month = manifest.kind, manifest.month
    with storage.fetch(kind, month, part.file) as path:
        rows = _count_rows(path, person.user_id)
        if rows == 0:
            return part, 0
        verify_part(storage, kind, month, part)

        def anonymous() -> Iterator[pa.Table]:
            for table in read_groups(path):
                yield _anonymize(table, person)

        groups = pq.read_metadata(path).num_row_groups
        prefix = f"{part.file.removesuffix('.parquet').split('.')[0]}.{secrets.token_hex(4)}"
        (rewritten,) = write_parts(storage, kind, month, anonymous(), prefix=prefix, groups_per_part=groups + 1)
    if rewritten.rows != part.rows:
        raise ArchiveError(f"{part.file} lost rows while it was rewritten; the old file is kept")
    return rewritten, rows


def _count_rows(path: Path, user_id: str) -> int:
    column = pq.read_table(path, columns=["user_id"], use_threads=False).column(0)
    return int(pc.sum(pc.equal(column, user_id)).as_py() or 0)


def _anonymize(table: pa.Table, person: _Person) -> pa.Table:
    theirs = pc.fill_null(pc.equal(table.column("user_id"), person.user_id), False)
    count = int(pc.sum(theirs).as_py() or 0)
    if count == 0:
        return table
    new_ids = pa.array(
        [person.rename(one) for one in table.column("event_id").filter(theirs).to_pylist()], pa.binary(16)
    )
    columns = {name: table.column(name) for name in table.column_names}
    columns["event_id"] = pc.replace_with_mask(_whole(columns["event_id"]), _whole(theirs), new_ids)
    columns["user_id"] = pc.if_else(
        theirs, pa.scalar(FORGOTTEN if "model" in columns else None, pa.string()), columns["user_id"]
    )
    for name in ("created_at", "received_at"):
        columns[name] = pc.if_else(theirs, pc.floor_temporal(columns[name], unit="minute"), columns[name])
    for name in _ERASED:
        if name in columns:
            columns[name] = pc.if_else(theirs, pa.scalar(None, pa.string()), columns[name])
    if "tenant_id" in columns:  # a tenant that bears the person's own id goes
        columns["tenant_id"] = pc.if_else(
            pc.and_(theirs, pc.fill_null(pc.equal(columns["tenant_id"], person.user_id), False)),
            pa.scalar(None, pa.string()),
            columns["tenant_id"],
        )
    return pa.table(columns).cast(table.schema)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
