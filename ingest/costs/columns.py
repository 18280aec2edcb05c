"""The columns of a statement that all kinds of files share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ingest.costs.statement import title_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from ingest.costs.statement import CostStatement, Line
    from ingest.documents.statement import StatementFigures

__all__ = ["FIGURES", "Column", "Figure", "columns_of"]

Kind = Literal["text", "count", "money"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a line.

    Attributes:
        name: Column of files for programs.
        title: Column of files for people.
        kind: count, or money in US dollars.
        value: Takes it from the sums; None is unknown.
    """

    name: str
    title: str
    kind: Kind
    value: Callable[[StatementFigures], int | Decimal | None]


FIGURES: Final = (
    Figure("calls", "Calls", "count", lambda sums: sums.requests),
    Figure("certain_calls", "Certain: calls", "count", lambda sums: sums.certain_requests),
    Figure("certain_cost_usd", "Certain: cost US$", "money", lambda sums: sums.cost),
    Figure("fees_in_certain_cost_usd", "of which fees US$", "money", lambda sums: sums.fees),
    Figure(
        "provider_reported_in_certain_cost_usd",
        "of which reported by provider US$",
        "money",
        lambda sums: sums.provider_reported_cost,
    ),
    Figure("fallback_calls", "Fallback: calls", "count", lambda sums: sums.fallback_requests),
    Figure("fallback_cost_usd", "Fallback: cost US$", "money", lambda sums: sums.fallback_cost),
    Figure("unpriced_calls", "Unpriced: calls", "count", lambda sums: sums.unpriced_requests),
    Figure("estimated_token_calls", "Calls with estimated tokens", "count", lambda sums: sums.estimated_requests),
    Figure("prompt_tokens", "Prompt tokens", "count", lambda sums: sums.prompt_tokens),
    Figure("cached_prompt_tokens", "of which cached", "count", lambda sums: sums.cached_tokens),
    Figure("completion_tokens", "Completion tokens", "count", lambda sums: sums.completion_tokens),
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the lines of a statement.

    Attributes:
        name: Of files for programs; part of the contract.
        title: Of files for people.
        kind: text, count, or money in US dollars.
        value: Takes the cell from a line.
    """

    name: str
    title: str
    kind: Kind
    value: Callable[[Line], str | int | Decimal | None]


def columns_of(statement: CostStatement) -> list[Column]:
    """Return the columns of a statement: the month, the dimensions, the figures, and how far it is reconciled."""
    provider = statement.dimensions.index("provider") if "provider" in statement.dimensions else None

    def named(place: int) -> Callable[[Line], str]:
        return lambda line: line.names[place]

    def figured(figure: Figure) -> Callable[[Line], int | Decimal | None]:
        return lambda line: figure.value(line.figures)

    def reconciled(line: Line) -> str:
        return statement.month_of(line).state_of(None if provider is None else line.names[provider])

    return [
        Column("month", "Month", "text", lambda line: f"{line.month:%Y-%m}"),
        *(Column(name, title_of(name), "text", named(place)) for place, name in enumerate(statement.dimensions)),
        *(Column(figure.name, figure.title, figure.kind, figured(figure)) for figure in FIGURES),
        Column("bill", "Bill", "text", reconciled),
        Column("timezone", "Time zone", "text", lambda _: statement.timezone),
        Column("is_to_date", "To date", "text", lambda line: "no" if statement.month_of(line).is_ended else "yes"),
    ]
