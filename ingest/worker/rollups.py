"""Comparing the rollups with the raw calls, a bounded slice of days a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.database import fetch
from ingest.documents.pipeline import RollupCheck

if TYPE_CHECKING:
    from datetime import datetime

    from ingest.database import Database


def verify_rollups(
    database: Database, from_time: datetime | None = None, to_time: datetime | None = None
) -> RollupCheck:
    """Compare every level with the raw calls until all days are done.

    Args:
        database: Opened with the service key.
        from_time: Where the first UTC day begins; None: three days before the end.
        to_time: Where the last UTC day ends; None: that of today.

    Returns:
        What was found in all days together.

    Raises:
        DatabaseError: The database cannot be reached or refuses.
    """
    check = fetch(database, RollupCheck, "verify_rollups", from_time=from_time, to_time=to_time)
    while not check.is_done:
        check = fetch(
            database, RollupCheck, "verify_rollups",
            from_time=check.to_time, to_time=to_time, continues=check.checked_at,
        )  # fmt: skip
    return check
