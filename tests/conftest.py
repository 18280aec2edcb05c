"""Fixtures for all tests. Servers start once per test process; every test has a database of its own.

Which fixture for what:

* `service_db`, `viewer(user_id)`, `anonymous`: a `Database` as that caller. The test runs once through each door.
* `door`: the door itself, to open several callers or to reach the database behind it (`door.database`).
* `direct`: the same as `door`, through Postgres only, for tests in which the door does not matter.
* `api`: Supabase's API for the test's database, where the address and the keys themselves matter.
* `database`: a migrated database with its addresses; `postgres_url`: its superuser's address.
* `shared_db`, `shared_door`, `shared_direct`: the same for tests that change nothing; those of a module share a
  database, which is faster by far. A module that needs rows in it overrides `shared_database` and adds them.
* `empty_database`: a database without migrations; `every_postgres`: such a one on each version of Postgres.
* `make_token(sub, role)`: a token as Supabase Auth signs it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ingest.local.embedded import find_binaries
from tests.support import clock, toolchain
from tests.support.api import make_token as sign_token
from tests.support.doors import Door
from tests.support.lending import Lender
from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.database import Database
    from tests.support.api import Api
    from tests.support.servers import TestDatabase


def pytest_configure() -> None:
    os.environ["TREERING_UPDATE_PRICES"] = "false"  # no network beyond loopback, in the processes that tests start too
    clock.start()


def pytest_unconfigure() -> None:
    clock.stop()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if clocks := clock.wanted():
        metafunc.parametrize("wall_clock", clocks, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests at one time before the next: a process may hold on to the latest time that it has seen."""
    clocks = clock.wanted()

    def place(item: pytest.Item) -> int:
        case = getattr(item, "callspec", None)  # a test of unittest's has none, and runs once
        return clocks.index(case.params["wall_clock"]) if case else 0

    if clocks:
        items.sort(key=place)


@pytest.fixture(autouse=True)
def wall_clock(request: pytest.FixtureRequest) -> None:
    """Begin at the time that the run asks for; see `tests.support.clock`."""
    if when := getattr(request, "param", None):
        clock.turn_to(when)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The embedded Postgres 18."""
    server = Server.start(find_binaries())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres15_server() -> Iterator[Server]:
    """Debian's Postgres 15, the oldest that the migrations must run on."""
    if not toolchain.POSTGRES_15.is_dir():
        pytest.skip("Postgres 15 is not installed: `uv run python -m tests` as root installs it")
    server = Server.start(toolchain.POSTGRES_15)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def lender(postgres_server: Server) -> Iterator[Lender]:
    lender = Lender(postgres_server)
    yield lender
    lender.close()


@pytest.fixture
def database(lender: Lender) -> Iterator[TestDatabase]:
    with lender.lend() as database:
        yield database


@pytest.fixture
def empty_database(postgres_server: Server) -> Iterator[TestDatabase]:
    database = postgres_server.create_database(empty=True)
    yield database
    database.drop()


@pytest.fixture
def postgres15_database(postgres15_server: Server) -> Iterator[TestDatabase]:
    database = postgres15_server.create_database()
    yield database
    database.drop()


@pytest.fixture(params=["postgres15_server", "postgres_server"])
def every_postgres(request: pytest.FixtureRequest) -> Iterator[TestDatabase]:
    server: Server = request.getfixturevalue(request.param)
    database = server.create_database(empty=True)
    yield database
    database.drop()


@pytest.fixture
def postgres_url(database: TestDatabase) -> str:
    return database.superuser_url


@pytest.fixture(params=["postgres", "postgrest"])
def door(request: pytest.FixtureRequest, database: TestDatabase, lender: Lender) -> Iterator[Door]:
    door = Door(request.param, database, lender.api)
    yield door
    door.close()


@pytest.fixture
def direct(database: TestDatabase) -> Iterator[Door]:
    door = Door("postgres", database)
    yield door
    door.close()


@pytest.fixture
def api(database: TestDatabase, lender: Lender) -> Api:
    return lender.api(database)


@pytest.fixture(scope="module")
def shared_database(lender: Lender) -> Iterator[TestDatabase]:
    with lender.lend() as database:
        yield database


@pytest.fixture(scope="module")
def shared_api(lender: Lender, shared_database: TestDatabase) -> Api:
    return lender.api(shared_database)


@pytest.fixture(scope="module")
def unchanged_database(shared_database: TestDatabase) -> Iterator[TestDatabase]:
    before = shared_database.count_rows()
    yield shared_database
    assert shared_database.count_rows() == before, "a test changed the database that it shares"


@pytest.fixture(params=["postgres", "postgrest"])
def shared_door(request: pytest.FixtureRequest, unchanged_database: TestDatabase, lender: Lender) -> Iterator[Door]:
    door = Door(request.param, unchanged_database, lender.api)
    yield door
    door.close()


@pytest.fixture
def shared_db(shared_door: Door) -> Database:
    return shared_door.service()


@pytest.fixture
def shared_direct(unchanged_database: TestDatabase) -> Iterator[Door]:
    door = Door("postgres", unchanged_database)
    yield door
    door.close()


@pytest.fixture
def service_db(door: Door) -> Database:
    return door.service()


@pytest.fixture
def viewer(door: Door) -> Callable[[str], Database]:
    return door.viewer


@pytest.fixture
def anonymous(door: Door) -> Database:
    return door.anonymous()


@pytest.fixture
def make_token() -> Callable[..., str]:
    return sign_token
