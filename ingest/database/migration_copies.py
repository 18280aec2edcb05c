"""Copies the migrations into the folder of a project that deploys by `supabase db push`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ingest.database.migrate import LOCK_KEY, Migration, read_migrations
from ingest.errors import MigrationError

if TYPE_CHECKING:
    from pathlib import Path

_TIMESTAMP = "%Y%m%d%H%M%S"
_MARK = re.compile(r"^-- Treering (?P<version>\d+) (?P<checksum>[0-9a-f]{64})$", re.MULTILINE)

# The whole file is one statement: it does nothing where `treering migrate`, or an earlier copy, was faster. The history
# exists only after the first file, so it is read by a statement that is not looked at before.
_COPY = """-- Treering {version} {checksum}
-- Copied by `treering migrations copy`. Applied once: by `supabase db push` or by `treering migrate`.
do $treering_copy$
declare
  v_is_applied boolean := false;
begin
  perform pg_catalog.pg_advisory_xact_lock({lock_key});
  if to_regclass('observability_internal.migrations') is not null then
    execute 'select exists (select from observability_internal.migrations where version = $1)'
    into v_is_applied using '{version}'::text;
  end if;
  if not v_is_applied then
    execute $treering_body$
{sql}
$treering_body$;
    execute 'select observability_internal.record_migration($1, $2, $3)'
    using '{version}'::text, '{name}'::text, '{checksum}'::text;
  end if;
end;
$treering_copy$;
"""


def copy_migrations(folder: Path, *, now: datetime, source: Path | None = None) -> list[Path]:
    """Write those migrations into a folder that it does not hold yet, with fresh timestamps.

    Args:
        folder: A project's `supabase/migrations`.
        now: The first new file's timestamp, unless the folder holds a later one.
        source: Where the migrations are; by default those that came with this version of Treering.

    Returns:
        The files written, in the order in which they apply.

    Raises:
        MigrationError: The folder is missing, or holds a copy of another text of a migration.
    """
    if not folder.is_dir():
        raise MigrationError(f"{folder} is not a folder: run `supabase init` first, or name the project's migrations")
    present = read_migrations(folder)
    copied = {mark["version"]: (mark["checksum"], held) for held in present if (mark := _MARK.search(held.sql))}
    stamp = max([now.astimezone(UTC).strftime(_TIMESTAMP), *(_after(held.version) for held in present)])
    written = []
    for migration in read_migrations(source):
        checksum, held = copied.get(migration.version, (None, None))
        if held is not None and checksum != migration.checksum:
            raise MigrationError(
                f"{folder / held.title}.sql holds another text of {migration.title}: it comes from another version of "
                "Treering; delete it if it was never pushed"
            )
        if held is None:
            path = folder / f"{stamp}_treering_{migration.name}.sql"
            path.write_text(_compose(migration), encoding="utf-8")
            written.append(path)
            stamp = _after(stamp)
    return written


def _after(version: str) -> str:
    """The next second; other numbering than by timestamps cannot be followed and sorts before every timestamp."""
    try:
        return (datetime.strptime(version, _TIMESTAMP).replace(tzinfo=UTC) + timedelta(seconds=1)).strftime(_TIMESTAMP)
    except ValueError:
        return ""


def _compose(migration: Migration) -> str:
    return _COPY.format(
        version=migration.version,
        name=migration.name,
        checksum=migration.checksum,
        lock_key=LOCK_KEY,
        sql=migration.sql.rstrip("\n"),
    )
