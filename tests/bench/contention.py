"""50 writers, 20 readers, two workers, maintenance and retention at once: deadlocks, waits over a second, exactness.

The database refuses any wait for a lock over a second, so that one shows as a failed call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.local.embedded import find_binaries
from tests.bench._rows import row
from tests.support.contention import Contention
from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITERS = 50
READERS = 20
BATCHES = 20


def run() -> Iterator[dict[str, object]]:
    """Yield what happened."""
    server = Server.start(find_binaries())  # a hundred connections
    try:
        outcome = Contention(server.create_database(), writers=WRITERS, readers=READERS, batches=BATCHES).run()
    finally:
        server.stop()
    yield row(f"calls stored by {WRITERS} writers in batches of 50", outcome.stored, "calls")
    yield row(f"pages read by {READERS} readers meanwhile", outcome.reads, "pages")
    yield row("deadlocks", outcome.deadlocks, "deadlocks")
    yield row("calls that failed, a wait for a lock over 1 s among them", len(outcome.errors), "calls")
    yield row("rollups equal to the raw rows afterwards", outcome.is_exact, "yes")
    yield row(
        "months dropped by retention meanwhile or, where 200 ms never sufficed, right after",
        outcome.dropped_months,
        "months",
    )
    yield row("a batch, p95", outcome.write_p95_ms, "ms")
    yield row("a page, p95", outcome.read_p95_ms, "ms")
