"""The commands of `treering`, one module each. Heavy imports stay inside the functions: `--help` must be quick."""

from __future__ import annotations

import typer

from ingest.cli import (
    alerts,
    alerts_code,
    archive,
    dashboard,
    dead_letters,
    doctor,
    export,
    init,
    keys,
    members,
    migrate,
    migrations,
    reconcile,
    replay,
    report,
    reprice,
    rollups,
    savings,
    statement,
    status,
    terms,
    up,
    worker,
)

__all__ = ["app"]

app = typer.Typer(
    help="Cost, usage, speed and alerts for every LLM call of your product.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("init", short_help="Set up hosted Supabase: write the settings, check them, list what remains.")(init.init)
app.command("up", short_help="Run everything on this machine.")(up.up)
app.command("migrate", short_help="Apply the missing migrations to a database.")(migrate.migrate)
app.command("dashboard", short_help="Start the app.")(dashboard.dashboard)
app.command("worker", short_help="Run the background jobs.")(worker.worker)
app.command("replay", short_help="Load a recorded trace.")(replay.replay)
app.command("reprice", short_help="Recalculate the cost of recorded calls.")(reprice.reprice)
app.command("status", short_help="Show the health of every part.")(status.status)
app.command("doctor", short_help="Check a deployment and suggest fixes.")(doctor.doctor)
app.command("reconcile", short_help="Compare the provider's bill with recorded costs.")(reconcile.reconcile)
app.command("export", short_help="Export raw calls to a file.")(export.export)
app.command("statement", short_help="Write a month's statement for finance.")(statement.statement)
app.command("report", short_help="Show or send the daily, weekly or monthly report.")(report.report)
app.add_typer(savings.app, name="savings", short_help="Show where calls would have cost less; what-ifs.")
app.command("secret-key", short_help="Generate a key that encrypts channel addresses.")(alerts.secret_key)
app.add_typer(alerts_code.app, name="alerts", short_help="List, acknowledge, silence, test; rules as code.")
app.command("forget", short_help="Erase a person's data.")(archive.forget)
app.add_typer(dead_letters.app, name="dead-letters", short_help="List, resend or delete refused events.")
app.add_typer(archive.app, name="archive", short_help="Archive old months as Parquet.")
app.add_typer(migrations.app, name="migrations", short_help="Deploy by `supabase db push`.")
app.add_typer(rollups.app, name="rollups", short_help="Verify and rebuild the rollups.")
app.add_typer(keys.app, name="keys", short_help="Create insert-only keys.")
app.add_typer(terms.app, name="terms", short_help="Manage discounts, balances and currencies.")
app.add_typer(members.app, name="members", short_help="Manage who may see and change what.")
