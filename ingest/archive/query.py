"""Costs and usage of archived months: one expression in ibis, which DuckDB runs by default and Spark where it must.

The expression is the contract: both engines give the same numbers, to the last digit. Money is DECIMAL(38, 24) in both;
the rare value with more digits counts rounded to 24 of them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any, Literal, Protocol

import ibis

from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import ibis.expr.types as ir

    from ingest.archive.storage import Storage

By = Literal["model", "feature", "user", "tenant", "day", "provider", "environment", "operation", "status"]

BY: tuple[By, ...] = ("model", "feature", "user", "tenant", "day", "provider", "environment", "operation", "status")

_COLUMN = {"user": "user_id", "tenant": "tenant_id"}

_VIEW = "treering_archived_calls"

Row = dict[str, Any]


class Engine(Protocol):
    """Runs an expression over Parquet files."""

    def read(self, storage: Storage, paths: Sequence[str]) -> ir.Table:
        """Make a table of the files."""

    def run(self, expression: ir.Table) -> list[Row]:
        """Compute the rows of an expression."""


class DuckDB:
    """DuckDB within this process."""

    def __init__(self) -> None:
        self._backend = ibis.duckdb.connect()
        self._backend.raw_sql("set timezone = 'UTC'")
        # Nothing is downloaded at run time; what is not a folder is read by fsspec.
        self._backend.raw_sql("set autoinstall_known_extensions = false")

    def read(self, storage: Storage, paths: Sequence[str]) -> ir.Table:
        """Make a table of the files."""
        if not storage.is_local:
            self._backend.register_filesystem(storage.filesystem)
        # Not through ibis, which would load an extension for addresses that fsspec reads.
        files = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
        self._backend.raw_sql(
            f"create or replace temp view {_VIEW} as select * from "  # noqa: S608 -- quoted above
            f"read_parquet([{files}], hive_partitioning = false, union_by_name = true)"  # a newer file has more columns
        )
        return self._backend.table(_VIEW)

    def run(self, expression: ir.Table) -> list[Row]:
        """Compute the rows of an expression."""
        cursor = self._backend.raw_sql(self._backend.compile(expression))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


class Spark:
    """Spark: a cluster, or `local[2]` for threads of this machine.

    Args:
        master: As in Spark's own configuration: local[2], spark://host:7077, yarn …
        options: Further settings of Spark.

    Raises:
        ConfigurationError: PySpark is not installed.
    """

    def __init__(self, master: str, options: Mapping[str, str] | None = None) -> None:
        try:
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise ConfigurationError("PySpark is not installed; run: pip install 'treering[archive,spark]'") from error
        builder = SparkSession.builder.master(master).appName("treering archive")
        for name, value in {
            "spark.sql.session.timeZone": "UTC",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            **(options or {}),
        }.items():
            builder = builder.config(name, value)
        self._session = builder.getOrCreate()
        self._backend = ibis.pyspark.connect(self._session)

    def read(self, storage: Storage, paths: Sequence[str]) -> ir.Table:
        """Make a table of the files; every worker must reach them under this address."""
        # Not through ibis, which hands Spark a list as if it were one path.
        urls = [f"file://{path}" for path in paths] if storage.is_local else list(paths)
        self._session.read.parquet(*urls).createOrReplaceTempView(_VIEW)
        return self._backend.table(_VIEW)

    def run(self, expression: ir.Table) -> list[Row]:
        """Compute the rows of an expression."""
        rows: list[Row] = self._backend.to_pyarrow(expression).to_pylist()
        return rows

    def close(self) -> None:
        """End the session and the driver's work in the cluster."""
        self._session.stop()


def summarize(calls: ir.Table, from_time: dt.datetime, to_time: dt.datetime, by: By | None) -> ir.Table:
    """What calls cost and used: the expression that every engine runs.

    Args:
        calls: Archived calls.
        from_time: Beginning, included.
        to_time: End, excluded.
        by: What a row stands for (day: UTC); None for one row in all.

    Returns:
        Rows of key (with `by`), requests, errors, cancelled, users, prompt_tokens, completion_tokens, total_tokens,
        cached_tokens, reasoning_tokens, cost (None where nothing has a price of its own), fallback_cost (beside it),
        unpriced_requests, estimated_requests; the most expensive first, days in their order.
    """
    within = calls.filter(calls.created_at >= ibis.literal(from_time), calls.created_at < ibis.literal(to_time))
    figures = {
        "requests": within.count(),
        "errors": (within.status == "error").cast("int64").sum(),
        "cancelled": (within.status == "cancelled").cast("int64").sum(),
        "users": within.user_id.nunique(),
        "prompt_tokens": within.prompt_tokens.sum().cast("int64"),
        "completion_tokens": within.completion_tokens.sum().cast("int64"),
        "total_tokens": (within.prompt_tokens + within.completion_tokens).sum().cast("int64"),
        "cached_tokens": within.cached_tokens.sum().cast("int64"),
        "reasoning_tokens": within.reasoning_tokens.sum().cast("int64"),
        "cost": within.estimated_cost.sum(where=within.cost_source != "fallback").cast("decimal(38, 24)"),
        "fallback_cost": within.estimated_cost.sum(where=within.cost_source == "fallback").cast("decimal(38, 24)"),
        "unpriced_requests": (within.cost_source == "unpriced").cast("int64").sum(),
        "estimated_requests": (within.usage_source != "reported").cast("int64").sum(),
    }
    if by is None:
        return within.aggregate(**figures)
    if by == "day":
        key = within.created_at.strftime("%Y-%m-%d")
        return within.group_by(key=key).aggregate(**figures).order_by("key")
    grouped = within.group_by(key=within[_COLUMN.get(by, by)]).aggregate(**figures)
    return grouped.order_by(ibis.desc("cost", nulls_first=False), ibis.asc("key", nulls_first=False))


def query(storage: Storage, engine: Engine, from_time: dt.datetime, to_time: dt.datetime, by: By | None) -> list[Row]:
    """Summarize the archived calls of a time range; see `summarize` for the columns.

    Only files whose months and times overlap the range are read.
    """
    paths = [
        storage.path_of(manifest.kind, manifest.month, part.file)
        if storage.is_local
        else storage.url_of(manifest.kind, manifest.month, part.file)
        for manifest in storage.read_manifests()
        if manifest.kind == "usage"
        for part in manifest.parts()
        if part.min_created_at < to_time and part.max_created_at >= from_time
    ]
    if not paths:
        return []
    return engine.run(summarize(engine.read(storage, paths), _utc(from_time), _utc(to_time), by))


@contextlib.contextmanager
def open_engine(spark_master: str | None) -> Iterator[Engine]:
    """DuckDB, or Spark where a master is named; closed afterwards."""
    if spark_master is None:
        yield DuckDB()
        return
    spark = Spark(spark_master)
    try:
        yield spark
    finally:
        spark.close()


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC)
