"""One thread does what no caller should wait for."""

from __future__ import annotations

import threading
import time

import pytest

from ingest.notices import Notices
from ingest.tracking import background
from ingest.tracking.background import Background

HOURS = 3600.0


def test_work_is_done_in_its_order_by_one_thread_of_its_own() -> None:
    one, done = Background(), list[tuple[int, str, bool]]()
    for number in range(3):
        one.submit(lambda hurried, number=number: done.append((number, threading.current_thread().name, hurried)))  # type: ignore[misc]
    one.settle(30)
    assert done == [(number, "treering-tracking", False) for number in range(3)]


def test_work_that_fails_is_reported_and_the_next_is_done(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bool) -> None:
        raise ValueError("secret words")

    monkeypatch.setattr("ingest.tracking.emit._NOTICES", Notices())
    one, done = Background(), threading.Event()
    one.submit(fail)
    one.submit(lambda _: done.set())
    one.settle(30)
    assert done.is_set()
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_what_there_is_no_time_for_is_done_in_a_hurry() -> None:
    one, begun, go_on = Background(), threading.Event(), threading.Event()
    done: list[bool] = []

    def block(_: bool) -> None:
        begun.set()
        assert go_on.wait(30)

    one.submit(block)
    assert begun.wait(30)
    one.submit(done.append)
    one.settle(0)
    assert done == [True]
    go_on.set()
    one.settle(30)


def test_a_sweep_goes_on_as_long_as_it_says_so() -> None:
    one, over, swept = Background(), threading.Event(), list[bool]()

    def sweep(hurried: bool) -> bool:
        swept.append(hurried)
        if len(swept) == 3:
            over.set()
        return len(swept) < 3

    one.every(0.001, sweep)
    assert over.wait(30)
    one.submit(lambda _: None)
    one.settle(30)
    assert swept == [False, False, False, True]  # the last one by settling


def test_a_sweep_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bool) -> bool:
        raise ValueError("secret words")

    monkeypatch.setattr("ingest.tracking.emit._NOTICES", Notices())
    one, done = Background(), threading.Event()
    one.every(HOURS, fail)
    one.submit(lambda _: done.set())
    one.settle(30)
    assert done.is_set()
    assert "ValueError" in caplog.text


def test_asking_again_does_not_put_a_sweep_off(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    one = Background(is_inline=True)
    for _ in range(3):
        one.every(1.0, find_nothing)
        now[0] += 0.4
    assert list(one._due_sweeps()) == [find_nothing]


def find_nothing(_: bool) -> bool:
    return False


def test_inline_the_caller_does_the_work_and_no_thread_begins() -> None:
    one, done = Background(is_inline=True), list[tuple[threading.Thread, bool]]()

    def do(hurried: bool) -> bool:
        done.append((threading.current_thread(), hurried))
        return False

    one.submit(do)
    assert done == [(threading.current_thread(), True)]
    one.every(0.0, do)
    assert len(done) == 1
    one.settle(0)
    assert len(done) == 2
    assert one._thread is None


def test_while_the_interpreter_ends_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[bool] = []
    Background().submit(done.append)
    assert done == [True]


@pytest.mark.parametrize("is_inline", [False, True])
def test_a_forked_child_begins_with_nothing_to_do(is_inline: bool) -> None:
    parent = Background(is_inline=is_inline)
    former = background.replace(parent)
    try:
        background._begin_anew()
        assert background._background is not parent
        assert background._background.is_inline == is_inline
    finally:
        background.replace(former)
