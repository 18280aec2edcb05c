"""The fixtures of the client's own tests, with every client of the process instrumented."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import ingest
from tests.unit.tracking.conftest import Recorded, home, recorded, server, vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["home", "recorded", "server", "vocabulary"]


@pytest.fixture
def instrumented(recorded: Recorded) -> Iterator[Recorded]:
    ingest.instrument()
    yield recorded
    ingest.uninstrument()
