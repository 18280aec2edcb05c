"""The one table of the worker's jobs: what runs, how often, beside what, and what it needs.

A new job is one row of `JOBS` and its function above it. `docs/reference/cli.md` lists the same rows; a test compares
both.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from ingest.alerts.computed import write_computed_metrics
from ingest.alerts.fallback import tell_fallback
from ingest.alerts.outbox import Deliverer
from ingest.billing.reconcile import DAYS_A_RUN, fetch_all_costs, has_admin_key, open_apis
from ingest.costs.schedule import hand_out_due_statements
from ingest.database import fetch
from ingest.documents.pipeline import Condensed, RolledUp
from ingest.documents.savings import Judged
from ingest.errors import CatalogueError
from ingest.notices import Notices
from ingest.prices.arrivals import price_arrivals
from ingest.prices.automatic import reprice_when_due
from ingest.prices.catalogue import update_catalogue
from ingest.prices.costing import Costing
from ingest.prices.in_force import Prices, read_price_book
from ingest.reports.figures import Period, SavingsFound, as_savings
from ingest.reports.publish import publish_due_reports
from ingest.savings.ledger import read_ledger, update_ledger
from ingest.savings.reading import read_savings_plan
from ingest.worker.lane import LONGEST_BACKOFF_S, Job
from ingest.worker.rollups import verify_rollups

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.alerts.notification import Notifier
    from ingest.database import Database
    from ingest.settings import Settings
    from pricing import PriceBook

logger = logging.getLogger("treering.worker")

# A breach is to be seen within 10 s. It counts from the end of a run: a slow run or increment fits in.
EVALUATION_PERIOD_S: Final = 5

_MINUTE_S: Final = 60
_HOUR_S: Final = 60 * _MINUTE_S
_DAY_S: Final = 24 * _HOUR_S
# Few hours a call: the increments wait for the same lock.
_HOURS_A_CALL: Final = 8


def utc_now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Tools:
    """What jobs work with.

    Attributes:
        database: Opened as service_role; used by several threads at once.
        settings: Of this deployment.
        worker: Name of this worker.
        notifier: Sends notifications.
        now: Tells the time, aware.
        notices: Where models without a price are reported.
        prices: The prices in force, read when a job first asks for them.
        deliverer: Keeps messages under way; closed by whoever made the tools.
    """

    database: Database
    settings: Settings
    worker: str
    notifier: Notifier
    now: Callable[[], datetime] = utc_now
    notices: Notices = field(default_factory=Notices)
    prices: Prices = field(init=False)
    deliverer: Deliverer = field(init=False)

    def __post_init__(self) -> None:
        prices = Prices(
            self.notices,
            deployments=self.settings.deployments,
            providers=self.settings.providers,
            region=self.settings.region,
        )
        object.__setattr__(self, "prices", prices)
        object.__setattr__(self, "deliverer", Deliverer(self.database, self.worker, notifier=self.notifier))


@dataclass(frozen=True, slots=True)
class Need:
    """What a job cannot do without.

    Attributes:
        is_met: Whether it is there.
        warning: Logged once at the start where it is not; None where leaving it out is somebody's choice.
    """

    is_met: Callable[[Settings], bool]
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row of the table.

    Attributes:
        name: Name in logs and in the heartbeat.
        period_s: Seconds between the end of a run and the next start.
        lane: Jobs of one lane run one after the other, lanes beside each other.
        run: Does it; True asks for another turn at once because work is left.
        needs: It runs only where all of them are met.
        retry_s: Seconds to wait after a run that failed, at most the period.
    """

    name: str
    period_s: int
    lane: str
    run: Callable[[Tools], bool]
    needs: tuple[Need, ...] = ()
    retry_s: float = LONGEST_BACKOFF_S


def _calling(function: str) -> Callable[[Tools], bool]:
    def run(tools: Tools) -> bool:
        tools.database.call(function)
        return False

    return run


def _roll_up(tools: Tools) -> bool:
    result = fetch(tools.database, RolledUp, "roll_up")
    # Busy means that another worker's increment is at work: asking again at once would only spin.
    return not result.is_busy and result.pending_batches > 0


def _price_arrivals(tools: Tools) -> bool:
    def costing() -> Costing:
        tools.prices.refresh_if_due(tools.database)
        return Costing(tools.settings.fallback_model, tools.notices, lambda: tools.prices.book)

    _, has_more = price_arrivals(tools.database, costing, trusted_costs=tools.settings.trusted_costs)
    return has_more


def _condense(tools: Tools) -> bool:
    result = fetch(tools.database, Condensed, "condense_rollups", max_hours=_HOURS_A_CALL)
    return not result.is_busy and not result.is_done


def _verify(tools: Tools) -> bool:
    verify_rollups(tools.database)
    return False


def _judge_savings(tools: Tools) -> bool:
    judged = fetch(tools.database, Judged, "judge_savings")
    if judged.days and not judged.waiting:
        now = tools.now()
        plan = read_savings_plan(tools.database, to_time=now, book=_read_book(tools))
        update_ledger(tools.database, plan, now=now)
    return judged.waiting > 0


def _read_book(tools: Tools) -> PriceBook:
    settings = tools.settings
    return read_price_book(
        tools.database, deployments=settings.deployments, providers=settings.providers, region=settings.region
    )


def _deliver(tools: Tools) -> bool:
    return tools.deliverer.deliver() > 0


def _tell_fallback(tools: Tools) -> bool:
    address = tools.settings.fallback_channel
    if address is not None:
        tell_fallback(tools.database, tools.notifier, address)
    return False


def _measure(tools: Tools) -> bool:
    write_computed_metrics(tools.database, now=tools.now())
    return False


def _publish(tools: Tools) -> bool:
    now = tools.now()

    def find_savings(due: Period) -> SavingsFound:
        plan = read_savings_plan(tools.database, to_time=now, book=_read_book(tools))
        return as_savings(plan, read_ledger(tools.database).entries, due)

    publish_due_reports(
        tools.database,
        tools.worker,
        now=now,
        savings=find_savings,
        dashboard_url=tools.settings.dashboard_url,
    )
    return False


def _hand_out_statements(tools: Tools) -> bool:
    hand_out_due_statements(
        tools.database,
        tools.worker,
        now=tools.now(),
        folder=tools.settings.statement_url,
        threshold=tools.settings.drift_threshold,
    )
    return False


def _reconcile(tools: Tools) -> bool:
    today = tools.now().astimezone(UTC).date()
    fetch_all_costs(tools.database, open_apis(tools.settings), today - timedelta(days=DAYS_A_RUN), today)
    return False


def _update_prices(tools: Tools) -> bool:
    try:
        is_new = update_catalogue(tools.database)
    except CatalogueError as error:
        # Many workers have no way out to the internet: said once here, and by `treering status`.
        if fetch(tools.database, bool, "note_catalogue", error=str(error)):
            logger.warning("the prices stay as they are: %s; TREERING_UPDATE_PRICES=false ends the attempts", error)
        return False
    tools.database.call("note_catalogue")
    if is_new:
        logger.info("a new price catalogue is in force")
    return False


def _reprice(tools: Tools) -> bool:
    return reprice_when_due(tools.database, tools.settings, tools.notices, tools.prices, now=tools.now())


def _archive(tools: Tools) -> bool:
    from ingest.archive.service import run_retention  # as below

    run_retention(tools.database, tools.settings)
    return False


def _has_archive_extra(_: Settings) -> bool:
    return find_spec("pyarrow") is not None and find_spec("fsspec") is not None


def _has_archive_url(settings: Settings) -> bool:
    from ingest.archive.service import archive_url  # the extra `archive` may be missing

    return archive_url(settings) is not None


_ADMIN_KEY: Final = Need(has_admin_key)
_FALLBACK: Final = Need(lambda settings: settings.fallback_channel is not None)
_PRICE_UPDATES: Final = Need(lambda settings: settings.update_prices)
_REPRICES: Final = Need(lambda settings: settings.auto_reprice)
_ARCHIVE_EXTRA: Final = Need(
    _has_archive_extra, "nothing is archived and raw rows are kept: pip install 'treering[archive]'"
)
_ARCHIVE_URL: Final = Need(
    _has_archive_url, "nothing is archived and raw rows are kept: TREERING_ARCHIVE_URL is not set"
)

JOBS: Final = (
    JobRow("ensure_partitions", _DAY_S, "rollups", _calling("ensure_partitions")),
    # Before the roll-up and in its lane: what waits for a price is not rolled up without one.
    JobRow("price_arrivals", 1, "rollups", _price_arrivals),
    JobRow("roll_up", 1, "rollups", _roll_up),
    JobRow("condense_rollups", _MINUTE_S, "rollups", _condense),
    JobRow("refresh_aggregates", 5 * _MINUTE_S, "aggregates", _calling("refresh_aggregates")),
    JobRow("verify_rollups", _DAY_S, "aggregates", _verify),
    # A day is judged within the hour after it ends; a history that was loaded, a day after the other.
    JobRow("judge_savings", 15 * _MINUTE_S, "aggregates", _judge_savings),
    # Apart from each other: what waits in the outbox goes out even where a rule cannot be evaluated.
    JobRow("evaluate_alerts", EVALUATION_PERIOD_S, "rules", _calling("evaluate_alerts")),
    JobRow("deliver_notifications", 1, "messages", _deliver),
    # Apart from the messages, which may all wait for receivers that stall.
    JobRow("tell_fallback", _MINUTE_S, "fallback", _tell_fallback, needs=(_FALLBACK,)),
    # Each apart, since it may take long: a provider's answer, the history of many groups, a month of rows. A key that
    # is refused stays refused for a while: the provider is not asked again within the hour.
    JobRow("reconcile", _DAY_S, "bill", _reconcile, needs=(_ADMIN_KEY,), retry_s=_HOUR_S),
    JobRow("compute_metrics", 5 * _MINUTE_S, "computed metrics", _measure),
    JobRow("publish_reports", _MINUTE_S, "reports", _publish),
    JobRow("hand_out_statements", 5 * _MINUTE_S, "statements", _hand_out_statements),
    JobRow("update_prices", 6 * _HOUR_S, "prices", _update_prices, needs=(_PRICE_UPDATES,)),
    JobRow("reprice", 5 * _MINUTE_S, "prices", _reprice, needs=(_REPRICES,)),
    JobRow("archive", _DAY_S, "archive", _archive, needs=(_ARCHIVE_EXTRA, _ARCHIVE_URL)),
)


def plan_lanes(tools: Tools) -> list[list[Job]]:
    """Return the jobs that can run in this deployment, those of a lane together.

    Args:
        tools: What they work with. What a job needs and does not find is logged where that is nobody's choice.
    """
    lanes: dict[str, list[Job]] = {}
    for row in JOBS:
        missing = next((need for need in row.needs if not need.is_met(tools.settings)), None)
        if missing is None:
            job = Job(row.name, row.period_s, partial(row.run, tools), row.retry_s)
            lanes.setdefault(row.lane, []).append(job)
        elif missing.warning is not None:
            logger.warning(missing.warning)
    return list(lanes.values())
