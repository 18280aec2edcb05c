"""The leading worker's claim to be the leader."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database

LEASE_NAME: Final = "worker"
# A leader that is killed is missed for at most the sum of both, and alerts with it.
LEASE_TTL_S: Final = 5
RENEWAL_PERIOD_S: Final = 1.0


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
