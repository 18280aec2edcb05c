"""The background worker: rolls up, refreshes, makes partitions, evaluates alerts, archives.

Several workers may run; one of them leads. The leader holds a lease in the database and renews it from a thread of its
own, so that a long job does not cost the lease. Jobs run in lanes, one thread each: a refresh of minutes or a webhook
that hangs does not hold up the increments. Every job is safe to run twice at once (each takes its transaction lock), so
the lease saves work and does not guard correctness.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from ingest.worker.lane import JobCounts, Lane
from ingest.worker.lease import LEASE_TTL_S, RENEWAL_PERIOD_S, Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import JsonValue

    from ingest.database import Database
    from ingest.worker.lane import Job

logger = logging.getLogger("treering.worker")


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
            "version": version("treering"),
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
