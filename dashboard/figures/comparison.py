"""A period beside an earlier one: which, and only where data reach back far enough. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ingest.documents.pages import Page, Row, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

D = TypeVar("D", bound=Page)


def compare(document: D, earlier: D | None, *, is_wanted: bool = True) -> D:
    """Return a page's document with the figures to compare with beside its own; without them where they mislead.

    A period in which data had not begun from its first minute on is nothing to compare with.

    Args:
        document: As read, with the period of equal length before it.
        earlier: The document of another earlier period, to compare with in its place.
        is_wanted: Whether anything is compared.
    """
    if not is_wanted or data_begin_late(document, earlier) is not None:
        return document.model_copy(
            update={"previous": Totals(), **_rows(document, lambda rows, _: _without(rows), None)}
        )
    if earlier is None:
        return document
    return document.model_copy(update={"previous": earlier.totals, **_rows(document, _beside, earlier)})


def data_begin_late(document: Page, earlier: Page | None) -> datetime | None:
    """Return when data begin where that is after the beginning of the period to compare with; None where it is not."""
    start = earlier.from_time if earlier is not None else document.previous_from
    begin = document.data_begin_at
    return begin if begin is not None and start is not None and begin > start else None


def _rows(
    document: Page, change: Callable[[Sequence[Row], Sequence[Row]], tuple[Row, ...]], earlier: Page | None
) -> dict[str, object]:
    changed: dict[str, object] = {}
    for name in type(document).model_fields:
        rows = getattr(document, name)
        if isinstance(rows, tuple) and rows and isinstance(rows[0], Row):
            changed[name] = change(rows, getattr(earlier, name, ()))
        elif isinstance(rows, dict):
            before: Mapping[str, Sequence[Row]] = getattr(earlier, name, {})
            changed[name] = {key: change(of_key, before.get(key, ())) for key, of_key in rows.items()}
    return changed


def _without(rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(row.model_copy(update={"previous_cost": None}) for row in rows)


def _beside(rows: Sequence[Row], earlier: Sequence[Row]) -> tuple[Row, ...]:
    """Set each row's earlier cost; of a name that is not among the earlier ones it may be in their rest: unknown."""
    costs = {row.key: row.cost for row in earlier if not row.is_other}
    return tuple(row.model_copy(update={"previous_cost": None if row.is_other else costs.get(row.key)}) for row in rows)
