from __future__ import annotations

import datetime as dt
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from ingest.errors import DatabaseUnavailableError
from ingest.worker.worker import LEASE_TTL_S, Job, JobCounts, Lane, Lease, Worker, default_name, standard_lanes
from tests.support.scripted_database import ScriptedDatabase

if TYPE_CHECKING:
    from collections.abc import Callable


def local_now() -> dt.datetime:
    return dt.datetime.now()  # noqa: DTZ005 -- schedule goes by naive local times


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A lane with jobs that note their runs, whose next runs the test brings about."""

    def __init__(self, **jobs: Callable[[], bool]) -> None:
        self.runs: list[str] = []
        self.stop = threading.Event()
        self.counts = JobCounts()
        self.is_leading = True
        self.clock = FakeClock()
        self.lane = Lane(
            [Job(name, 60, self._noting(name, run)) for name, run in jobs.items()],
            may_lead=lambda: self.is_leading,
            stop=self.stop,
            counts=self.counts,
            monotonic=self.clock,
        )

    def _noting(self, name: str, run: Callable[[], bool]) -> Callable[[], bool]:
        def noted() -> bool:
            self.runs.append(name)
            return run()

        return noted

    def next_run_s(self, name: str) -> float:
        (planned,) = self.lane.scheduler.get_jobs(name)
        assert planned.next_run is not None
        return (planned.next_run - local_now()).total_seconds()


def done() -> bool:
    return False


def more() -> bool:
    return True


def unreachable() -> bool:
    raise DatabaseUnavailableError("no route")


def broken() -> bool:
    raise RuntimeError("broken")


@pytest.fixture(autouse=True)
def same_step_of_both_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.worker.worker.time.time", lambda: 1000.0)


def test_a_job_runs_at_once_and_then_in_its_period() -> None:
    scene = Scene(job=done)
    wait_s = scene.lane.run_due()
    scene.lane.run_due()
    assert scene.runs == ["job"]
    assert 55 < scene.next_run_s("job") <= 60
    assert wait_s == 1.0


def test_a_job_with_work_left_has_its_next_turn_at_once() -> None:
    scene = Scene(job=more)
    assert scene.lane.run_due() == pytest.approx(0, abs=0.05)
    scene.lane.run_due()
    assert scene.runs == ["job", "job"]


def test_a_job_that_raises_is_counted_and_tried_again_soon_while_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(bad=broken, good=done)
    scene.lane.run_due()
    assert scene.runs == ["bad", "good"]
    assert scene.counts.as_json() == {"runs": {"good": 1}, "failures": {"bad": 1}, "last_error": "bad: broken"}
    assert "bad failed" in caplog.text
    assert scene.next_run_s("bad") <= 30 < scene.next_run_s("good")


def test_an_unreachable_database_is_tried_again_after_growing_pauses_without_a_stack_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(job=unreachable)
    pauses = [scene.lane.run_due() for _ in range(8)]
    assert len(scene.runs) == 8
    for pause, longest in zip(pauses, (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert longest / 2 <= pause <= longest
    assert "Traceback" not in caplog.text


def test_after_a_success_the_pauses_begin_anew() -> None:
    answers = iter([unreachable, unreachable, done, unreachable])
    scene = Scene(job=lambda: next(answers)())
    scene.lane.run_due()
    scene.lane.run_due()
    scene.lane.run_due()
    (planned,) = scene.lane.scheduler.get_jobs("job")
    planned.next_run = local_now()
    assert 0.5 <= scene.lane.run_due() <= 1.0


def test_a_follower_runs_nothing_and_a_new_leader_everything_at_once() -> None:
    scene = Scene(job=done)
    scene.is_leading = False
    scene.lane.run_due()
    assert scene.runs == []
    scene.is_leading = True
    scene.lane.run_due()
    assert scene.runs == ["job"]


def test_no_further_job_begins_once_told_to_stop() -> None:
    def stop_the_lane() -> bool:
        scene.stop.set()
        return True

    scene = Scene(first=stop_the_lane, second=done)
    scene.lane.run()
    assert scene.runs == ["first"]


def test_a_clock_that_is_set_back_does_not_hold_jobs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(job=done)
    scene.lane.run_due()
    (planned,) = scene.lane.scheduler.get_jobs("job")
    planned.next_run = local_now() + dt.timedelta(hours=1)
    monkeypatch.setattr("ingest.worker.worker.time.time", lambda: 1000.0 - 3600)
    scene.lane.run_due()
    assert scene.runs == ["job", "job"]


def test_a_lease_that_was_not_renewed_ends_by_its_own_clock() -> None:
    clock = FakeClock()
    lease = Lease(ScriptedDatabase(acquire_lease=[True]), "me", clock)
    assert lease.renew()
    clock.now += LEASE_TTL_S - 0.1
    assert lease.is_held
    clock.now += 0.2
    assert not lease.is_held


def test_a_lease_that_another_holds_is_not_ours_and_not_released() -> None:
    database = ScriptedDatabase(acquire_lease=[False])
    lease = Lease(database, "me", FakeClock())
    assert not lease.renew()
    lease.release()
    assert database.called == ["acquire_lease"]


def test_a_refused_renewal_ends_the_leadership_at_once() -> None:
    lease = Lease(ScriptedDatabase(acquire_lease=[True, False]), "me", FakeClock())
    lease.renew()
    assert not lease.renew()


def test_the_heartbeat_tells_who_leads_what_ran_and_what_failed() -> None:
    database = ScriptedDatabase(acquire_lease=[True])
    worker = Worker(database, [], name="w", describe=lambda: {"journal": {"adopted": 3}})
    worker.counts.add_run("roll_up")
    worker.counts.add_failure("alerts", RuntimeError("x"))
    worker.beat()
    (arguments,) = database.arguments_of("record_heartbeat")
    details = arguments["details"]
    assert arguments["worker"] == "w"
    assert isinstance(details, dict)
    assert details["runs"] == {"roll_up": 1}
    assert details["failures"] == {"alerts": 1}
    assert details["is_leader"] is True
    assert details["journal"] == {"adopted": 3}


def test_a_heartbeat_that_fails_is_logged_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    away = DatabaseUnavailableError("away")
    worker = Worker(ScriptedDatabase(acquire_lease=[away, away, True]), [])
    for _ in range(4):
        worker.beat()
    assert [record.message for record in caplog.records] == [
        "no heartbeat: away",
        f"{worker.name}: leading",
        "the database is back",
    ]


def test_losing_the_lease_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    worker = Worker(ScriptedDatabase(acquire_lease=[True, False]), [], name="w")
    worker.beat()
    worker.beat()
    assert [record.message for record in caplog.records] == ["w: leading", "w: standing by while another worker leads"]


def test_stopping_finishes_the_job_at_work_then_gives_the_lease_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.worker.worker.RENEWAL_PERIOD_S", 0.01)
    database = ScriptedDatabase(acquire_lease=[True])
    begun, may_end = threading.Event(), threading.Event()

    def long_job() -> bool:
        begun.set()
        assert may_end.wait(30)
        database.call("long_job")
        return False

    worker = Worker(database, [[Job("long", 1, long_job)]])
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert begun.wait(30)
    worker.stop_requested.set()
    heartbeats = len(database.arguments_of("record_heartbeat"))
    while len(database.arguments_of("record_heartbeat")) <= heartbeats + 2:  # it goes on beating meanwhile
        assert thread.is_alive()
    may_end.set()
    thread.join(30)
    assert database.called.index("long_job") < database.called.index("release_lease")
    details = database.arguments_of("record_heartbeat")[-1]["details"]
    assert isinstance(details, dict)
    assert details["is_stopping"] is True
    assert database.called[-1] == "record_heartbeat"


def test_a_goodbye_that_fails_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    database = ScriptedDatabase(acquire_lease=[True], release_lease=[DatabaseUnavailableError("away")])
    worker = Worker(database, [])
    worker.stop_requested.set()
    worker.run()
    assert f"expires within {LEASE_TTL_S} s" in caplog.text


def job_named(database: ScriptedDatabase, name: str) -> Job:
    lanes = standard_lanes(database, deliver=lambda: True)
    return next(job for lane in lanes for job in lane if job.name == name)


@pytest.mark.parametrize(
    ("result", "has_more"),
    [
        ({"is_busy": False, "pending_batches": 3}, True),
        ({"is_busy": False, "pending_batches": 0}, False),
        ({"is_busy": True, "pending_batches": 3}, False),
    ],
)
def test_the_roll_up_goes_on_while_batches_wait_unless_another_is_at_it(
    result: dict[str, int | bool], has_more: bool
) -> None:
    database = ScriptedDatabase(roll_up=[dict(result)])
    assert job_named(database, "roll_up").run() is has_more


@pytest.mark.parametrize(
    ("result", "has_more"),
    [
        ({"is_busy": False, "is_done": False}, True),
        ({"is_busy": False, "is_done": True}, False),
        ({"is_busy": True, "is_done": False}, False),
    ],
)
def test_condensing_goes_on_until_it_is_done_unless_another_is_at_it(result: dict[str, bool], has_more: bool) -> None:
    database = ScriptedDatabase(condense_rollups=[dict(result)])
    assert job_named(database, "condense_rollups").run() is has_more


@pytest.mark.parametrize(
    ("name", "period_s"),
    [
        ("ensure_partitions", 86_400),
        ("roll_up", 1),
        ("condense_rollups", 60),
        ("refresh_aggregates", 300),
        ("verify_rollups", 86_400),
        ("evaluate_alerts", 5),
    ],
)
def test_each_job_calls_its_function_in_its_period(name: str, period_s: int) -> None:
    database = ScriptedDatabase()
    job = job_named(database, name)
    assert not job.run()
    assert job.period_s == period_s
    assert database.called == [name]


def test_the_reconciliation_runs_daily_and_asks_a_provider_that_failed_once_an_hour() -> None:
    lanes = standard_lanes(ScriptedDatabase(), deliver=done, reconcile=broken)
    (job,) = next(lane for lane in lanes if lane[0].name == "reconcile")
    lane = Lane([job], may_lead=lambda: True, stop=threading.Event(), counts=JobCounts(), monotonic=FakeClock())
    lane.run_due()
    (planned,) = lane.scheduler.get_jobs("reconcile")
    assert planned.next_run is not None
    assert 3500 < (planned.next_run - dt.datetime.now()).total_seconds() <= 3600  # noqa: DTZ005 -- as `schedule` does
    assert job.period_s == 86_400
    assert all(job.name != "reconcile" for lane in standard_lanes(ScriptedDatabase(), deliver=done) for job in lane)


def test_notifications_go_out_even_where_rules_cannot_be_evaluated() -> None:
    assert job_named(ScriptedDatabase(evaluate_alerts=[RuntimeError("x")]), "deliver_notifications").run()


def test_two_workers_of_one_process_have_two_names() -> None:
    assert default_name() != default_name()
