"""`treering rollups` shows where rollups and raw calls differ, and rebuilds days."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import door_environment, run_cli
from tests.support.events import condense_all, performance_event, roll_up_all, store, usage_event

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.doors import Door

MAY_4 = ("--from", "2026-05-04", "--to", "2026-05-05")


def test_a_difference_is_named_and_goes_with_a_rebuild(door: Door, tmp_path: Path) -> None:
    service, env = door.service(), door_environment(door, tmp_path)
    service.call("record_performance", events=[performance_event()])
    store(service, usage_event(), usage_event())
    roll_up_all(service)
    condense_all(service)
    equal = run_cli("rollups", "verify", *MAY_4, env=env)
    assert (equal.exit_code, equal.stdout) == (0, "equal: 2 calls, 400 tokens, 0.00175 $\n")
    door.database.execute("update observability_internal.packed_minutes set requests[1] = 5, cost[1] = 1")
    found = run_cli("rollups", "verify", *MAY_4, env=env)
    assert found.exit_code == 1
    assert "1 differences; the first ones:" in found.stdout
    assert "2026-05-04 minute: requests 5 instead of 2, cost 1 instead of 0.00175" in found.stdout
    as_json = run_cli("rollups", "verify", "--json", *MAY_4, env=env)
    assert json.loads(as_json.stdout)["difference_count"] == 1
    rebuilt = run_cli("rollups", "rebuild", "--from", "2026-05-03", "--to", "2026-05-05", env=env)
    assert rebuilt.exit_code == 0, rebuilt.stderr
    assert "2 days rebuilt from 3 rows" in rebuilt.stdout
    assert run_cli("rollups", "verify", *MAY_4, env=env).exit_code == 0


def test_days_without_raw_rows_are_left_and_counted(direct: Door, tmp_path: Path) -> None:
    env = door_environment(direct, tmp_path)
    result = run_cli("rollups", "rebuild", "--from", "2025-05-03", "--to", "2025-05-05", env=env)
    assert "2 days have no raw rows here and were left as they are" in result.stdout
    assert run_cli("rollups", "verify", env=env).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rebuild", "--from", "2026-05-05", "--to", "2026-05-05"), "must be before --to"),
        (("rebuild", "--from", "May", "--to", "2026-05-05"), "'May' is not a date"),
        (("verify", "--from", "2026-13-01"), "'2026-13-01' is not a date"),
    ],
)
def test_a_wrong_day_is_refused(direct: Door, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run_cli("rollups", *arguments, env=door_environment(direct, tmp_path))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
