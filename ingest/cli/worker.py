"""`treering worker`."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

from ingest.cli.options import HomeOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from pydantic import JsonValue


def worker(*, home: HomeOption = None) -> None:
    """Run the background jobs: roll-ups, refreshes, partitions, alerts, archive. Of several workers one leads."""
    import ingest
    from ingest.alerts.notifier import ChannelNotifier
    from ingest.cli.signals import stop_on_signals
    from ingest.database import open_database
    from ingest.settings import load_settings
    from ingest.worker.jobs import Tools, plan_lanes
    from ingest.worker.worker import Worker, default_name

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
        tools = Tools(database, settings, name, ChannelNotifier.from_settings(settings))
        one = Worker(database, plan_lanes(tools), name=name, describe=_describe_journal)
        with stop_on_signals(one.stop_requested), contextlib.closing(tools.deliverer):
            one.run()
    ingest.shutdown()


def _describe_journal() -> dict[str, JsonValue]:
    import ingest

    stats = ingest.stats()
    return {"journal": {"adopted": stats.adopted, "pending": stats.pending, "last_error": stats.last_error}}
