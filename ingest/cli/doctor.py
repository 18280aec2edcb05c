"""`treering doctor`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from ingest.cli.options import HomeOption, JsonOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingest.database.health import Finding, Level

_WORDS = {"OK": ("ok", "green"), "WARNING": ("warn", "yellow"), "CRITICAL": ("fail", "red")}


def doctor(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check a deployment and suggest fixes; the exit code is 1 when a check fails."""
    from ingest.database.health import Level
    from ingest.ops.doctor import examine
    from ingest.settings import load_settings

    findings = examine(load_settings(home=home))
    worst = _print_json(list(findings)) if as_json else print_findings(findings)
    raise typer.Exit(1 if worst is Level.CRITICAL else 0)


def print_findings(findings: Iterable[Finding]) -> Level:
    """Print each finding as soon as it is known, with its fix below; the worst level returns."""
    from rich.console import Console
    from rich.markup import escape

    from ingest.database.health import Level

    console = Console(highlight=False, soft_wrap=True)
    worst = Level.OK
    for finding in findings:
        word, colour = _WORDS[finding.level.name]
        console.print(f"[{colour}]{word:<4}[/] {escape(finding.part)}: {escape(finding.message)}")
        if finding.fix:
            console.print(f"     fix: {escape(finding.fix)}")
        worst = max(worst, finding.level)
    return worst


def _print_json(findings: list[Finding]) -> Level:
    worst = max(finding.level for finding in findings)
    document = {"level": worst.name.lower(), "parts": [as_document(finding) for finding in findings]}
    typer.echo(json.dumps(document, indent=2))
    return worst


def as_document(finding: Finding) -> dict[str, str | None]:
    """Write a finding as JSON: `fix` is null where nothing is to be done."""
    level = finding.level.name.lower()
    return {"part": finding.part, "level": level, "message": finding.message, "fix": finding.fix or None}
