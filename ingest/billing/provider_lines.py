"""Lines of a provider's bill and usage, in the form that `record_provider_costs` stores."""

from __future__ import annotations

import re
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ingest.database import fetch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date
    from decimal import Decimal

    from pydantic import JsonValue

    from ingest.database import Database

Line: TypeAlias = "dict[str, JsonValue]"
Source = Literal["api", "import"]

_LINES_A_CALL: Final = 2_000

# "gpt-4o-2024-08-06, cached input": the model, then what was used of it. Other services have no comma or words before.
_MODEL_OF_LINE_ITEM: Final = re.compile(r"\s*(?P<model>[A-Za-z][\w.:/@-]*\d[\w.:/@-]*)\s*(?:,.*)?", re.DOTALL)


def cost_line(
    day: date,
    amount: Decimal,
    *,
    source: Source,
    currency: str = "usd",
    line_item: str | None = None,
    model: str | None = None,
    project_id: str | None = None,
    quantity: Decimal | None = None,
    quantity_unit: str | None = None,
) -> Line:
    """Return a billed line; without a model it has the one that its line item names, if any."""
    return {
        "day": day.isoformat(),
        "source": source,
        "kind": "cost",
        "line_item": line_item or "",
        "model": model or model_of_line_item(line_item or ""),
        "project_id": project_id or "",
        "currency": currency.lower(),
        "amount": _plain(amount),
        "quantity": None if quantity is None else _plain(quantity),
        "quantity_unit": quantity_unit,
    }


def usage_line(day: date, *, source: Source, requests: int, **fields: str | int | bool | None) -> Line:
    """Return a line of counted usage; `fields` are columns of `provider_costs`."""
    return {"day": day.isoformat(), "source": source, "kind": "usage", "requests": requests, **fields}


def quiet_day(day: date, kind: Literal["cost", "usage"], *, source: Source) -> Line:
    """Return the line of a day that was read and had nothing."""
    line: Line = {"day": day.isoformat(), "source": source, "kind": kind}
    return line | ({"amount": "0", "currency": "usd"} if kind == "cost" else {"requests": 0})


def model_of_line_item(line_item: str) -> str:
    """Return the model that a line item names ("gpt-4o-2024-08-06, input"), "" where it names none."""
    found = _MODEL_OF_LINE_ITEM.fullmatch(line_item)
    return found["model"].lower() if found else ""


def store_lines(database: Database, lines: Iterable[Line]) -> int:
    """Store lines; each call replaces whole days, so that no day is ever seen half written.

    Args:
        database: Opened as service_role.
        lines: Lines of one source; all of a day's lines are among them.

    Returns:
        How many lines the database now has for these days.
    """
    stored = 0
    for batch in _batches(sorted(lines, key=itemgetter("day"))):
        stored += fetch(database, int, "record_provider_costs", rows=batch)
    return stored


def _batches(lines: list[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    for _, of_day in groupby(lines, key=itemgetter("day")):
        batch += of_day
        if len(batch) >= _LINES_A_CALL:
            yield batch
            batch = []
    if batch:
        yield batch


def _plain(value: Decimal) -> str:
    # OpenAI writes some zeros as 0E-6176, which in plain digits are six thousand zeros.
    return f"{value:f}" if value else "0"
