"""The reads of the Customers page: a page of rows, all of them for a file, and what one of them is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dashboard.reads.connection import change, fetch_window, read_window
from ingest.documents.entities import Entities, EntityLines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.entity_choice import EntityChoice
    from dashboard.selection.filters import Window
    from ingest.documents.entities import EntityLine

__all__ = ["compared_with", "each_page_of_entities", "get_entities", "note_entities"]

_EXPORT_PAGE: Final = 20_000
_PAGE_FILTERS: Final = frozenset({"bucket", "group_by"})
_NO_FILTERS: Final = frozenset(
    {"timezone", "bucket", "group_by", "order", "direction", "search", "limit", "offset", "compare", "points"}
)


def compared_with(window: Window, compare: str, earlier: Window | None) -> Window:
    """Return a window that says what its rows are compared with.

    Args:
        window: The period.
        compare: A name in `COMPARISONS`.
        earlier: Another period than the one directly before.
    """
    if compare == "none":
        word = "none"
    elif earlier is not None:
        word = f"{earlier.from_time.isoformat()}/{earlier.to_time.isoformat()}"
    else:
        return window
    return replace(window, filters=(*window.filters, ("compare", word)))


def get_entities(viewer: Viewer, window: Window, choice: EntityChoice) -> Entities:
    """Read one page of rows."""
    return read_window(viewer, Entities, "get_entities", _asked(window, choice))


def each_page_of_entities(viewer: Viewer, window: Window, choice: EntityChoice) -> Iterator[tuple[EntityLine, ...]]:
    """Read all rows without their points, many at a time, never from memory."""
    place = 0
    while True:
        asked = _asked(window, choice, size=_EXPORT_PAGE, offset=place)
        asked = replace(asked, filters=(*asked.filters, ("points", "no")))
        rows = fetch_window(viewer, EntityLines, "get_entities", asked).rows
        yield rows
        place += len(rows)
        if len(rows) < _EXPORT_PAGE:
            return


def note_entities(viewer: Viewer, window: Window, choice: EntityChoice, count: int) -> None:
    """Note that the viewer got a file of so many rows."""
    document = window.document()
    export: dict[str, JsonValue] = {
        "via": "app",
        "kind": "entities",
        "format": "csv",
        "from_time": window.from_time.isoformat(),
        "to_time": window.to_time.isoformat(),
        "timezone": document.get("timezone"),
        "dimensions": [dict(choice.filters())["group_by"]],  # type: ignore[list-item]
        "filters": {name: value for name, value in document.items() if name not in _NO_FILTERS},
        "row_count": count,
    }
    change(viewer, "log_export", export=export)


def _asked(window: Window, choice: EntityChoice, *, size: int | None = None, offset: int | None = None) -> Window:
    kept = tuple(pair for pair in window.filters if pair[0] not in _PAGE_FILTERS)
    chosen = choice.filters() if size is None else choice.filters(size, offset)
    return replace(window, filters=(*kept, *chosen))
