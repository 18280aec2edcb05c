"""What a Parquet file of the archive looks like. The columns are those of the tables, without the batch's number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["usage", "performance"]

KINDS: tuple[Kind, ...] = ("usage", "performance")

# 14 digits before the point and 24 after it. A value with more of them stands rounded here and in full, as text, in the
# column beside it that ends in `_exact`.
MONEY = pa.decimal128(38, 24)
MONEY_COLUMNS = ("estimated_cost", "provider_cost", "request_fees")
EXACT_SUFFIX = "_exact"

# Rows of a row group: some 15 MB while it is in memory. Twice as many save 2 % on disk and cost memory at the peak.
ROWS_PER_GROUP = 32_768
# Groups of a part: about a million rows, 30 to 100 MB on disk.
GROUPS_PER_PART = 32

_ID = pa.binary(16)  # the bytes of the UUID; Parquet's own UUID type is not read by Spark
_TIME = pa.timestamp("us", tz="UTC")


def _columns(kind: pa.DataType, *names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, kind) for name in names]


_USAGE = pa.schema(
    [
        ("event_id", _ID),
        *_columns(_TIME, "created_at", "received_at"),
        *_columns(pa.string(), "user_id", "session_id", "feature", "environment", "provider", "model", "operation"),
        *_columns(pa.string(), "status", "error_type", "finish_reason"),
        ("streamed", pa.bool_()),
        ("service_tier", pa.string()),
        *_columns(pa.int64(), "prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens"),
        *_columns(pa.int64(), "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "max_output_tokens"),
        ("usage_source", pa.string()),
        ("estimated_cost", MONEY),
        *_columns(pa.string(), "cost_source", "price_id"),
        *_columns(MONEY, "provider_cost", "request_fees"),
        *_columns(pa.float64(), "latency_ms", "time_to_first_token_ms"),
        ("request_group_id", pa.string()),
        ("attempt", pa.int32()),
        *_columns(pa.string(), "prompt_hash", "prefix_hash", "response_id", "metadata", "usage_details"),
        *_columns(pa.string(), *(name + EXACT_SUFFIX for name in MONEY_COLUMNS)),
    ]
)

_PERFORMANCE = pa.schema(
    [
        ("event_id", _ID),
        *_columns(_TIME, "created_at", "received_at"),
        *_columns(pa.string(), "environment", "route", "method"),
        ("status_code", pa.int32()),
        *_columns(pa.string(), "error_type", "user_id"),
        *_columns(pa.float64(), "latency_ms", "time_to_first_byte_ms", "sample_weight"),
        ("metadata", pa.string()),
    ]
)

SCHEMAS: Mapping[Kind, pa.Schema] = {"usage": _USAGE, "performance": _PERFORMANCE}


def as_kind(text: object) -> Kind:
    """Check that a text from outside names a kind of rows."""
    for kind in KINDS:
        if text == kind:
            return kind
    raise ValueError(f"neither usage nor performance: {text!r}")
