"""`treering report`."""

from __future__ import annotations

import contextlib
import datetime as dt
from enum import StrEnum
from pathlib import Path  # noqa: TC003 -- typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import HomeOption  # noqa: TC001 -- as above

if TYPE_CHECKING:
    from ingest.database import Database
    from ingest.documents.settings import ReportSchedule


class Kind(StrEnum):
    """Which report."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


def report(
    kind: Annotated[
        Kind, typer.Argument(help="daily (yesterday), weekly (the week up to last Sunday) or monthly (last month).")
    ] = Kind.DAILY,
    *,
    html: Annotated[Path | None, typer.Option(help="Write it to this file as an HTML page with its chart.")] = None,
    send: Annotated[bool, typer.Option("--send", help="Send it now to the channels chosen in Settings.")] = False,
    home: HomeOption = None,
) -> None:
    """Show the latest report as it would be sent, or send it now; the scheduled report is still sent."""
    from ingest.alerts.notifier import ChannelNotifier
    from ingest.alerts.outbox import deliver_notifications
    from ingest.database import open_database
    from ingest.prices.in_force import read_price_book
    from ingest.reports.figures import Period, as_savings, read_figures
    from ingest.reports.publish import make_message, preview_page
    from ingest.savings.ledger import read_ledger
    from ingest.savings.reading import read_savings_plan
    from ingest.settings import load_settings
    from ingest.worker.worker import default_name

    settings = load_settings(home=home)
    now = dt.datetime.now(dt.UTC)
    with contextlib.closing(open_database(settings)) as database:
        schedule = _schedule(database, kind)
        period = Period.latest(kind.value, schedule.timezone, now)
        period = period.model_copy(update={"names_tenants": schedule.names_tenants})
        book = read_price_book(
            database, deployments=settings.deployments, providers=settings.providers, region=settings.region
        )
        plan = read_savings_plan(database, to_time=now, book=book)
        savings = as_savings(plan, read_ledger(database).entries, period)
        figures = read_figures(database, period, now=now, savings=savings)
        message = make_message(figures, dashboard_url=settings.dashboard_url)
        typer.echo(message["text"], nl=False)
        if html is not None:
            html.write_text(preview_page(message), encoding="utf-8")
        if not send:
            return
        name = default_name()
        written = database.call(
            "publish_report",
            kind=kind.value,
            period_start=period.period_start.isoformat(),
            period_end=period.period_end.isoformat(),
            message=message,
            worker=name,
            is_extra=True,
        )
        if not written:
            typer.echo(f"the {kind.value} report has no channel: choose one in Settings, Reports", err=True)
            raise typer.Exit(1)
        # Reports alone: alerts that wait are the worker's, which may have other settings.
        notifier = ChannelNotifier.from_settings(settings)
        deliver_notifications(database, name, notifier=notifier, notification_ids=_waiting_reports(database, now))
        typer.echo(f"\nmessages queued: {written}; the Alerts page shows their delivery")


def _waiting_reports(database: Database, now: dt.datetime) -> list[int]:
    from ingest.database import fetch
    from ingest.documents.alerts import Alerts

    day = dt.timedelta(days=1)
    found = fetch(
        database, Alerts, "get_alerts", from_time=(now - day).isoformat(), to_time=(now + day).isoformat()
    ).outbox
    return [one.notification_id for one in found if (one.event, one.state) == ("report", "pending")]


def _schedule(database: Database, kind: Kind) -> ReportSchedule:
    from ingest.database import fetch
    from ingest.documents.settings import ReportSchedule

    schedules = fetch(database, list[ReportSchedule], "get_report_schedules")
    (schedule,) = (one for one in schedules if one.kind == kind.value)
    return schedule
