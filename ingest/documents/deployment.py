"""What may be wrong with a deployment and shows in no figure."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time

from ingest.documents.document import Document


class Deployment(Document):
    """Document of `get_deployment`; the lists are empty where everything is as the migrations made it.

    Attributes:
        server_time: The database's own clock.
        tables_without_rls: Tables and partitions whose row level security is off.
        open_to_anon: Schemas, functions and tables granted to anon or to everybody.
        closed_to_viewers: What the pages need and `authenticated` may not use.
        missing_partitions: Partitions of this month and the next that do not exist.
        sealed_channels: Names of the channels that only `TREERING_SECRET_KEY` opens.
        sealed: What it has to open; for the service alone.
        ops_members: How many members have the role ops.
    """

    server_time: datetime
    tables_without_rls: tuple[str, ...] = ()
    open_to_anon: tuple[str, ...] = ()
    closed_to_viewers: tuple[str, ...] = ()
    missing_partitions: tuple[str, ...] = ()
    sealed_channels: tuple[str, ...] = ()
    sealed: tuple[str, ...] = ()
    ops_members: int = 0
