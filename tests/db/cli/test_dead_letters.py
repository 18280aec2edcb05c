"""`treering dead-letters` through both doors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest
from uuid_utils.compat import uuid7

from ingest.record.dead_letters import DeadLetters
from ingest.record.encoding import USAGE, decode, encode
from tests.support.cli import door_environment, run_cli

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.doors import Door


@pytest.fixture
def event_ids(tmp_path: Path) -> list[str]:
    letters = DeadLetters(tmp_path / "dead-letter.jsonl")
    made = []
    for _ in range(3):
        _, event = decode(
            encode(USAGE, {"event_id": uuid7().hex, "model": "gpt-4o", "prompt_tokens": 150, "completion_tokens": 50})
        )
        letters.write("record_usage", event, "a constraint that has been dropped since")
        made.append(str(event["event_id"]))
    return made


def test_they_are_listed_sent_again_and_counted_once(door: Door, tmp_path: Path, event_ids: list[str]) -> None:
    env = door_environment(door, tmp_path)
    listed = json.loads(run_cli("dead-letters", "list", "--json", env=env).stdout)
    assert [(letter["event"]["event_id"], letter["kind"]) for letter in listed] == [
        (event_id, "record_usage") for event_id in event_ids
    ]
    result = run_cli("dead-letters", "retry", event_ids[0], env=env)
    assert (result.exit_code, result.stdout.split(":")[0]) == (0, "1 sent again")
    assert "3 sent again" not in result.stdout
    result = run_cli("dead-letters", "retry", env=env)
    assert "2 sent again: 2 stored, 0 there already" in result.stdout
    assert "no dead letters" in run_cli("dead-letters", "list", env=env).stdout
    with psycopg.connect(door.database.superuser_url) as connection:
        rows = connection.execute("select event_id::text from observability_internal.ai_usage_metrics").fetchall()
    assert sorted(row[0] for row in rows) == sorted(event_ids)


def test_deleting_all_of_them_has_to_be_said(direct: Door, tmp_path: Path, event_ids: list[str]) -> None:
    env = door_environment(direct, tmp_path)
    assert run_cli("dead-letters", "drop", env=env).exit_code == 2
    assert "1 deleted" in run_cli("dead-letters", "drop", event_ids[1], env=env).stdout
    assert "a constraint that has been dropped since" in run_cli("dead-letters", "list", env=env).stdout
    assert "2 deleted" in run_cli("dead-letters", "drop", "--all", env=env).stdout


def test_status_and_doctor_see_them(direct: Door, tmp_path: Path, event_ids: list[str]) -> None:
    env = door_environment(direct, tmp_path)
    expected = f"{len(event_ids)}, the last refused for: a constraint that has been dropped since"
    assert expected in run_cli("doctor", env=env).stdout
    parts = {part["part"]: part for part in json.loads(run_cli("status", "--json", env=env).stdout)["parts"]}
    assert parts["dead letters"]["level"] == "warning"
    assert expected in parts["dead letters"]["message"]
