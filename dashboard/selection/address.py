"""What an address says of the viewer's choices. Pure.

Only the names listed in `QUERY_KEYS` are taken from an address, each value is checked, and what is not understood is
left out: a shared link shows the same period and filters to everybody, in each viewer's own time zone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from dashboard.selection.filters import (
    ASKED,
    GROUPS,
    LONGEST_DAYS,
    MAX_VALUES,
    MAY_LACK,
    NOT,
    ORDERS,
    STATUSES,
    Selection,
)
from dashboard.selection.metadata import tidy_each, tidy_pairs
from dashboard.selection.periods import COMPARISONS, GRAINS, PERIODS
from dashboard.selection.ranges import LIMITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TAG_GROUP: Final = re.compile(r"tags\.[a-z][a-z0-9_]{0,39}")
_TAG_PAIR: Final = re.compile(r"[a-z][a-z0-9_]{0,39}=")
# Model and feature names are free text; control characters and endless strings are not names.
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


def parse_query(query: Mapping[str, Sequence[str]]) -> Selection:
    """Read a selection from an address's parameters; what is unknown or wrong is left out."""
    selection = Selection()
    period = _first(query, "period")
    if period == "custom":
        first, last = _day(_first(query, "from")), _day(_first(query, "to"))
        start, end = _moment(_first(query, "from")), _moment(_first(query, "to"))
        if first and last and first <= last and (last - first).days < LONGEST_DAYS:
            selection = replace(selection, period="custom", first_day=first, last_day=last)
        elif start and end and start < end and (end - start).days < LONGEST_DAYS:
            selection = replace(selection, period="custom", frozen=(start, end))
    elif period in PERIODS:
        selection = replace(selection, period=period)
    for name, known in (("grain", GRAINS), ("compare", COMPARISONS), ("group", GROUPS), ("order", ORDERS)):
        if (value := _first(query, name)) in known or (name == "group" and _TAG_GROUP.fullmatch(value)):
            choice: dict[str, Any] = {name: value}
            selection = replace(selection, **choice)
    for name in LIMITS:
        selection = selection.with_limit(name, _first(query, name))
    for name in ASKED:
        selection = selection.with_filter(name, _names(name, query.get(name, ())))
    # A value that is both wanted and left out is left out: no call has it and has it not.
    for name in ASKED:
        if values := _names(name, query.get(NOT + name, ()), is_out=True):
            selection = selection.with_excluded(name, values)
    return replace(selection, is_reporting_zone=_first(query, "zone") == "reporting")


def _first(query: Mapping[str, Sequence[str]], key: str) -> str:
    values = query.get(key, ())
    return values[0] if values else ""


def _names(name: str, values: Sequence[str], *, is_out: bool = False) -> tuple[str, ...]:
    if name == "metadata":
        return tidy_each(values) if is_out else tidy_pairs(values)
    known = [value for value in values if _NAME.fullmatch(value) or (not value and name in MAY_LACK)]
    if name == "tags":
        known = [value for value in known if _TAG_PAIR.match(value)]
    if name == "status":
        known = [value for value in known if value in STATUSES]
    return tuple(dict.fromkeys(known))[:MAX_VALUES]


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2200 else None


def _moment(text: str) -> datetime | None:
    if "T" not in text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo and 2000 <= moment.year <= 2200 else None
