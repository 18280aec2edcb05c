"""The commands of `treering`, one module each. Heavy imports stay inside the functions: `--help` must be quick."""

from __future__ import annotations

import typer

from ingest.commands import archive, doctor, export, members, migrate, replay, status, up, worker

__all__ = ["app"]

app = typer.Typer(
    help="Cost, usage, speed and alerts for every LLM call of your product.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(up.up)
app.command("migrate")(migrate.migrate)
app.command("worker")(worker.worker)
app.command("replay")(replay.replay)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("export")(export.export)
app.command("forget")(archive.forget)
app.add_typer(archive.app, name="archive")
app.add_typer(members.app, name="members")
