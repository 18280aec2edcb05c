"""What is wrong with a deployment, each with the fix."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.database.health import Level, judge_deployment, judge_status
from ingest.documents.deployment import Deployment
from ingest.documents.pipeline import Status

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def judged(part: str, **state: Any) -> tuple[Level, str]:
    deployment = Deployment.model_validate({"server_time": NOW, "ops_members": 1, **state})
    (found,) = (one for one in judge_deployment(deployment, has_key=False) if one.part == part)
    return found.level, str(found)


def test_what_is_as_the_migrations_made_it_is_ok() -> None:
    state = Deployment(server_time=NOW, ops_members=1)
    assert {finding.level for finding in judge_deployment(state, has_key=False)} == {Level.OK}


@pytest.mark.parametrize(
    ("part", "state", "level", "said"),
    [
        ("row level security", {"tables_without_rls": ["a", "b", "c", "d"]}, Level.CRITICAL, "a, b, c and 1 more"),
        ("rights of anon", {"open_to_anon": ["observability.get_costs"]}, Level.CRITICAL, "revoke all on schema"),
        ("rights of viewers", {"closed_to_viewers": ["role authenticated"]}, Level.CRITICAL, "treering migrate"),
        ("rights of viewers", {"closed_to_viewers": ["schema observability"]}, Level.CRITICAL, "grant usage on schema"),
        (
            "rights of viewers",
            {"closed_to_viewers": ["f(jsonb)"]},
            Level.CRITICAL,
            "grant execute on function f(jsonb)",
        ),
        ("partitions", {"missing_partitions": ["ai_usage_metrics_202612"]}, Level.CRITICAL, "treering worker"),
        ("channel secrets", {"sealed_channels": ["pager"]}, Level.CRITICAL, "TREERING_SECRET_KEY"),
        ("members", {"ops_members": 0}, Level.WARNING, "treering members add"),
    ],
)
def test_a_fault_is_named_with_its_fix(part: str, state: dict[str, Any], level: Level, said: str) -> None:
    found, message = judged(part, **state)
    assert found is level
    assert said in message


def of_pipeline(part: str, *, updates_prices: bool = True, **changes: Any) -> list[tuple[Level, str]]:
    status = Status.model_validate({"server_time": NOW, "server_version": "18", **changes})
    findings = judge_status(status, updates_prices=updates_prices)
    return [(finding.level, str(finding)) for finding in findings if finding.part == part]


def test_a_catalogue_is_stale_when_it_could_not_be_fetched_for_three_days() -> None:
    failing = {"checked_at": NOW, "error": "no route", "failing_since": NOW - timedelta(days=3)}
    assert of_pipeline("price catalogue", catalogue=failing)[0][0] is Level.OK
    failing["failing_since"] = NOW - timedelta(days=3, minutes=1)
    ((level, message),) = of_pipeline("price catalogue", catalogue=failing)
    assert (level, "TREERING_UPDATE_PRICES" in message) == (Level.WARNING, True)
    old = {"checked_at": NOW - timedelta(days=4)}
    assert of_pipeline("price catalogue", catalogue=old)[0][0] is Level.WARNING
    assert of_pipeline("price catalogue", catalogue=old, updates_prices=False) == []


def test_a_worker_of_another_version_beside_this_one_is_named() -> None:
    workers: list[dict[str, Any]] = [
        {"worker": "old", "seen_at": NOW, "is_leader": True, "details": {"version": "0.0.1"}},
        {"worker": "gone", "seen_at": NOW - timedelta(minutes=5), "details": {"version": "0.0.1"}},
    ]
    ((level, message),) = of_pipeline("versions", workers=workers)
    assert level is Level.WARNING
    assert "old (0.0.1)" in message
    assert "gone" not in message
    assert of_pipeline("versions", workers=[{**workers[0], "details": {}}]) == []
