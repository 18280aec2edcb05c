from __future__ import annotations

import datetime as dt
import threading
from typing import TYPE_CHECKING

import pytest

from ingest.errors import DatabaseUnavailableError
from ingest.worker.lane import Job, JobCounts, Lane
from tests.unit.worker.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable


def local_now() -> dt.datetime:
    return dt.datetime.now()  # noqa: DTZ005 -- schedule goes by naive local times


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
    monkeypatch.setattr("ingest.worker.lane.time.time", lambda: 1000.0)


@pytest.mark.dated
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


@pytest.mark.dated
def test_a_clock_that_is_set_back_does_not_hold_jobs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(job=done)
    scene.lane.run_due()
    (planned,) = scene.lane.scheduler.get_jobs("job")
    planned.next_run = local_now() + dt.timedelta(hours=1)
    monkeypatch.setattr("ingest.worker.lane.time.time", lambda: 1000.0 - 3600)
    scene.lane.run_due()
    assert scene.runs == ["job", "job"]


def test_a_failed_run_waits_as_long_as_its_job_says() -> None:
    job = Job("bill", 86_400, broken, retry_s=3600)
    lane = Lane([job], may_lead=lambda: True, stop=threading.Event(), counts=JobCounts(), monotonic=FakeClock())
    lane.run_due()
    (planned,) = lane.scheduler.get_jobs("bill")
    assert planned.next_run is not None
    assert 3500 < (planned.next_run - local_now()).total_seconds() <= 3600
