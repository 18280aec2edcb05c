"""`treering savings`."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import HomeOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from ingest.savings.plan import Plan

MAX_LINES = 12


def savings(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON, amounts as text.")] = False,
    feature: Annotated[list[str] | None, typer.Option(help="Only this feature; may be repeated.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model; may be repeated.")] = None,
    home: HomeOption = None,
) -> None:
    """Show where the calls of the last 30 days would have cost less, with low, expected and high."""
    from ingest.database import open_database
    from ingest.prices.in_force import read_price_book
    from ingest.savings.reading import read_savings_plan
    from ingest.settings import load_settings

    settings = load_settings(home=home)
    filters = {name: values for name, values in (("feature", feature), ("model", model)) if values}
    with contextlib.closing(open_database(settings)) as database:
        book = read_price_book(
            database, deployments=settings.deployments, providers=settings.providers, region=settings.region
        )
        plan = read_savings_plan(database, filters=filters, book=book)
    if as_json:
        typer.echo(_as_json(plan))
    else:
        _print(plan)


def _as_json(plan: Plan) -> str:
    import json

    document = dataclasses.asdict(plan) | {
        "goal": plan.goal,
        "total": {"low": plan.total("low"), "expected": plan.total(), "high": plan.total("high")},
        "to_evaluate": plan.to_evaluate,
    }
    return json.dumps(document, default=str, indent=2)


def _print(plan: Plan) -> None:
    from ingest.documents.words import format_share, format_usd
    from ingest.savings.plan import GOAL, headline

    if not plan.days:
        typer.echo("no whole day (UTC) with priced calls lies in the last 30 days")
        return
    typer.echo(f"spend a month  {format_usd(plan.spend_per_month)}, from {plan.days} days with calls")
    typer.echo(f"goal           {format_usd(plan.goal)} ({format_share(GOAL, 1)})")
    low, high = format_usd(plan.total("low")), format_usd(plan.total("high"))
    typer.echo(f"found          {format_usd(plan.total())} ({low} to {high})")
    for is_evaluated, title in ((False, ""), (True, "To evaluate first, in no sum:")):
        chosen = [one for one in plan.suggestions if one.needs_evaluation == is_evaluated]
        if chosen:
            typer.echo(f"\n{title}" if title else "")
        for one in chosen[:MAX_LINES]:
            interval = f"{format_usd(one.low)} to {format_usd(one.high)}"
            typer.echo(f"{format_usd(one.saved_per_month):>12}  {headline(one)} ({interval}; risk {one.risk})")
        if len(chosen) > MAX_LINES:
            typer.echo(f"{'':>12}  and {len(chosen) - MAX_LINES} smaller ones")
