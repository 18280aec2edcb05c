"""`treering terms`: discounts, balances, provisioned throughput and display currencies, and what is paid by them."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.options import JsonOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from collections.abc import Generator
    from decimal import Decimal

    from ingest.database import Database
    from ingest.documents.terms import StoredTerm
    from pricing.terms import Statement

app = typer.Typer(
    help="Manage the terms of your contracts and show what is paid by them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class KindOfTerm(StrEnum):
    """What a term is."""

    DISCOUNT = "discount"
    CREDIT = "credit"
    COMMITMENT = "commitment"
    PROVISIONED = "provisioned"
    CURRENCY = "currency"


@app.command("add")
def add(
    *,
    kind: Annotated[KindOfTerm, typer.Argument(help="discount, credit, commitment, provisioned or currency.")],
    source: Annotated[str, typer.Option(help="Where it stands: a contract, an e-mail.")],
    from_day: Annotated[str | None, typer.Option("--from", help="First UTC day. [default: today]")] = None,
    to_day: Annotated[str | None, typer.Option("--to", help="First day after it. [default: open]")] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider, as recorded.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model, as recorded.")] = None,
    percent: Annotated[str | None, typer.Option(help="Discount in percent of the list price.")] = None,
    amount: Annotated[str | None, typer.Option(help="US dollars: of a balance, or of an hour of throughput.")] = None,
    currency: Annotated[str | None, typer.Option(help="ISO code of a display currency, such as EUR.")] = None,
    rate: Annotated[str | None, typer.Option(help="Units of the currency for a US dollar.")] = None,
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
) -> None:
    """Append a term; recorded costs stay at list price."""
    given = {
        "kind": kind.value, "valid_from": from_day, "valid_to": to_day, "provider": provider, "model": model,
        "percent": percent, "amount": amount, "currency": currency, "rate": rate, "name": name, "source": source,
    }  # fmt: skip
    with _database() as database:
        term: Any = database.call("add_term", term={key: value for key, value in given.items() if value is not None})
    typer.echo(f"term {term['term_id']} added")


@app.command("end")
def end(
    term_id: Annotated[int, typer.Argument(help="Number of the term, see `treering terms list`.")],
    to_day: Annotated[str, typer.Option("--to", help="First UTC day on which it no longer applies.")],
    reason: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
) -> None:
    """End a term; on or before its first day it never applies."""
    with _database() as database:
        database.call("end_term", term_id=term_id, valid_to=to_day, reason=reason)
    typer.echo(f"term {term_id} ends before {to_day}")


@app.command("list")
def list_terms(*, as_json: JsonOption = False) -> None:
    """List every term with its dates."""
    from ingest.prices.terms import read_terms

    with _database() as database:
        terms = read_terms(database).terms
    if as_json:
        typer.echo(json.dumps([term.model_dump(mode="json") for term in terms]))
        return
    for term in terms:
        about = "/".join(name for name in (term.provider, term.model) if name) or "everything"
        until = f"to {term.valid_to}" if term.valid_to else "open"
        typer.echo(
            f"{term.term_id}  {term.kind}  {about}  {_figure(term)}  from {term.valid_from}  {until}  {term.name}"
        )


@app.command("statement")
def statement(
    *,
    from_day: Annotated[
        str | None, typer.Option("--from", help="First UTC day. [default: the 1st of the month]")
    ] = None,
    to_day: Annotated[str | None, typer.Option("--to", help="First day after. [default: tomorrow]")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a range of days costs at list price and by contract."""
    from ingest.prices.terms import read_statement

    today = datetime.now(UTC).date()
    first = _day(from_day) if from_day else today.replace(day=1)
    last = _day(to_day) if to_day else today + timedelta(days=1)
    if first >= last:
        raise typer.BadParameter("--from must be before --to")
    with _database() as database:
        found = read_statement(database, first, last)
    figures = _figures(found)
    if as_json:
        balances = [
            {"term_id": one.term.term_id, "drawn": _exact(one.drawn), "left": _exact(one.left),
             "runs_out_on": one.runs_out_on.isoformat() if one.runs_out_on else None}
            for one in found.balances
        ]  # fmt: skip
        typer.echo(json.dumps({"from": f"{first}", "to": f"{last}", **figures, "balances": balances}))
        return
    for label, text in figures.items():
        if text is not None:
            typer.echo(f"{label.replace('_', ' '):<16} {text}")
    for one in found.balances:
        left = (
            f"{one.term.kind} {one.term.name or one.term.term_id}: {_exact(one.left)} of {_exact(one.term.amount)} left"
        )
        typer.echo(left + (f", used up on {one.runs_out_on} at the present pace" if one.runs_out_on else ""))


def _figures(found: Statement) -> dict[str, str | None]:
    in_currency = found.due_in_currency
    return {
        "list_cost": _exact(found.list_cost),
        "discount": _exact(found.discount),
        "provisioned": _exact(found.provisioned),
        "net": _exact(found.net),
        "from_balances": _exact(found.drawn),
        "due": _exact(found.due),
        "due_in_currency": None if in_currency is None else f"{_exact(in_currency)} {found.currency}",
    }


def _figure(term: StoredTerm) -> str:
    if term.percent is not None:
        return f"{_exact(term.percent)} %"
    if term.rate is not None:
        return f"1 USD = {_exact(term.rate)} {term.currency}"
    return f"{_exact(term.amount)} USD" + (" an hour" if term.kind == "provisioned" else "")


def _exact(amount: Decimal | None) -> str:
    """Every digit, without the zeros at the end."""
    text = format(amount or 0, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"no day: {text!r}; write 2026-11-01") from error


@contextlib.contextmanager
def _database() -> Generator[Database]:
    from ingest.database import open_database
    from ingest.settings import load_settings

    with contextlib.closing(open_database(load_settings())) as database:
        yield database
