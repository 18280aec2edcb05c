"""The state of the pipeline, and what its jobs answer."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal

from pydantic import Field, JsonValue

from ingest.documents.delivery import DeliveryHealth  # noqa: TC001
from ingest.documents.document import Document
from ingest.documents.statement import StatementDelivery  # noqa: TC001


class WorkerState(Document):
    """A worker that reported within the last hour; `details` is what it says of itself."""

    worker: str
    seen_at: datetime
    is_leader: bool = False
    details: dict[str, JsonValue] | None = None


class Verification(Document):
    """The last comparison of the rollups with the raw rows."""

    checked_at: datetime
    is_exact: bool
    requests: int = 0
    difference_count: int = 0


class Rejection(Document):
    """The event that was refused last."""

    received_at: datetime
    reason: str


class CatalogueCheck(Document):
    """When the worker last asked for the published price catalogue; `error` says why it could not have it."""

    checked_at: datetime
    error: str | None = None
    failing_since: datetime | None = None


class Status(Document):
    """Document of `get_status`; times by the database's own clock."""

    server_time: datetime
    server_version: str
    schema_version: str | None = None
    migrations: tuple[str, ...] = ()
    newest_event_at: datetime | None = None
    pending_rows: int = 0
    oldest_pending_at: datetime | None = None
    catalogue: CatalogueCheck | None = None
    rejected_events: int = 0
    last_rejection: Rejection | None = None
    stale_hours: int = 0
    verification: Verification | None = None
    refreshed_at: datetime | None = None
    delivery: DeliveryHealth | None = None
    statements: tuple[StatementDelivery, ...] = ()
    workers: tuple[WorkerState, ...] = ()
    partitions: int = 0
    usage_rows_estimate: int = 0


class RolledUp(Document):
    """Answer of `roll_up`; `is_busy` while another increment is at work."""

    is_busy: bool = False
    pending_batches: int = 0


class Condensed(Document):
    """Answer of `condense_rollups`; work is left until `is_done`."""

    is_busy: bool = False
    is_done: bool = False


class Rebuilt(Document):
    """Answer of `rebuild_rollups`."""

    usage_rows: int
    performance_rows: int
    skipped_days: int


class RollupDifference(Document):
    """Where a level of a day differs from its raw rows; None where a figure is not compared."""

    day: datetime
    level: str
    requests: Decimal | None = None
    raw_requests: Decimal | None = None
    tokens: Decimal | None = None
    raw_tokens: Decimal | None = None
    cost: Decimal | None = None
    raw_cost: Decimal | None = None
    samples: Decimal | None = None
    raw_samples: Decimal | None = None


class RollupCheck(Document):
    """Document of `verify_rollups`: days from `from_time` up to `to_time`; the rest is left until `is_done`."""

    checked_at: datetime
    from_time: datetime
    to_time: datetime
    is_done: bool
    is_exact: bool
    levels: dict[str, int] = Field(default_factory=dict)
    requests: int = 0
    tokens: int = 0
    cost: Decimal = Decimal(0)
    difference_count: int = 0
    differences: tuple[RollupDifference, ...] = ()


class Pruned(Document):
    """Answer of `prune_rollups`; `is_busy` while another job holds the rollups."""

    is_busy: bool
    rows: int


class ErasedRows(Document):
    """Answer of `forget_user`: the rows of one batch, and the salt that renames the person's events in the archive."""

    is_done: bool
    usage_rows: int = 0
    performance_rows: int = 0
    rollup_rows: int = 0
    other_rows: int = 0
    event_salt: str | None = None


class ColumnSum(Document):
    """How many values a column has, and their sum as text."""

    count: int
    sum: str


class PartitionSummary(Document):
    """Document of `summarize_partition`; those of different days of a month add up."""

    rows: int
    columns: dict[str, ColumnSum] = Field(default_factory=dict)


class Partition(Document):
    """One month in the database, of `list_partitions`; `month` is its first day."""

    kind: str
    month: date
    state: str


class ArchivedMonth(Document):
    """One month that the archive took out of the database, of `list_archived_months`."""

    archive_id: str
    is_restored: bool
