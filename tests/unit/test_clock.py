"""The clock of `uv run python -m tests --clock`, on which other tests rely."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.support import clock

DAY_S = 86_400

TELL_TIMES = """
import json, subprocess, threading, time
from tests.support import clock

clock.start()
before = time.monotonic()
time.sleep(0.01)
threading.Event().wait(0.01)
times = {"own": time.time(), "slept_s": time.monotonic() - before}
times["child"] = float(subprocess.check_output(["date", "+%s"]))
clock.turn_to("2028-02-29 23:59:00")
times["moment"] = subprocess.check_output(["date", "--utc", "+%F %T"], text=True).strip()
clock.stop()
print(json.dumps(times))
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
def test_a_process_and_its_children_are_on_the_clock_while_sleeps_stay_as_long() -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("TEST_CLOCK", "LD_PRELOAD"))}
    with clock.environment(["+400d"]) as variables:
        ran = subprocess.run(
            [sys.executable, "-c", TELL_TIMES], env={**plain, **variables}, capture_output=True, text=True, check=True
        )
    times: dict[str, Any] = json.loads(ran.stdout)
    expected = time.time() - clock.shift_s() + 400 * DAY_S
    assert times["own"] == pytest.approx(expected, abs=60)
    assert times["child"] == pytest.approx(expected, abs=60)
    assert 0.02 <= times["slept_s"] < 60
    assert times["moment"].startswith("2028-02-29 23:59:")


@pytest.mark.parametrize("wrong", ["400d", "+4w", "soon"])
def test_a_time_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="Invalid isoformat string"):
        clock.check(wrong)
