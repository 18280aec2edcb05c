"""Log lines that do not repeat."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import ingest
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


def test_every_logger_of_ours_is_below_treering_and_documented() -> None:
    package = Path(ingest.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    names = set(re.findall(r"^(?:logger|LOGGER) = logging\.getLogger\((.*)\)$", source, re.MULTILINE))
    documented = (package.parent / "docs" / "record.md").read_text(encoding="utf-8")
    for name in names:
        assert re.fullmatch(r'"treering(\.[a-z]+)?"', name)
        assert f"`{name.strip(chr(34))}`" in documented
