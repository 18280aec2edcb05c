"""`treering alerts list`, `ack`, `silence`, `export` and `apply`."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path  # noqa: TC003 -- typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.alerts import app, find_rule
from ingest.cli.options import HomeOption, JsonOption  # noqa: TC001 -- as above

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.database import Database

__all__ = ["app"]

_DAY = timedelta(days=1)


@contextlib.contextmanager
def _database(home: Path | None) -> Iterator[Database]:
    from ingest.database import open_database
    from ingest.errors import InvalidArgumentError
    from ingest.settings import load_settings

    with contextlib.closing(open_database(load_settings(home=home))) as database:
        try:
            yield database
        except InvalidArgumentError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from error


@app.command("list")
def list_alerts(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the alerts that are firing, the most severe first."""
    from ingest.alerts.metrics import format_metric
    from ingest.database import fetch
    from ingest.documents.alerts import Alerts

    now = datetime.now(UTC)
    with _database(home) as database:
        firing = fetch(
            database, Alerts, "get_alerts", from_time=(now - _DAY).isoformat(), to_time=now.isoformat()
        ).firing
    if as_json:
        typer.echo(json.dumps([alert.model_dump(mode="json") for alert in firing], indent=2))
        return
    for alert in sorted(firing, key=lambda alert: (alert.severity != "critical", alert.started_at)):
        group = f" [{alert.group_key}]" if alert.group_key else ""
        value = format_metric(alert.metric, alert.latest_value if alert.latest_value is not None else alert.value)
        threshold = format_metric(alert.metric, alert.threshold)
        by = f", acknowledged by {alert.acknowledged_by}" if alert.acknowledged_at else ""
        typer.echo(
            f"{alert.alert_id}\t{alert.severity}\t{alert.rule_name}{group}\t{value}, {alert.comparator} {threshold}"
            f"\tsince {alert.started_at:%Y-%m-%d %H:%M} UTC{by}"
        )


@app.command("ack")
def acknowledge(
    alert_id: Annotated[int, typer.Argument(help="Number of the alert, as list shows it.")],
    *,
    note: Annotated[str | None, typer.Option(help="What is being done about it.")] = None,
    home: HomeOption = None,
) -> None:
    """Acknowledge a firing alert, which stops its reminders and escalations."""
    with _database(home) as database:
        database.call("acknowledge_alert", alert_id=alert_id, note=note)
    typer.echo(f"alert {alert_id} acknowledged")


@app.command("silence")
def silence(
    rule: Annotated[str, typer.Argument(help="Name or number of the rule.")],
    *,
    minutes: Annotated[int, typer.Option("--for", min=1, max=129_600, help="Length in minutes.")] = 60,
    group: Annotated[str | None, typer.Option(help="Only this group of the rule.")] = None,
    note: Annotated[str | None, typer.Option(help="Why.")] = None,
    home: HomeOption = None,
) -> None:
    """Keep a rule, or one group of it, from sending for a while; what still fires then is told."""
    ends_at = datetime.now(UTC) + timedelta(minutes=minutes)
    with _database(home) as database:
        rule_id = find_rule(database, rule)
        database.call("silence_alerts", rule_id=rule_id, ends_at=ends_at.isoformat(), group_key=group, note=note)
    typer.echo(f"{rule} is silenced until {ends_at:%Y-%m-%d %H:%M} UTC")


@app.command("export")
def export(*, home: HomeOption = None) -> None:
    """Print rules, budgets, routes and mute times as YAML; channels appear by name, without their addresses."""
    from ingest.alerts.as_code import export_alerts
    from ingest.database import fetch
    from ingest.documents.settings import Configuration

    with _database(home) as database:
        typer.echo(export_alerts(fetch(database, Configuration, "get_settings")), nl=False)


@app.command("apply")
def apply(
    file: Annotated[Path, typer.Argument(help="YAML file as export prints it; - reads standard input.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Delete what the file does not name.")] = False,
    home: HomeOption = None,
) -> None:
    """Make rules, budgets, routes and mute times what a file says; nothing is changed where it has a mistake."""
    from ingest.alerts.as_code import apply_changes, compare_alerts, read_alerts
    from ingest.database import fetch
    from ingest.documents.settings import Configuration

    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    with _database(home) as database:
        configuration = fetch(database, Configuration, "get_settings")
        changes = compare_alerts(read_alerts(text, configuration), configuration, is_whole=prune)
        for change in changes:
            typer.echo(change.describe())
        if not dry_run:
            apply_changes(database, changes)
    word = "would change" if dry_run else "changed"
    typer.echo(f"{len(changes)} {word}" if changes else "nothing to change")
