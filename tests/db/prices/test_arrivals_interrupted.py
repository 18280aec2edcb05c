"""Pricing arrivals while something happens: kills, another worker, writers, the roll-up. Each call counts once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingest.notices import Notices
from ingest.prices.arrivals import price_arrivals
from ingest.prices.costing import Costing
from pricing import PriceBook
from tests.db.prices.test_arrivals import LIST_COST, arrival
from tests.support.cli import door_environment
from tests.support.events import NOON, condense_all, roll_up_all
from tests.support.repricing import costs
from tests.support.rollups import differences

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.database import Database
    from tests.support.doors import Door


def price_all(database: Database) -> int:
    costing = Costing("gpt-4o", Notices(), PriceBook.default)
    total, has_more = 0, True
    while has_more:
        priced, has_more = price_arrivals(database, lambda: costing)
        total += priced
    return total


def is_exact(database: Database) -> bool:
    condense_all(database)
    found: Any = database.call("verify_rollups", from_time=NOON - timedelta(days=1), to_time=NOON + timedelta(days=1))
    return bool(found["is_exact"])


KILLED = """
import os, signal, sys
import ingest.prices.arrivals
from ingest.database import open_database
from ingest.notices import Notices
from ingest.prices.arrivals import price_arrivals
from ingest.prices.costing import Costing
from ingest.settings import load_settings

ingest.prices.arrivals.PAGE_ROWS = 10
database = open_database(load_settings())
writes = 0

class Dying:
    def call(self, function, /, **arguments):
        global writes
        writes += function == "price_arrivals"
        if writes == 2 and sys.argv[1] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = database.call(function, **arguments)
        if writes == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

while price_arrivals(Dying(), lambda: Costing("gpt-4o", Notices()))[1]:  # it stops after a time of its own
    pass
"""


@pytest.mark.parametrize(("when", "priced_before"), [("before", 10), ("after", 20)])
def test_a_worker_killed_between_reading_and_writing_leaves_each_call_to_be_priced_once(
    door: Door, tmp_path: Path, when: str, priced_before: int
) -> None:
    service = door.service()
    for first in range(0, 40, 10):
        service.call("record_usage", events=[arrival(created_at=NOON + timedelta(minutes=first)) for _ in range(10)])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, when],
        env={**os.environ, **door_environment(door, tmp_path)},
        check=False,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL
    assert costs(door).count(LIST_COST) == priced_before
    service.call("roll_up")
    assert price_all(service) == 40 - priced_before
    roll_up_all(service)
    assert costs(door) == [LIST_COST] * 40
    assert differences(door.database) == []
    assert is_exact(service)


def test_two_workers_writers_and_the_roll_up_at_once_count_each_call_once(
    direct: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.prices.arrivals.PAGE_ROWS", 20)
    is_over = threading.Event()
    priced: list[int] = []
    failures: list[BaseException] = []

    def write() -> None:
        writer = direct.service()
        for minute in range(30):
            writer.call("record_usage", events=[arrival(created_at=NOON + timedelta(minutes=minute)) for _ in range(7)])

    def work() -> None:
        database = direct.service()
        while not is_over.is_set():
            priced.append(price_all(database))
            database.call("roll_up", max_rows=50)

    def run(target: Any) -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001 -- told to the test
            failures.append(error)

    writers = [threading.Thread(target=run, args=(write,)) for _ in range(3)]
    workers = [threading.Thread(target=run, args=(work,)) for _ in range(2)]
    for thread in (*writers, *workers):
        thread.start()
    for thread in writers:
        thread.join()
    is_over.set()
    for thread in workers:
        thread.join()
    service = direct.service()
    priced.append(price_all(service))
    roll_up_all(service)
    assert failures == []
    assert sum(priced) == 3 * 30 * 7
    assert costs(direct) == [LIST_COST] * 630
    assert differences(direct.database) == []
    assert is_exact(service)
