"""Log lines that do not repeat."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ingest.notices import Notices
from tests.unit.record.fakes import FakeClock

if TYPE_CHECKING:
    import pytest


def test_a_kind_of_trouble_is_logged_once_per_window(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    notices = Notices(clock, window_s=60)
    for _ in range(3):
        notices.warn("disk", "the disk is full")
    notices.warn("network", "no network")
    clock.now += 60
    notices.warn("disk", "the disk is full")
    assert caplog.messages == [
        "the disk is full",
        "no network",
        "the disk is full (2 more like this since the last line)",
    ]


def test_kinds_made_up_by_callers_do_not_fill_the_memory(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    notices = Notices(FakeClock())
    for number in range(10_000):
        notices.warn(f"price model-{number}", "no price")
    assert len(notices._quiet) <= 200
