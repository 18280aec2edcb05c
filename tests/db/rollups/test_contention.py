"""Writers, readers, the worker, maintenance and retention at once: no deadlock, and no wait of a second for a lock.

The database refuses any wait over a second (`lock_timeout`), so that a wait shows as an error. The benchmark
`contention` runs the same at full size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.contention import Contention

if TYPE_CHECKING:
    from tests.support.doors import Door


def test_writers_readers_the_worker_and_retention_get_on_with_each_other(direct: Door) -> None:
    outcome = Contention(direct.database, writers=6, readers=3, batches=8).run()
    assert outcome.errors == []
    assert outcome.deadlocks == 0
    assert outcome.is_exact
    assert outcome.stored == 6 * 8 * 50
    assert outcome.dropped_months == 2
    assert min(outcome.reads, outcome.increments, outcome.condensations, outcome.refreshes) > 0
