"""Servers for benchmarks: Postgres with the settings of `treering up`, where a commit is on disk before it counts."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.local.embedded import EmbeddedPostgres
from tests.support.api import SECRET_KEY, Api

if TYPE_CHECKING:
    from collections.abc import Iterator


class BenchDatabase:
    """An embedded Postgres in a folder of its own, seen as a test database is."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.superuser_url = server.superuser_uri
        self.authenticator_url = server.authenticator_uri


@contextmanager
def embedded(kept: Path | None = None) -> Iterator[BenchDatabase]:
    """Run an embedded Postgres with all migrations, in a folder that is kept where one is named."""
    home = kept or Path(tempfile.mkdtemp(prefix="treering-bench-"))
    try:
        with EmbeddedPostgres(home) as server:
            yield BenchDatabase(server)
    finally:
        if kept is None:
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def api(database: BenchDatabase) -> Iterator[tuple[str, str]]:
    """Run PostgREST before the database; its address and the secret key."""
    gateway = Api()
    gateway.start(database)
    try:
        yield gateway.url, SECRET_KEY
    finally:
        gateway.stop()
