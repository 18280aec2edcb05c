"""The background worker: rolls up, refreshes, makes partitions, evaluates alerts, archives.

Several workers may run; one of them leads. The leader holds a lease in the database and renews it from a thread of its
own, so that a long job does not cost the lease. Jobs run in lanes, one thread each: a refresh of minutes or a webhook
that hangs does not hold up the increments. Every job is safe to run twice at once (each takes its transaction lock), so
the lease saves work and does not guard correctness.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import schedule

from ingest.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database

logger = logging.getLogger(__name__)

LEASE_NAME = "worker"
# A leader that is killed is missed for at most the sum of both, and alerts with it.
LEASE_TTL_S = 5
RENEWAL_PERIOD_S = 1.0

# A breach is to be seen within 10 s. It counts from the end of a run: a slow run or increment fits in.
EVALUATION_PERIOD_S = 5

# A clock that steps back by more than this makes `schedule`, which goes by the wall clock, wait for the old time.
CLOCK_STEP_S = 2.0

_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 30.0
_IDLE_S = 1.0
_DAY_S = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Job:
    """Something the worker does periodically.

    Attributes:
        name: Name in logs and in the heartbeat.
        period_s: Seconds between the end of a run and the next start.
        run: Does it; True asks for another turn at once because work is left.
        retry_s: Seconds to wait after a run that failed, at most the period.
    """

    name: str
    period_s: int
    run: Callable[[], bool]
    retry_s: float = _LONGEST_BACKOFF_S


class Lease:
    """This worker's claim to be the leader, with an expiry of its own should the database be out of reach.

    Args:
        database: Where the lease is kept.
        holder: Name of this worker.
        monotonic: Clock that never steps, in seconds.
    """

    def __init__(self, database: Database, holder: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._holder = holder
        self._monotonic = monotonic
        self._held_until = float("-inf")

    @property
    def is_held(self) -> bool:
        """Whether this worker leads right now."""
        return self._monotonic() < self._held_until

    def renew(self) -> bool:
        """Claim or prolong the lease; True when this worker now leads."""
        asked_at = self._monotonic()
        granted = self._database.call("acquire_lease", name=LEASE_NAME, holder=self._holder, ttl_s=LEASE_TTL_S)
        # Counted from before the question: by our own clock the lease never outlives the database's.
        self._held_until = asked_at + LEASE_TTL_S if granted is True else float("-inf")
        return self.is_held

    def release(self) -> None:
        """Let another worker take over at once."""
        if self._held_until != float("-inf"):
            self._held_until = float("-inf")
            self._database.call("release_lease", name=LEASE_NAME, holder=self._holder)


class JobCounts:
    """How often each job ran and failed; shared by the lanes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._last_error: str | None = None

    def add_run(self, job: str) -> None:
        """Count a run that succeeded."""
        with self._lock:
            self._runs[job] = self._runs.get(job, 0) + 1

    def add_failure(self, job: str, error: Exception) -> None:
        """Count a run that raised."""
        with self._lock:
            self._failures[job] = self._failures.get(job, 0) + 1
            self._last_error = f"{job}: {error}"[:300]

    def as_json(self) -> dict[str, JsonValue]:
        """The counts as the heartbeat reports them."""
        with self._lock:
            return {
                "runs": dict(self._runs),
                "failures": dict(self._failures),
                "last_error": self._last_error,
            }


class Lane:
    """Jobs that run one after the other, in a thread of their own.

    Args:
        jobs: The jobs; each runs at once and then in its period.
        may_lead: Whether this worker leads right now; jobs run on the leader alone.
        stop: Set when no further job may begin.
        counts: Told each run and each failure.
        monotonic: Clock that never steps, in seconds.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        may_lead: Callable[[], bool],
        stop: threading.Event,
        counts: JobCounts,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._may_lead = may_lead
        self._stop = stop
        self._counts = counts
        self._monotonic = monotonic
        self._backoff_s = 0.0
        self._is_unreachable = False
        self._was_leading = False
        self._retry_in_s: dict[str, float] = {}
        self._clock_offset_s = 0.0
        self.scheduler = schedule.Scheduler()
        self._plan()

    @property
    def names(self) -> list[str]:
        """The jobs of this lane."""
        return [job.name for job in self._jobs]

    def run(self) -> None:
        """Run jobs until told to stop; the running job finishes first."""
        while not self._stop.is_set():
            self._stop.wait(self.run_due())

    def run_due(self) -> float:
        """Run what is due, once.

        Returns:
            Seconds to wait before the next look.
        """
        is_leading = self._may_lead()
        clock_stepped = abs(time.time() - self._monotonic() - self._clock_offset_s) > CLOCK_STEP_S
        if clock_stepped or (is_leading and not self._was_leading):
            self._plan()  # a new leader does not wait for the periods it counted as a follower
        self._was_leading = is_leading
        self._is_unreachable = False
        self._retry_in_s.clear()
        self.scheduler.run_pending()
        for planned in self.scheduler.get_jobs():
            for name in planned.tags & self._retry_in_s.keys():
                planned.next_run = _local_now() + dt.timedelta(seconds=self._retry_in_s[str(name)])
        if self._is_unreachable:
            return self._backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads retries, guards nothing
        return min(max(self.scheduler.idle_seconds or 0.0, 0.0), _IDLE_S)

    def _plan(self) -> None:
        self.scheduler.clear()
        self._clock_offset_s = time.time() - self._monotonic()
        for job in self._jobs:
            self.scheduler.every(job.period_s).seconds.do(self._run_one, job).tag(job.name).next_run = _local_now()

    def _run_one(self, job: Job) -> None:
        if self._stop.is_set() or not self._may_lead():
            return
        try:
            has_more = job.run()
        except DatabaseUnavailableError as error:
            self._is_unreachable = True
            self._backoff_s = min(max(self._backoff_s * 2, _FIRST_BACKOFF_S), _LONGEST_BACKOFF_S)
            self._retry_in_s[job.name] = 0.0
            self._counts.add_failure(job.name, error)
            logger.warning("%s: the database cannot be reached: %s", job.name, error)
        except Exception as error:
            self._retry_in_s[job.name] = min(job.period_s, job.retry_s)
            self._counts.add_failure(job.name, error)
            logger.exception("%s failed; the other jobs go on", job.name)
        else:
            self._backoff_s = 0.0
            self._counts.add_run(job.name)
            if has_more:
                self._retry_in_s[job.name] = 0.0


def _local_now() -> dt.datetime:
    return dt.datetime.now()  # noqa: DTZ005 -- schedule compares naive local times


class Worker:
    """Leads or follows, runs the lanes, reports a heartbeat, and stops cleanly.

    Args:
        database: Opened as service_role; used by several threads at once.
        lanes: The jobs, a thread for each inner sequence.
        name: Name of this worker; unique among the running ones.
        describe: More details for the heartbeat.
        monotonic: Clock that never steps, in seconds.
    """

    def __init__(
        self,
        database: Database,
        lanes: Sequence[Sequence[Job]],
        *,
        name: str | None = None,
        describe: Callable[[], dict[str, JsonValue]] = dict,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name or default_name()
        self._describe = describe
        self.stop_requested = threading.Event()
        self.counts = JobCounts()
        self.lease = Lease(database, self.name, monotonic)
        self._database = database
        self._was_leader = False
        self._was_reachable = True
        self.lanes = [
            Lane(
                jobs,
                may_lead=lambda: self.lease.is_held,
                stop=self.stop_requested,
                counts=self.counts,
                monotonic=monotonic,
            )
            for jobs in lanes
        ]

    def run(self) -> None:
        """Work until `stop_requested` is set; then finish the running jobs and release the lease."""
        self.beat()
        threads = [
            threading.Thread(target=lane.run, name=f"treering-{'-'.join(lane.names)}", daemon=True)
            for lane in self.lanes
        ]
        for thread in threads:
            thread.start()
        while not self.stop_requested.wait(RENEWAL_PERIOD_S):
            self.beat()
        logger.info("stopping: running jobs finish first")
        for thread in threads:
            while thread.is_alive():
                thread.join(RENEWAL_PERIOD_S)
                self._renew_while_finishing(thread)
        self._say_goodbye()

    def beat(self) -> None:
        """Renew the lease and report the heartbeat; trouble is logged once and never raised."""
        try:
            is_leader = self.lease.renew()
            if is_leader != self._was_leader:
                logger.info("%s: %s", self.name, "leading" if is_leader else "standing by while another worker leads")
            self._was_leader = is_leader
            self._report(is_leader=is_leader)
            if not self._was_reachable:
                logger.info("the database is back")
            self._was_reachable = True
        except Exception as error:  # noqa: BLE001 -- a heartbeat that fails must not end the worker
            if self._was_reachable:
                logger.warning("no heartbeat: %s", error)
            self._was_reachable = False

    def _renew_while_finishing(self, thread: threading.Thread) -> None:
        if thread.is_alive():
            logger.info("waiting for %s", thread.name)
            self.beat()

    def _report(self, *, is_leader: bool, is_stopping: bool = False) -> None:
        details: dict[str, JsonValue] = {
            **self._describe(),
            **self.counts.as_json(),
            "is_leader": is_leader,
            "is_stopping": is_stopping,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._database.call("record_heartbeat", worker=self.name, details=details)

    def _say_goodbye(self) -> None:
        try:
            self.lease.release()
            self._report(is_leader=False, is_stopping=True)
        except Exception as error:  # noqa: BLE001 -- the lease expires by itself
            logger.warning("the lease could not be released; it expires within %d s: %s", LEASE_TTL_S, error)


def default_name() -> str:
    """A name for this worker: host, process and some random letters, so that a recycled process id does not collide."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def standard_lanes(
    database: Database,
    *,
    deliver: Callable[[], bool],
    reconcile: Callable[[], bool] | None = None,
    update_prices: Callable[[], bool] | None = None,
    archive: Callable[[], bool] | None = None,
    measure: Callable[[], bool] | None = None,
    publish: Callable[[], bool] | None = None,
) -> list[list[Job]]:
    """The jobs of `treering worker`.

    Args:
        database: Opened as service_role.
        deliver: Sends notifications that wait; True when more may be waiting.
        reconcile: Reads the provider's costs; None without a key for them.
        update_prices: Fetches the price catalogue; None where that is switched off.
        archive: Takes months past retention out of the database; None where no archive is set.
        measure: Computes the metrics of rules that the database cannot: anomalies and forecasts.
        publish: Writes the reports that are due into the outbox.
    """

    def call(function: str) -> Callable[[], bool]:
        def run() -> bool:
            database.call(function)
            return False

        return run

    def roll_up() -> bool:
        result = database.call("roll_up")
        # Busy means that another worker's increment is at work: asking again at once would only spin.
        return isinstance(result, Mapping) and not result.get("is_busy") and bool(result.get("pending_batches"))

    def condense() -> bool:
        # Few hours a call: the increments wait for the same lock.
        result = database.call("condense_rollups", max_hours=8)
        return isinstance(result, Mapping) and not result.get("is_busy") and not result.get("is_done")

    lanes = [
        [
            Job("ensure_partitions", _DAY_S, call("ensure_partitions")),
            Job("roll_up", 1, roll_up),
            Job("condense_rollups", 60, condense),
        ],
        [
            Job("refresh_aggregates", 5 * 60, call("refresh_aggregates")),
            Job("verify_rollups", _DAY_S, call("verify_rollups")),
        ],
        # Apart from each other: what waits in the outbox goes out even where a rule cannot be evaluated.
        [Job("evaluate_alerts", EVALUATION_PERIOD_S, call("evaluate_alerts"))],
        [Job("deliver_notifications", 1, deliver)],
    ]
    # Each apart, since it may take long: a provider's answer, the history of many groups, a month of rows.
    if reconcile is not None:
        # A key that is refused stays refused for a while: the provider is not asked again within the hour.
        lanes.append([Job("reconcile", _DAY_S, reconcile, retry_s=60 * 60)])
    others = (
        ("measure_outside", 5 * 60, measure),
        ("publish_reports", 60, publish),
        ("update_prices", _DAY_S, update_prices),
        ("archive", _DAY_S, archive),
    )
    lanes += [[Job(name, period_s, run)] for name, period_s, run in others if run is not None]
    return lanes
