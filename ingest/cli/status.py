"""`treering status`."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from ingest.cli.doctor import as_document
from ingest.cli.options import JsonOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database.health import Finding, Level

_COLOURS = {"OK": "green", "WARNING": "yellow", "CRITICAL": "red"}


def status(*, as_json: JsonOption = False) -> None:
    """Show the health of every part; the exit code is 0 (ok), 1 (warning) or 2 (critical or unreachable)."""
    from ingest.database import fetch, open_database, parse
    from ingest.database.health import Finding, Level, judge_deployment, judge_status
    from ingest.documents.deployment import Deployment
    from ingest.documents.pipeline import Status
    from ingest.errors import DatabaseError
    from ingest.ops.undelivered import judge_undelivered
    from ingest.settings import load_settings

    document: JsonValue = None
    settings = load_settings()
    try:
        with contextlib.closing(open_database(settings)) as database:
            document = database.call("get_status")
            deployment = fetch(database, Deployment, "get_deployment")
        findings = judge_status(parse(Status, document, "get_status"), updates_prices=settings.update_prices)
        findings += judge_deployment(deployment, has_key=settings.secret_key is not None)
    except DatabaseError as error:
        findings = [Finding("database", Level.CRITICAL, str(error))]
    findings += judge_undelivered(settings.home, datetime.now(UTC))
    worst = max(finding.level for finding in findings)
    if as_json:
        typer.echo(_as_json(findings, worst, document))
    else:
        _print_table(findings)
    raise typer.Exit(int(worst))


def _as_json(findings: list[Finding], worst: Level, document: JsonValue) -> str:
    parts = [as_document(finding) for finding in findings]
    return json.dumps({"level": worst.name.lower(), "parts": parts, "status": document}, indent=2)


def _print_table(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("part", "level", "state")
    for finding in findings:
        level = finding.level.name
        table.add_row(finding.part, f"[{_COLOURS[level]}]{level.lower()}[/]", escape(str(finding)))
    Console().print(table)
