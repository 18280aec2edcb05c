"""The rows of the Customers page as a table and as cards: columns, widths, words. Pure but for the column types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import streamlit as st

from dashboard.figures.colours import PALETTE
from dashboard.selection.entity_choice import SESSION, TENANT, USER
from dashboard.selection.filters import TAG
from ingest.documents.names import visible_name
from ingest.documents.words import (
    column_decimals,
    format_change,
    format_count,
    format_duration,
    format_share,
    format_usd,
)

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from ingest.documents.entities import Entities, Entity

ROW_HEIGHT_PX: Final = 35
MOST_ROWS_SEEN: Final = 25
# What the rows are ordered by when the head of a column is chosen.
ORDER_OF: Final = {
    "name": "name",
    "cost": "cost",
    "share": "cost",
    "change": "change_share",
    "change_usd": "change",
    "requests": "requests",
    "cost_per_request": "cost_per_request",
    "cost_per_session": "cost_per_session",
    "cost_per_day": "cost_per_day",
    "last_seen": "last_seen",
    "duration": "duration",
}
_ENTITY: Final = (
    *("name", "cost", "share", "points", "change", "requests", "cost_per_request", "cost_per_session", "cost_per_day"),
    *("last_seen", "change_usd", "uncertain"),
)
_SESSION: Final = (
    *("name", "cost", "share", "points", "requests", "cost_per_request", "duration", "last_seen", "user", "tenant"),
    "uncertain",
)
_PER_CALL: Final = "The cost of the calls that have a price of their own, by their number"


def noun_of(by: str) -> str:
    """Return what one row is: customer, user, session, or the name of the tag."""
    return {TENANT: "customer", USER: "user", SESSION: "session"}.get(by) or by.removeprefix(TAG)


def counted(count: int, by: str) -> str:
    """Write how many rows there are: 1 customer, 12 users, 3 values of plan."""
    if by.startswith(TAG):
        return f"{count:,} {'value' if count == 1 else 'values'} of {noun_of(by)}"
    return f"{count:,} {noun_of(by)}{'' if count == 1 else 's'}"


def counted_requests(count: int) -> str:
    """Write how many requests there are: 1 request, 6,995 requests."""
    return "1 request" if count == 1 else f"{format_count(count)} requests"


def title_of(key: str, by: str) -> str:
    """Return a row's name as people may read it; the calls without one are named too."""
    return visible_name(key) if key else f"No {noun_of(by)}"


def entity_frame(document: Entities) -> pd.DataFrame:
    """Return one line per row; money in US dollars as floats for display alone, shares and changes in percent."""
    by, whole = document.group_by, document.totals.cost
    lines = [
        {
            "name": title_of(row.key, by),
            "cost": _number(row.cost),
            "share": float(row.cost / whole) * 100 if row.cost is not None and whole else None,
            "points": [_number(point) or 0.0 for point in row.points] if len(row.points) > 1 else [],
            "change": None if row.change_share is None else row.change_share * 100,
            "change_usd": _number(row.change),
            "requests": row.requests,
            "cost_per_request": _number(row.cost_per_request),
            "cost_per_session": _number(row.cost_per_session),
            "cost_per_day": _number(row.cost_per_day),
            "last_seen": row.last_seen_at,
            "duration": format_duration(length) if row.key and (length := length_ms(row)) else None,
            "user": visible_name(row.user_id) if row.user_id else "several" if row.key else None,
            "tenant": None if row.tenant_id is None else visible_name(row.tenant_id) or None,
            "uncertain": uncertain_words(row),
        }
        for row in document.rows
    ]
    frame = pd.DataFrame(lines, columns=list(_SESSION if by == SESSION else _ENTITY))
    frame["last_seen"] = pd.to_datetime(frame["last_seen"], utc=True)
    # Columns without anything in them say nothing.
    empty = [name for name in ("change", "change_usd", "cost_per_session", "tenant") if name in frame]
    frame = frame.drop(columns=[name for name in empty if frame[name].isna().all()])
    return frame if frame["uncertain"].any() else frame.drop(columns="uncertain")


def entity_columns(document: Entities, zone: ZoneInfo) -> dict[str, Any]:
    """Return how each column reads."""
    rows, by = document.rows, document.group_by
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    unit = {"hour": "hour", "day": "day"}.get(document.bucket, "week")
    points_help = "Cost of its calls in their order" if by == SESSION else f"Cost by {unit} of the period"
    moment = "D MMM HH:mm"

    def usd(label: str, amounts: list[Any], help_text: str, *, more: int = 0, sign: str = "") -> Any:
        return number(label, format=f"%{sign},.{column_decimals(amounts) + more}f", help=help_text, width=96)

    return {
        "name": text(noun_of(by).capitalize(), width=240 if by == SESSION else 150, pinned=True),
        "cost": usd("Cost (US$)", [row.cost for row in rows], "Of the calls with a price of their own"),
        "share": st.column_config.ProgressColumn(
            "Share", format="%.1f%%", min_value=0, max_value=100, width=100, help="Of the cost of the whole period"
        ),
        "points": st.column_config.BarChartColumn("Trend", width=110, y_min=0, color=PALETTE[0], help=points_help),
        "change": number("Change", format="%+.1f%%", width=78, help="Of the cost, against the earlier period"),
        "change_usd": usd("Change (US$)", [row.change for row in rows], "Against the earlier period", sign="+"),
        "requests": number("Requests", format="localized", width=80),
        "cost_per_request": usd("US$/request", [row.cost_per_request for row in rows], _PER_CALL, more=1),
        "cost_per_session": usd(
            "US$/session", [row.cost_per_session for row in rows], "Of the calls in sessions, by sessions"
        ),
        "cost_per_day": usd("US$/day", [row.cost_per_day for row in rows], "By the days on which there was a call"),
        "last_seen": st.column_config.DatetimeColumn(
            "Last call",
            format=moment,
            timezone=zone.key,
            width=104,
            help=None if by == SESSION else "The quarter of an hour in which it was made",
        ),
        "duration": text("Length", width=84, help="From its first call to its last one"),
        "user": text("User", width=150),
        "tenant": text("Customer", width=130),
        "uncertain": text("Not in the cost", width=190, help="Calls at the fallback price, and calls without a price"),
    }


def table_height(rows: int) -> int:
    """Return the height in which a page of rows scrolls."""
    return ROW_HEIGHT_PX * (min(rows, MOST_ROWS_SEEN) + 1) + 3


def uncertain_words(row: Entity) -> str:
    """Say what of a row is in no cost; nothing where everything is."""
    parts = []
    if row.fallback_requests:
        parts.append(f"{format_usd(row.fallback_cost)} at fallback price")
    if row.unpriced_requests:
        parts.append(f"{format_count(row.unpriced_requests)} unpriced")
    return " · ".join(parts)


def card_note(row: Entity, whole: Any, zone: ZoneInfo) -> str:
    """Write the second line of a row's card on a phone: share, calls, change, last call."""
    parts = [format_share(row.cost, whole) if row.cost is not None else "", counted_requests(row.requests)]
    parts.append(format_change(row.cost, row.previous_cost) or "")
    if row.last_seen_at is not None:
        parts.append(f"last {moment_words(row.last_seen_at, zone)}")
    return " · ".join(part for part in parts if part)


def moment_words(moment: datetime, zone: ZoneInfo) -> str:
    """Write a moment on the viewer's clock: 4 May, 12:30."""
    local = moment.astimezone(zone)
    return f"{local.day} {local:%b}, {local:%H:%M}"


def length_ms(row: Entity) -> float | None:
    """Return how long a session lasted, in milliseconds."""
    if row.first_seen_at is None or row.last_seen_at is None:
        return None
    return (row.last_seen_at - row.first_seen_at).total_seconds() * 1000


def _number(amount: Any) -> float | None:
    return None if amount is None else float(amount)
