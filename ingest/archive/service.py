"""What the worker and the commands share: where the archive is, and one run of retention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.archive.archiver import Archiver, Outcome
from ingest.archive.storage import Storage
from ingest.database import fetch
from ingest.documents.pipeline import Pruned
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from ingest.database import Database
    from ingest.settings import Settings

_PRUNE_ROWS = 20_000


def archive_url(settings: Settings) -> str | None:
    """Where the archive is: the setting, else the home of the embedded database; None for any other database.

    A worker in a container has a disk that goes with it, so no folder is assumed there.
    """
    if settings.archive_url is not None:
        return settings.archive_url
    if settings.supabase_db_url is None and settings.supabase_url is None:
        return str(settings.home / "archive")
    return None


def open_storage(settings: Settings) -> Storage:
    """Open the archive.

    Raises:
        ConfigurationError: Nothing says where it is.
    """
    url = archive_url(settings)
    if url is None:
        raise ConfigurationError("TREERING_ARCHIVE_URL: set it to a permanent folder or to s3://bucket/prefix")
    return Storage(url)


def run_retention(database: Database, settings: Settings) -> list[Outcome]:
    """Archive what is past retention, then delete rollups past theirs.

    Raises:
        ArchiveError: Another run is at work.
        DatabaseError: The database failed.
    """
    outcomes = Archiver(database, open_storage(settings), retention_days=settings.metrics_retention_days).run()
    if settings.rollup_retention_days is not None:
        while True:
            pruned = fetch(
                database,
                Pruned,
                "prune_rollups",
                retention_days=settings.rollup_retention_days,
                max_rows=_PRUNE_ROWS,
            )
            if pruned.is_busy or pruned.rows != _PRUNE_ROWS:
                break
    return outcomes
