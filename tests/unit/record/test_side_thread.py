from __future__ import annotations

import threading

import pytest

from ingest.record.side_thread import Sender


def test_the_owner_goes_on_while_the_work_is_done() -> None:
    sender, begun, go_on = Sender(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(10)

    sender.start(work)
    assert begun.wait(10)
    go_on.set()
    sender.wait()
    sender.stop()


def test_what_the_work_raises_reaches_the_owner_and_more_work_can_follow() -> None:
    sender = Sender()

    def fail() -> None:
        raise ValueError("no")

    for _ in range(2):
        sender.start(fail)
        with pytest.raises(ValueError, match="no"):
            sender.wait()
    sender.stop()


def test_it_can_be_stopped_before_it_began_and_started_again() -> None:
    sender, done = Sender(), threading.Event()
    sender.stop()
    sender.start(done.set)
    sender.wait()
    sender.stop()
    sender.start(done.set)
    sender.wait()
    sender.stop()
    assert done.is_set()
