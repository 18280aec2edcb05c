"""`treering worker`."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ingest.commands.options import HomeOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.database import Database
    from ingest.settings import Settings

logger = logging.getLogger(__name__)


def worker(*, home: HomeOption = None) -> None:
    """Run the background jobs: roll-ups, refreshes, partitions, alerts, archive. Of several workers one leads."""
    import ingest
    from ingest.alerts.outbox import MAX_COUNT, ChannelNotifier, deliver_notifications
    from ingest.billing.reconcile import daily_reconciliation
    from ingest.database import open_database
    from ingest.prices.catalogue import update_catalogue
    from ingest.settings import load_settings
    from ingest.signals import stop_on_signals
    from ingest.worker.worker import Worker, default_name, standard_lanes

    # `schedule` goes by local wall-clock time, which is set back by an hour each autumn in half of the world.
    os.environ["TZ"] = "UTC"
    time.tzset()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settings = load_settings(home=home)
    name = default_name()
    # A running recorder takes over the journals of processes on this machine that ended without sending them.
    ingest.configure(home=settings.home)
    with contextlib.closing(open_database(settings)) as database:
        notifier = ChannelNotifier.from_settings(settings)

        def deliver() -> bool:
            return deliver_notifications(database, name, notifier=notifier) >= MAX_COUNT

        def update_prices() -> bool:
            if update_catalogue(database):
                logger.info("a new price catalogue is in force")
            return False

        lanes = standard_lanes(
            database,
            deliver=deliver,
            archive=_archive_job(database, settings),
            reconcile=daily_reconciliation(settings, database),
            update_prices=update_prices if settings.update_prices else None,
            **_forecast_jobs(database, settings, name),
        )
        one = Worker(database, lanes, name=name, describe=_describe_journal)
        with stop_on_signals(one.stop_requested):
            one.run()
    ingest.shutdown()


def _archive_job(database: Database, settings: Settings) -> Callable[[], bool] | None:
    """The daily job; None, with a line that says why, where rows are kept indefinitely."""
    if find_spec("pyarrow") is None or find_spec("fsspec") is None:
        logger.warning("nothing is archived and raw rows are kept: pip install 'treering[archive]'")
        return None
    from ingest.archive.service import archive_url, run_retention

    if archive_url(settings) is None:
        logger.warning("nothing is archived and raw rows are kept: TREERING_ARCHIVE_URL is not set")
        return None

    def archive() -> bool:
        run_retention(database, settings)
        return False

    return archive


def _forecast_jobs(database: Database, settings: Settings, name: str) -> dict[str, Callable[[], bool]]:
    """What needs numpy: the values of rules that the database cannot compute, and the reports."""
    from ingest.alerts.computed import write_outside_metrics
    from ingest.reports.publish import find_savings, publish_due_reports

    def measure() -> bool:
        write_outside_metrics(database, now=dt.datetime.now(dt.UTC))
        return False

    def publish() -> bool:
        publish_due_reports(
            database,
            name,
            savings=lambda: find_savings(database, settings, dt.datetime.now(dt.UTC)),
            dashboard_url=settings.dashboard_url,
        )
        return False

    return {"measure": measure, "publish": publish}


def _describe_journal() -> dict[str, JsonValue]:
    import ingest

    stats = ingest.stats()
    return {"journal": {"adopted": stats.adopted, "pending": stats.pending, "last_error": stats.last_error}}
