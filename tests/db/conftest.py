from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.clockwork import Clockwork

if TYPE_CHECKING:
    from ingest.database import Database
    from tests.support.doors import Door


@pytest.fixture
def service(service_db: Database) -> Clockwork:
    """Through each door."""
    return Clockwork(service_db)


@pytest.fixture
def shared_service(shared_db: Database) -> Clockwork:
    """Through each door, for tests that change nothing."""
    return Clockwork(shared_db)


@pytest.fixture
def shared_clockwork(shared_direct: Door) -> Clockwork:
    """Through Postgres only, for tests that change nothing."""
    return Clockwork(shared_direct.service())


@pytest.fixture
def clockwork(direct: Door) -> Clockwork:
    """Through Postgres only: what happens inside the database does not depend on the door."""
    return Clockwork(direct.service())
