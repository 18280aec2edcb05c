"""What a Parquet file of the archive looks like. The columns are those of the tables, without the batch's number.

Those of a call follow from `Call`, so that a new field of it is archived.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Literal, get_args

import pyarrow as pa

from ingest.documents.calls import Call

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


_TYPES: Mapping[object, pa.DataType] = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    Decimal: MONEY,
    datetime: _TIME,
    dict[str, object]: pa.string(),  # as JSON
    dict[str, str]: pa.string(),  # as JSON too
}


def _type_of(annotation: object) -> pa.DataType:
    (kind,) = [one for one in get_args(annotation) if one is not NoneType] or [annotation]
    return _TYPES[kind]


def _usage_schema() -> pa.Schema:
    types = {name: _type_of(field.annotation) for name, field in Call.model_fields.items()}
    types |= {"event_id": _ID, "attempt": pa.int32()} | {name + EXACT_SUFFIX: pa.string() for name in MONEY_COLUMNS}
    return pa.schema(list(types.items()))


_PERFORMANCE = pa.schema(
    [
        ("event_id", _ID),
        ("created_at", _TIME),
        ("received_at", _TIME),
        ("environment", pa.string()),
        ("route", pa.string()),
        ("method", pa.string()),
        ("status_code", pa.int32()),
        ("error_type", pa.string()),
        ("user_id", pa.string()),
        ("latency_ms", pa.float64()),
        ("time_to_first_byte_ms", pa.float64()),
        ("sample_weight", pa.float64()),
        ("metadata", pa.string()),
    ]
)

SCHEMAS: Mapping[Kind, pa.Schema] = {"usage": _usage_schema(), "performance": _PERFORMANCE}


def as_kind(text: object) -> Kind:
    """Check that a text from outside names a kind of rows."""
    for kind in KINDS:
        if text == kind:
            return kind
    raise ValueError(f"neither usage nor performance: {text!r}")
