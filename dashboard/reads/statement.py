"""What the app reads for a statement: the months that can be asked for, the file, and who exported what."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from dashboard.reads.connection import change, connected, fetch_as
from ingest.costs.files import hand_out
from ingest.costs.statement import read_statement
from ingest.documents.statement import ExportRecord, StatementSchedule
from ingest.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from zoneinfo import ZoneInfo

    from pydantic import JsonValue

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Window
    from ingest.costs.files import Format, StatementFile
    from ingest.costs.statement import CostStatement

__all__ = [
    "declared_tags",
    "get_exports",
    "get_statement_schedule",
    "make_file",
    "months_offered",
    "note_calls",
    "save_statement_schedule",
]

_MONTHS: Final = 13
_SHOWN: Final = 50
_NO_FILTERS: Final = frozenset({"timezone", "bucket", "group_by", "limit", "cursor"})


def declared_tags() -> list[str]:
    """Return the tags of `TREERING_TAGS` as dimensions of a statement: `tags.plan`."""
    return [f"tags.{name}" for name in load_settings().tags]


def months_offered(now: datetime, zone: ZoneInfo) -> list[date]:
    """The first days of the running month and of those before it, the newest first."""
    months = [now.astimezone(zone).date().replace(day=1)]
    while len(months) < _MONTHS:
        months.append((months[-1] - timedelta(days=1)).replace(day=1))
    return months


def make_file(
    viewer: Viewer, month: date, zone: ZoneInfo, dimensions: Sequence[str], window: Window, file_format: Format
) -> tuple[CostStatement, StatementFile]:
    """Read a month's statement as the viewer, write it and note that they got it.

    Args:
        viewer: Who asks; they get what they may see.
        month: Its first day.
        zone: Whose months count.
        dimensions: What lines are told apart by.
        window: Whose filters narrow it.
        file_format: Of the file.
    """
    names = list(dimensions)
    if file_format == "focus" and "provider" not in names:
        names.insert(0, "provider")
    filters = {name: value for name, value in window.document().items() if name not in _NO_FILTERS}
    with connected(viewer) as database:
        statement = read_statement(
            database,
            month,
            timezone=zone.key,
            dimensions=names,
            filters=filters,
            threshold=load_settings().drift_threshold,
        )
        return statement, hand_out(database, statement, file_format, via="app")


def note_calls(viewer: Viewer, window: Window, count: int) -> None:
    """Note that the viewer got a file of so many calls of a window."""
    document = window.document()
    export: dict[str, JsonValue] = {
        "via": "app",
        "kind": "calls",
        "format": "csv",
        "from_time": window.from_time.isoformat(),
        "to_time": window.to_time.isoformat(),
        "timezone": document.get("timezone"),
        "filters": {name: value for name, value in document.items() if name not in _NO_FILTERS},
        "row_count": count,
    }
    change(viewer, "log_export", export=export)


def get_exports(viewer: Viewer) -> list[ExportRecord]:
    """Read the newest exports. Ops only."""
    return fetch_as(viewer, list[ExportRecord], "get_exports", row_limit=_SHOWN)


def get_statement_schedule(viewer: Viewer) -> StatementSchedule:
    """Read when and where statements leave by themselves, and what left. Ops only."""
    return fetch_as(viewer, StatementSchedule, "get_statement_schedule")


def save_statement_schedule(viewer: Viewer, schedule: Mapping[str, JsonValue]) -> None:
    """Change when and where statements leave. Ops only."""
    change(viewer, "save_statement_schedule", schedule=dict(schedule))
