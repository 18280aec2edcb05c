"""Lines of a provider's bill and usage, in the form that `record_provider_costs` stores."""

from __future__ import annotations

from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ingest.billing.line_items import read_line_item
from ingest.database import fetch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date

    from pydantic import JsonValue

    from ingest.billing.line_items import LineItem
    from ingest.database import Database

Line: TypeAlias = "dict[str, JsonValue]"
Source = Literal["api", "import"]

OPENAI: Final = "openai"

_LINES_A_CALL: Final = 2_000
_TOKENS_OF_UNIT: Final[Mapping[str, Decimal]] = {
    "tokens": Decimal(1),
    "1000_tokens": Decimal(1000),
    "1000000_tokens": Decimal(1_000_000),
}


def cost_line(
    day: date,
    amount: Decimal,
    *,
    source: Source,
    provider: str = OPENAI,
    currency: str = "usd",
    line_item: str | None = None,
    read: LineItem | None = None,
    model: str | None = None,
    project_id: str | None = None,
    service_tier: str | None = None,
    quantity: Decimal | None = None,
    quantity_unit: str | None = None,
    list_price: Decimal | None = None,
) -> Line:
    """Return a billed line.

    Args:
        day: UTC day.
        amount: In `currency`.
        source: Where it comes from.
        provider: As calls name it.
        currency: Three letters.
        line_item: The line's text.
        read: What the line is for; default: what its text says.
        model: Model; default: the one that its text names, if any.
        project_id: Project, workspace or account.
        service_tier: Tier that served it.
        quantity: How much of `quantity_unit`.
        quantity_unit: `tokens`, `1000_tokens`, `1000000_tokens` or another text.
        list_price: US dollars for a million tokens of this item at the list price.
    """
    text = line_item or ""
    item = read or read_line_item(text, amount)
    size = _TOKENS_OF_UNIT.get(quantity_unit or "") if item.charge == "usage" else None
    return {
        "provider": provider,
        "day": day.isoformat(),
        "source": source,
        "kind": "cost",
        "line_item": text,
        "item": item.item,
        "charge": item.charge,
        "model": model or item.model,
        "project_id": project_id or "",
        "service_tier": service_tier or "",
        "currency": currency.lower(),
        "amount": plain(amount),
        "quantity": None if quantity is None else plain(quantity),
        "quantity_unit": quantity_unit,
        "tokens": None if quantity is None or size is None else plain(quantity * size),
        "list_price": None if list_price is None else plain(list_price),
    }


def usage_line(
    day: date, *, source: Source, requests: int | None, provider: str = OPENAI, **fields: str | int | bool | None
) -> Line:
    """Return a line of counted usage; `fields` are columns of `provider_costs`, requests may be unknown."""
    return {
        "provider": provider,
        "day": day.isoformat(),
        "source": source,
        "kind": "usage",
        "requests": requests,
        **fields,
    }


def quiet_day(day: date, kind: Literal["cost", "usage"], *, source: Source, provider: str = OPENAI) -> Line:
    """Return the line of a day that was read and had nothing."""
    line: Line = {"provider": provider, "day": day.isoformat(), "source": source, "kind": kind}
    return line | ({"amount": "0", "currency": "usd"} if kind == "cost" else {"requests": 0})


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


def plain(value: Decimal) -> str:
    """Write a decimal in plain digits: OpenAI writes some zeros as 0E-6176."""
    return f"{value:f}" if value else "0"


def _batches(lines: list[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    for _, of_day in groupby(lines, key=itemgetter("day")):
        batch += of_day
        if len(batch) >= _LINES_A_CALL:
            yield batch
            batch = []
    if batch:
        yield batch
