from __future__ import annotations

import threading

import pytest

from ingest.record.side_thread import SideThread


def test_the_owner_goes_on_while_the_work_is_done() -> None:
    side, begun, go_on = SideThread(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(60)

    side.start(work)
    assert begun.wait(60)
    go_on.set()
    side.wait()
    side.stop()


def test_what_the_work_raises_reaches_the_owner_and_more_work_can_follow() -> None:
    side = SideThread()

    def fail() -> None:
        raise ValueError("no")

    for _ in range(2):
        side.start(fail)
        with pytest.raises(ValueError, match="no"):
            side.wait()
    side.stop()


def test_it_can_be_stopped_before_it_began_and_started_again() -> None:
    side, done = SideThread(), threading.Event()
    side.stop()
    side.start(done.set)
    side.wait()
    side.stop()
    side.start(done.set)
    side.wait()
    side.stop()
    assert done.is_set()
