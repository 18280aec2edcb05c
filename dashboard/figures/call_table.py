"""Single calls as a table: columns, their widths, and the lines of one call's details. Pure but for the drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import streamlit as st

from ingest.documents.names import visible_name
from ingest.documents.words import DASH, format_duration, format_exact_usd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal
    from zoneinfo import ZoneInfo

    from ingest.documents.calls import Call

# More decimals than this a cell does not show; the details and the CSV have every digit.
MOST_DECIMALS: Final = 12
ROW_HEIGHT_PX: Final = 35
MOST_ROWS_SEEN: Final = 16

_COLUMNS: Final = {
    "created_at": "Time",
    "estimated_cost": "Cost (US$)",
    "model": "Model",
    "user_id": "User",
    "feature": "Feature",
    "status": "Status",
    "prompt_tokens": "Prompt",
    "completion_tokens": "Completion",
    "latency_ms": "Latency (ms)",
    "time_to_first_token_ms": "First token (ms)",
    "cached_tokens": "Cached",
    "reasoning_tokens": "Reasoning",
    "cost_source": "Cost from",
    "usage_source": "Usage from",
    "finish_reason": "Finish",
    "session_id": "Session",
    "price_id": "Price",
    "environment": "Environment",
}
TURN_COLUMNS: Final = (
    *("created_at", "estimated_cost", "prompt_tokens", "cached_tokens", "completion_tokens"),
    *("model", "feature", "user_id", "latency_ms", "status"),
)
# What the calls are ordered by when the head of a column is chosen.
ORDER_OF: Final = {
    "created_at": "newest",
    "estimated_cost": "cost",
    "prompt_tokens": "tokens",
    "completion_tokens": "tokens",
    "latency_ms": "latency",
}
_COUNTS: Final = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
_NAMES: Final = ("model", "user_id", "feature", "status", "session_id", "environment", "finish_reason")
_DURATIONS: Final = ("latency_ms", "time_to_first_token_ms")


def call_frame(calls: Sequence[Call], *, is_member: bool) -> pd.DataFrame:
    """Return one line per call with the columns that explain a bill; a member has no other users to tell apart."""
    names = [name for name in _COLUMNS if not (is_member and name == "user_id")]
    lines = [call.model_dump(include=set(names)) for call in calls]
    frame = pd.DataFrame(lines, columns=names)
    frame["created_at"] = pd.to_datetime(frame["created_at"], utc=True)
    frame["status"] = [f"{call.status}: {call.error_type}" if call.error_type else call.status for call in calls]
    frame["estimated_cost"] = [None if call.estimated_cost is None else float(call.estimated_cost) for call in calls]
    for name in frame.columns.intersection(list(_NAMES)):
        frame[name] = [visible_name(one) if isinstance(one, str) else one for one in frame[name]]
    return frame.astype({"estimated_cost": "float64", **dict.fromkeys(_DURATIONS, "float64")})


def turn_frame(calls: Sequence[Call], first_turn: int, *, has_users: bool) -> pd.DataFrame:
    """Return one line per turn of a session, numbered, with the columns that explain its growth."""
    names = [name for name in TURN_COLUMNS if has_users or name != "user_id"]
    frame = call_frame(calls, is_member=not has_users)[names]
    frame.insert(0, "turn", list(range(first_turn, first_turn + len(frame))))
    return frame


def exact_decimals(amounts: Sequence[Decimal | None]) -> int:
    """Count the decimals that show every amount to its last digit: at least 2, at most `MOST_DECIMALS`."""
    exponents = [amount.normalize().as_tuple().exponent for amount in amounts if amount]
    longest = max((-exponent for exponent in exponents if isinstance(exponent, int)), default=2)
    return min(max(longest, 2), MOST_DECIMALS)


def call_columns(calls: Sequence[Call], zone: ZoneInfo) -> dict[str, Any]:
    """Return how each column reads."""
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    decimals = exact_decimals([call.estimated_cost for call in calls])
    config: dict[str, Any] = {name: text(label, width="small") for name, label in _COLUMNS.items()}
    config |= {name: number(_COLUMNS[name], format="localized", width=84) for name in _COUNTS}
    config |= {name: number(_COLUMNS[name], format="%,.0f", width=100) for name in _DURATIONS}
    config["turn"] = number("Turn", format="localized", width=58, pinned=True)
    config["created_at"] = st.column_config.DatetimeColumn(
        "Time", format="D MMM HH:mm:ss", timezone=zone.key, width=122, pinned=True, help=f"In {zone.key}"
    )
    config["estimated_cost"] = number(
        "Cost (US$)", format=f"%,.{decimals}f", help="With every digit. — means no price."
    )
    config["model"] = text("Model", width=130)
    config["user_id"] = text("User", width=125)
    config["feature"] = text("Feature", width=110)
    config["status"] = text("Status", width=80)
    config["price_id"] = text("Price", width="medium", help="The price book row used for the call")
    return config


def table_height(rows: int) -> int:
    """Return the height in which a page of calls scrolls."""
    return ROW_HEIGHT_PX * (min(rows, MOST_ROWS_SEEN) + 1) + 3


def facts_of(call: Call, zone: ZoneInfo) -> dict[str, list[tuple[str, str]]]:
    """Return all that is known of a call, as (name, text) by heading; a dash for what was not recorded."""
    return {
        "Cost": [
            ("Cost", format_exact_usd(call.estimated_cost)),
            ("Cost from", call.cost_source),
            ("Price", _text(call.price_id)),
            ("Provider's own figure", format_exact_usd(call.provider_cost)),
            ("Request fees", format_exact_usd(call.request_fees)),
        ],
        "Tokens": [
            ("Prompt", f"{call.prompt_tokens:,}"),
            ("of which cached", f"{call.cached_tokens:,}"),
            ("Cache write", f"{call.cache_write_tokens:,}"),
            ("Audio input", f"{call.audio_input_tokens:,}"),
            ("Completion", f"{call.completion_tokens:,}"),
            ("of which reasoning", f"{call.reasoning_tokens:,}"),
            ("Audio output", f"{call.audio_output_tokens:,}"),
            ("Maximum allowed", DASH if call.max_output_tokens is None else f"{call.max_output_tokens:,}"),
            ("Usage from", call.usage_source),
        ],
        "Call": [
            ("Time", _moment(call.created_at, zone)),
            ("User", call.user_id),
            *([("Tenant", call.tenant_id)] if call.tenant_id else []),
            *((f"Tag {name}", value) for name, value in (call.tags or {}).items()),
            ("Session", _text(call.session_id)),
            ("Feature", _text(call.feature)),
            ("Environment", _text(call.environment)),
            ("Provider", _text(call.provider)),
            ("Model", call.model),
            ("Operation", _text(call.operation)),
            ("Service tier", _text(call.service_tier)),
        ],
        "Outcome": [
            ("Status", call.status),
            ("Error type", _text(call.error_type)),
            ("Finish reason", _text(call.finish_reason)),
            ("Streamed", "yes" if call.streamed else "no"),
            ("Latency", format_duration(call.latency_ms)),
            ("First token", format_duration(call.time_to_first_token_ms)),
            ("Attempt", str(call.attempt)),
            ("Request group", _text(call.request_group_id)),
        ],
        "Traces": [
            ("Event", call.event_id),
            ("Response", _text(call.response_id)),
            ("Prompt hash", _text(call.prompt_hash)),
            ("Prefix hash", _text(call.prefix_hash)),
            ("Received", DASH if call.received_at is None else _moment(call.received_at, zone)),
        ],
    }


def _text(value: str | None) -> str:
    return value or DASH


def _moment(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d} {local:%z}"
