"""Jobs that run one after the other, each in its period, in a thread of their own."""

from __future__ import annotations

import datetime as dt
import logging
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import schedule

from ingest.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import JsonValue

logger = logging.getLogger("treering.worker")

# A clock that steps back by more than this makes `schedule`, which goes by the wall clock, wait for the old time.
CLOCK_STEP_S: Final = 2.0
# The longest pause while the database is out of reach, and after a run that failed where the job says nothing else.
LONGEST_BACKOFF_S: Final = 30.0

_FIRST_BACKOFF_S: Final = 1.0
_IDLE_S: Final = 1.0


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
    retry_s: float = LONGEST_BACKOFF_S


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
            self._backoff_s = min(max(self._backoff_s * 2, _FIRST_BACKOFF_S), LONGEST_BACKOFF_S)
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
