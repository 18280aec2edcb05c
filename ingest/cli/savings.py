"""`treering savings`."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import HomeOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.database import Database
    from ingest.documents.what_if import KeptScenario
    from ingest.savings.plan import Plan
    from ingest.savings.scenarios import Followed
    from ingest.savings.what_if import Apart, WhatIf
    from pricing import PriceBook

MAX_LINES = 12

app = typer.Typer(help="Where calls would have cost less, what-ifs, and what was kept of them.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, amounts as text.")]
FeatureOption = Annotated[list[str] | None, typer.Option(help="Only this feature; may be repeated.")]
ModelOption = Annotated[list[str] | None, typer.Option(help="Only this model; may be repeated.")]


@app.callback(invoke_without_command=True)
def savings(
    context: typer.Context,
    *,
    as_json: JsonOption = False,
    feature: FeatureOption = None,
    model: ModelOption = None,
    home: HomeOption = None,
) -> None:
    """Show where the calls of the last 30 days would have cost less, with low, expected and high."""
    from ingest.savings.reading import read_savings_plan

    if context.invoked_subcommand is not None:
        return
    with _opened(home) as (database, book):
        plan = read_savings_plan(database, filters=_filters(feature=feature, model=model), book=book)
    if as_json:
        total = {"low": plan.total("low"), "expected": plan.total(), "high": plan.total("high")}
        _print_json(
            dataclasses.asdict(plan) | {"goal": plan.goal, "total": total, "to_evaluate": plan.to_evaluate},
        )
    else:
        _print(plan)


@app.command("what-if")
def what_if(
    *,
    to_model: Annotated[str | None, typer.Option(help="Another model answers.")] = None,
    to_provider: Annotated[str | None, typer.Option(help="Whose model that is. [default: the calls' own]")] = None,
    tier: Annotated[str | None, typer.Option(help="Another tier serves: default, batch, flex, priority.")] = None,
    cached: Annotated[str | None, typer.Option(help="Share of the input that the cache gives, 0 to 1.")] = None,
    input_length: Annotated[str | None, typer.Option(help="Input as a part of what it was, such as 0.8.")] = None,
    output_length: Annotated[str | None, typer.Option(help="Output as a part of what it was.")] = None,
    made: Annotated[str | None, typer.Option(help="Share of the calls that are still made, 0 to 1.")] = None,
    feature: FeatureOption = None,
    model: ModelOption = None,
    user: Annotated[list[str] | None, typer.Option(help="Only this user; may be repeated.")] = None,
    days: Annotated[int, typer.Option(min=1, max=399, help="Whole UTC days up to yesterday.")] = 30,
    keep: Annotated[str | None, typer.Option(help="Keep it under this name, to compare it later.")] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Price past calls anew with a change; without one the difference is exactly 0."""
    from ingest.savings.reading import read_what_if
    from ingest.savings.scenarios import Question, keep_scenario
    from ingest.savings.what_if import Change

    try:
        change = Change(
            model=to_model,
            provider=to_provider,
            service_tier=tier,
            cached_share=_share("--cached", cached),
            prompt_share=_share("--input-length", input_length),
            completion_share=_share("--output-length", output_length),
            calls_share=_share("--made", made),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    chosen = _filters(feature=feature, model=model, user_id=user)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with _opened(home) as (database, book):
        found = read_what_if(
            database, change, from_time=midnight - timedelta(days=days), to_time=midnight, filters=chosen, book=book
        )
        question = Question(change, {name: tuple(values) for name, values in chosen.items()})
        number = None if keep is None else keep_scenario(database, keep, question, found)
    if as_json:
        figures = {"difference": found.difference, "difference_per_month": found.difference_per_month}
        _print_json(
            {"change": change.as_texts(), "filters": chosen, "scenario_id": number}
            | dataclasses.asdict(found)
            | figures
        )
        return
    _print_what_if(found)
    if number is not None:
        typer.echo(f"kept as scenario {number}")


@app.command("scenarios")
def scenarios(*, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show kept what-ifs beside what the calls have cost since."""
    from ingest.savings.scenarios import follow, read_scenarios

    now = datetime.now(UTC)
    with _opened(home) as (database, book):
        rows = [(kept, follow(database, kept, book, now=now)) for kept in read_scenarios(database)]
    if as_json:
        _print_json([_scenario_document(kept, since) for kept, since in rows])
        return
    for kept, since in rows:
        _print_scenario(kept, since)
    if not rows:
        typer.echo("no scenario is kept: `treering savings what-if --keep NAME` keeps one")


@contextlib.contextmanager
def _opened(home: Path | None) -> Iterator[tuple[Database, PriceBook]]:
    from ingest.database import open_database
    from ingest.prices.in_force import read_price_book
    from ingest.settings import load_settings

    settings = load_settings(home=home)
    with contextlib.closing(open_database(settings)) as database:
        yield (
            database,
            read_price_book(
                database, deployments=settings.deployments, providers=settings.providers, region=settings.region
            ),
        )


def _filters(**chosen: list[str] | None) -> dict[str, list[str]]:
    return {name: values for name, values in chosen.items() if values}


def _share(option: str, text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation as error:
        raise typer.BadParameter(f"{option} takes a number such as 0.5") from error


def _print_json(document: object) -> None:
    import json

    typer.echo(json.dumps(document, default=str, indent=2))


def _scenario_document(kept: KeptScenario, since: Followed | None) -> dict[str, object]:
    followed = None
    if since is not None:
        followed = {one.name: getattr(since, one.name) for one in dataclasses.fields(since) if one.name != "scenario"}
    return {**kept.model_dump(mode="json"), "since": followed}


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


def _print_what_if(found: WhatIf) -> None:
    from ingest.documents.words import format_usd

    if not found.days:
        typer.echo("no whole day (UTC) of these calls with a certain price")
    else:
        typer.echo(f"{found.calls:,} calls in {found.days} days, {found.first_day} to {found.last_day} (UTC)")
        typer.echo(f"cost        {format_usd(found.cost)}")
        typer.echo(f"with it     {format_usd(found.changed_cost)}")
        typer.echo(f"difference  {format_usd(found.difference)}, {format_usd(found.difference_per_month)} a month")
    if found.unpriced_calls:
        typer.echo(f"{found.unpriced_calls:,} of them have no price with the change: they stay as they were")
    for one, words in ((found.fallback, "at the fallback price"), (found.unpriced, "without a price")):
        if one.calls:
            typer.echo(f"apart: {one.calls:,} calls {words}{_apart(one)}")
    if found.unexamined >= Decimal("0.01"):
        typer.echo(f"not examined: calls for {format_usd(found.unexamined)}")


def _apart(one: Apart) -> str:
    from ingest.documents.words import format_usd

    now = "" if one.cost is None else f", {format_usd(one.cost)}"
    return now if one.changed_cost is None else f"{now}, with it {format_usd(one.changed_cost)}"


def _print_scenario(kept: KeptScenario, since: Followed | None) -> None:
    from ingest.documents.words import format_usd

    typer.echo(f"{kept.scenario_id}  {kept.name}  kept {kept.created_at:%Y-%m-%d} by {kept.created_by}")
    typer.echo(
        f"   a useful call cost {format_usd(kept.cost / kept.units)}, expected "
        f"{format_usd(kept.changed_cost / kept.units)}"
    )
    if since is None:
        typer.echo("   no whole day (UTC) with calls since")
        return
    typer.echo(
        f"   since: {format_usd(since.unit_cost)} in {since.days} days; {format_usd(since.cost)}, expected "
        f"{format_usd(since.expected_cost)}, unchanged {format_usd(since.unchanged_cost)}"
    )
