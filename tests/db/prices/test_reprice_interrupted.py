"""Pricing again while something happens: rows not counted yet, changes in between, kills, other runs, new calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from ingest.errors import DatabaseError, DatabaseUnavailableError, InvalidArgumentError, RepriceError
from tests.support.cli import door_environment, run_cli
from tests.support.events import roll_up_all, store
from tests.support.repricing import DAY, LIST_COST, NEW_COST, PRICE, apply, call, costs
from tests.support.rollups import differences

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import JsonValue

    from ingest.database import Argument, Database
    from tests.support.doors import Door


def test_rows_that_are_not_counted_yet_are_counted_first(door: Door) -> None:
    service = door.service()
    service.call("add_price", price=PRICE)
    service.call("record_usage", events=[call(0), call(1)])
    totals = apply(service)
    assert (totals.corrected, totals.conflicts) == (2, 0)
    store(service, call(2))
    assert differences(door.database) == []


def test_rows_that_cannot_be_counted_are_left_and_named(direct: Door) -> None:
    service = direct.service()
    service.call("add_price", price=PRICE)
    service.call("record_usage", events=[call(0)])

    class Stuck:
        def call(self, function: str, /, **arguments: Argument) -> JsonValue:
            return None if function == "roll_up" else service.call(function, **arguments)

        def close(self) -> None:
            """Nothing to close."""

    class Answering(Stuck):
        def call(self, function: str, /, **arguments: Argument) -> JsonValue:
            return super().call(function, **arguments) or {}

    with pytest.raises(RepriceError, match="1 calls are still not rolled up"):
        apply(Answering())
    assert costs(direct) == [LIST_COST]


class Interfering:
    """A database in which something happens before a page is applied."""

    def __init__(self, database: Database, before: Callable[[], None], function: str = "apply_reprice") -> None:
        self._database = database
        self._before = before
        self._function = function

    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        if function == self._function:
            self._before()
        return self._database.call(function, **arguments)

    def close(self) -> None:
        """Nothing to close."""


def test_a_row_that_changed_meanwhile_is_left_and_the_next_run_takes_it(direct: Door) -> None:
    service = direct.service()
    store(service, call(0), call(1))
    service.call("add_price", price=PRICE)

    def change_one() -> None:
        direct.database.execute(
            "update observability_internal.ai_usage_metrics set price_id = 'other'"
            " where created_at = '2026-05-04 12:00:00+00'"
        )

    totals = apply(Interfering(service, change_one))
    assert (totals.corrected, totals.conflicts) == (1, 1)
    assert costs(direct) == [LIST_COST, NEW_COST]
    assert apply(service).corrected == 1


def test_an_answer_that_got_lost_is_not_a_conflict(direct: Door) -> None:
    service = direct.service()
    store(service, call(0), call(1))
    service.call("add_price", price=PRICE)

    class Losing(Interfering):
        has_lost = False

        def call(self, function: str, /, **arguments: Argument) -> JsonValue:
            answer = super().call(function, **arguments)
            if function == "apply_reprice" and not self.has_lost:
                self.has_lost = True
                raise DatabaseUnavailableError("the connection broke after the commit")
            return answer

    totals = apply(Losing(service, lambda: None))
    assert (totals.corrected, totals.conflicts) == (0, 0)
    assert costs(direct) == [NEW_COST, NEW_COST]
    assert differences(direct.database) == []


def test_a_database_that_keeps_failing_ends_the_run(direct: Door) -> None:
    def fail() -> None:
        raise DatabaseUnavailableError("away")

    service = direct.service()
    store(service, call(0, estimated_cost="1"))
    with pytest.raises(DatabaseUnavailableError):
        apply(Interfering(service, fail))


def test_rollups_without_their_rows_stop_the_correction_before_it_changes_anything(direct: Door) -> None:
    service = direct.service()
    store(service, call(0, estimated_cost="1"))
    direct.database.execute("delete from observability_internal.usage_by_minute")
    with pytest.raises(DatabaseError, match="the rollups lack rows"):
        apply(service)
    assert costs(direct) == [1]


KILLED = """
import os, signal, sys
from datetime import datetime
import ingest.prices.reprice
from ingest.database import open_database
from ingest.notices import Notices
from ingest.settings import load_settings

ingest.prices.reprice.PAGE_ROWS = 10
when, from_time, to_time = sys.argv[1:]
settings = load_settings()
database = open_database(settings)
applied = 0

class Dying:
    def call(self, function, /, **arguments):
        global applied
        applied += function == "apply_reprice"
        if applied == 3 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = database.call(function, **arguments)
        if applied == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

scope = ingest.prices.reprice.RepriceScope(datetime.fromisoformat(from_time), datetime.fromisoformat(to_time))
ingest.prices.reprice.Repricer(Dying(), settings, Notices()).apply(scope, requested_by="ada")
"""


@pytest.mark.parametrize(("when", "corrected_before"), [("before", 20), ("after", 30)])
def test_a_run_that_was_killed_goes_on_where_it_ended(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, corrected_before: int
) -> None:
    service = door.service()
    store(service, *(call(minute) for minute in range(75)))
    service.call("add_price", price=PRICE)
    environment = {**os.environ, **door_environment(door, tmp_path)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, when, DAY.from_time.isoformat(), DAY.to_time.isoformat()],
        env=environment,
        check=False,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL
    assert costs(door).count(NEW_COST) == corrected_before
    assert differences(door.database) == []
    monkeypatch.setattr("ingest.prices.reprice.PAGE_ROWS", 10)
    totals = apply(service)
    assert (totals.is_resumed, totals.run_id) == (True, 1)
    assert (totals.whole.rows, totals.corrected) == (75 - corrected_before, 75 - corrected_before)
    assert costs(door) == [NEW_COST] * 75
    assert differences(door.database) == []
    assert apply(service).corrected == 0


def test_a_run_cut_off_with_other_prices_begins_anew(direct: Door) -> None:
    service = direct.service()
    store(service, call(0, estimated_cost="1"))

    def stop() -> None:
        raise InvalidArgumentError("stop")

    with pytest.raises(InvalidArgumentError):
        apply(Interfering(service, stop))
    service.call("add_price", price=PRICE)
    totals = apply(service)
    assert (totals.is_resumed, totals.run_id) == (False, 2)


def test_calls_recorded_and_counted_meanwhile_are_neither_lost_nor_counted_twice(direct: Door) -> None:
    service = direct.service()
    store(service, *(call(minute % 30, user_id=f"user_{minute % 4}") for minute in range(300)))
    service.call("add_price", price=PRICE)
    is_over = threading.Event()

    def write() -> None:
        writer = direct.service()
        while not is_over.is_set():
            writer.call("record_usage", events=[call(minute % 30, user_id="user_w") for minute in range(20)])

    def work() -> None:
        worker = direct.service()
        while not is_over.is_set():
            worker.call("roll_up", max_rows=50)

    threads = [threading.Thread(target=target) for target in (write, write, work)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            assert apply(service).conflicts == 0
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    roll_up_all(service)
    assert differences(direct.database) == []
    apply(service)
    assert set(costs(direct)) == {NEW_COST}
    assert differences(direct.database) == []


def test_two_runs_at_once_correct_each_row_once(direct: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.prices.reprice.PAGE_ROWS", 20)
    service = direct.service()
    store(service, *(call(minute) for minute in range(200)))
    service.call("add_price", price=PRICE)
    corrected: list[int] = []

    def run() -> None:
        corrected.append(apply(direct.service()).corrected)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(corrected) == 200
    assert costs(direct) == [NEW_COST] * 200
    assert differences(direct.database) == []


def test_the_command_says_that_rows_changed_meanwhile(
    direct: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = direct.service()
    store(service, call(0), call(1, model="gpt-4o-mini", cost_source="unpriced", estimated_cost=None))
    service.call("add_price", price=PRICE)

    def change_one() -> None:
        direct.database.execute(
            "update observability_internal.ai_usage_metrics set price_id = 'other' where model = 'gpt-4o'"
        )

    def nobody() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr("ingest.database.open_database", lambda _: Interfering(service, change_one))
    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setattr("ingest.cli.reprice._ROWS_PER_LINE", 2)
    result = run_cli(
        "reprice", "--from", "2026-05-04", "--to", "2026-05-05", "--apply", env=door_environment(direct, tmp_path)
    )
    assert result.exit_code == 1
    assert "1 calls get a cost, 0 lose theirs" in result.stdout
    assert "1 calls changed in the meantime" in result.stderr
    assert "2 calls read, 1 corrected" in result.stderr
    runs = service.call("get_reprice_runs")
    assert isinstance(runs, list)
    assert isinstance(runs[0], dict)
    assert runs[0]["requested_by"] == "unknown"
