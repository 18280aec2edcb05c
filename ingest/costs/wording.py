"""What a statement says besides its figures, in the workbook and in the PDF alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from ingest.costs.statement import DIMENSIONS, title_of
from ingest.documents.words import format_count, format_usd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.costs.statement import BillCheck, CostStatement, MonthFigures

__all__ = ["check_lines", "facts_of", "headline_of", "notes_of"]


def headline_of(statement: CostStatement) -> str:
    """Say in one line what is certain, what is assumed and what is not known."""
    totals = statement.totals
    parts = [f"{format_usd(totals.cost)} certain"]
    if totals.fallback_requests:
        parts.append(f"{format_usd(totals.fallback_cost)} more at the fallback price")
    if totals.unpriced_requests:
        calls = "1 call" if totals.unpriced_requests == 1 else f"{format_count(totals.unpriced_requests)} calls"
        parts.append(f"{calls} of unknown cost")
    return ", ".join(parts)


def facts_of(statement: CostStatement) -> list[tuple[str, str]]:
    """Say which days, which zone, by what and of what the statement is, and when it was made."""
    zone = ZoneInfo(statement.timezone)
    first, last = statement.months[0], statement.months[-1]
    start, end = first.from_time.astimezone(zone), last.to_time.astimezone(zone)
    days = f"{start:%d %b %Y, %H:%M} to {end:%d %b %Y, %H:%M}"
    state = "to date: the month has not ended" if statement.is_to_date else "whole months"
    facts = [
        ("Period", f"{days} ({state})"),
        ("Time zone", statement.timezone),
        ("Lines by", ", ".join(["Month", *(title_of(name) for name in statement.dimensions)])),
        ("Currency", "US dollars at list price, without tax"),
        ("Made at", f"{statement.generated_at.astimezone(zone):%d %b %Y, %H:%M:%S}"),
    ]
    return facts + _filter_facts("Only", statement.filters) + _filter_facts("Without", statement.filters.get("not"))


def _filter_facts(word: str, filters: object) -> list[tuple[str, str]]:
    """Say what the calls are narrowed to, or what is left out; each tag is a dimension of its own."""
    chosen = dict(filters) if isinstance(filters, Mapping) else {}
    tags = chosen.pop("tags", None)
    named = {DIMENSIONS[name].lower(): value for name, value in chosen.items() if name in DIMENSIONS}
    named |= {f"tag {name}": value for name, value in tags.items()} if isinstance(tags, Mapping) else {}
    return [(f"{word} {name}", ", ".join(_values(value))) for name, value in named.items() if value or value == ""]


def _values(value: object) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [str(one) or "(none)" for one in values]


def notes_of(statement: CostStatement) -> list[str]:
    """Say what the columns hold and what is missing."""
    totals = statement.totals
    notes = ["Certain cost is of calls with a price of their own or a cost that the provider reported."]
    if totals.fallback_requests:
        notes.append(
            f"{format_count(totals.fallback_requests)} calls of models without a price cost "
            f"{format_usd(totals.fallback_cost)} at the fallback model's price: an assumption, in no other sum."
        )
    if totals.unpriced_requests:
        notes.append(
            f"The cost of {format_count(totals.unpriced_requests)} unpriced calls is unknown: in no sum, and not 0."
        )
    if totals.estimated_requests:
        notes.append(f"The tokens of {format_count(totals.estimated_requests)} calls were counted by Treering.")
    if totals.demo_requests:
        notes.append(f"{format_count(totals.demo_requests)} calls are generated demo data.")
    if totals.fees is None:
        notes.append("Fees inside the certain cost are not shown: the calls they belong to have been archived.")
    if statement.is_to_date:
        notes.append("The last month has not ended: its figures will grow. A forecast is not part of a statement.")
    if any(month.checks is None for month in statement.months):
        notes.append("Not compared with the providers' bills, which are not broken down like this statement.")
    else:
        notes.append(
            "Bills are compared by UTC day over the whole UTC month and include fallback prices. Reconciled means that "
            "every day was compared and that both agree within the threshold."
        )
    return notes


def check_lines(statement: CostStatement) -> Iterator[tuple[MonthFigures, BillCheck]]:
    """Yield the bills of each month."""
    for month in statement.months:
        for check in month.checks or ():
            yield month, check
