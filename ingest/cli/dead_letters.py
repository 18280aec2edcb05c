"""`treering dead-letters`: the events that were finally refused."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import HomeOption, JsonOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from ingest.record.dead_letters import DeadLetter, DeadLetters
    from ingest.settings import Settings

app = typer.Typer(
    help="Look at events that the database refused for good, send them again or delete them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

EventIds = Annotated[list[str] | None, typer.Argument(help="Ids of the events; none: all.")]


@app.command("list")
def list_letters(
    *,
    limit: Annotated[int, typer.Option(help="Show at most this many, the newest.", min=1)] = 100,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show the refused events of this machine with the reasons."""
    from collections import deque

    letters = list(deque(_letters(_settings(home)).read(), maxlen=limit))
    if as_json:
        typer.echo(json.dumps([_as_document(letter) for letter in letters], indent=2))
        return
    if not letters:
        typer.echo("no dead letters")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("refused at", "event", "function", "reason")
    for letter in letters:
        table.add_row(letter.refused_at[:19], letter.event_id or "-", letter.kind, escape(letter.reason))
    Console(soft_wrap=True).print(table)


@app.command("retry")
def retry(event_ids: EventIds = None, *, home: HomeOption = None) -> None:
    """Send refused events to the database again; the exit code is 1 when some are refused again."""
    from ingest.database import open_database
    from ingest.notices import Notices
    from ingest.prices.costing import Costing
    from ingest.prices.in_force import Prices
    from ingest.record.delivery import Delivery
    from ingest.record.redelivery import retry_letters

    settings = _settings(home)
    letters, notices = _letters(settings), Notices()
    prices = Prices(notices, deployments=settings.deployments, providers=settings.providers, region=settings.region)
    costing = Costing(settings.fallback_model, notices, lambda: prices.book)
    delivery = Delivery(costing.apply, letters, notices)
    with contextlib.closing(open_database(settings)) as database:
        prices.refresh_if_due(database)
        done = retry_letters(letters, delivery, database, event_ids or ())
    typer.echo(
        f"{done.taken} sent again: {done.stored} stored, {done.known} there already or in rejected_events, "
        f"{done.refused} refused again"
    )
    if done.refused:
        raise typer.Exit(1)


@app.command("drop")
def drop(
    event_ids: EventIds = None,
    *,
    is_all: Annotated[bool, typer.Option("--all", help="Delete all of them.")] = False,
    home: HomeOption = None,
) -> None:
    """Delete refused events: they are never counted."""
    from ingest.record.redelivery import drop_letters

    if bool(event_ids) == is_all:
        raise typer.BadParameter("name the events, or say --all")
    typer.echo(f"{drop_letters(_letters(_settings(home)), event_ids or ())} deleted")


def _settings(home: object) -> Settings:
    from ingest.settings import load_settings

    return load_settings(home=home)


def _letters(settings: Settings) -> DeadLetters:
    from ingest.record.dead_letters import DEAD_LETTERS_FILE, DeadLetters

    return DeadLetters(settings.home / DEAD_LETTERS_FILE)


def _as_document(letter: DeadLetter) -> dict[str, object]:
    return {
        "refused_at": letter.refused_at,
        "reason": letter.reason,
        "kind": letter.kind,
        "event": letter.event,
    }
