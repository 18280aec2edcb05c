from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.cli import door_environment, run_cli, shared_trace

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.database import Database
    from tests.support.doors import Door

AZURE = "azure_llm_conv_2023.csv.gz"
MOONCAKE = "mooncake_conversation.jsonl.gz"


def roll_up(database: Database) -> None:
    while True:
        result = database.call("roll_up")
        assert isinstance(result, dict)
        if not result["pending_batches"]:
            return


def totals(database: Database, year: int) -> Any:
    roll_up(database)
    costs = database.call(
        "get_costs", from_time=datetime(year, 1, 1, tzinfo=UTC), to_time=datetime(year + 1, 1, 1, tzinfo=UTC)
    )
    assert isinstance(costs, dict)
    return costs["totals"]


def figures(found: Any) -> tuple[int, int, int, Decimal]:
    return found["requests"], found["prompt_tokens"], found["completion_tokens"], Decimal(found["cost"])


def test_the_azure_trace_costs_what_its_tokens_cost_and_a_second_replay_changes_nothing(
    door: Door, tmp_path: Path
) -> None:
    # (22,361,870 x 2.50 + 4,088,665 x 10.00) / 1,000,000
    expected = (19_366, 22_361_870, 4_088_665, Decimal("96.791325"))
    env = door_environment(door, tmp_path)
    arguments = ("replay", shared_trace(AZURE), "--format", "azure", "--model", "gpt-4o")

    first = run_cli(*arguments, env=env)
    assert first.exit_code == 0, first.stderr
    assert "newly stored                19,366" in first.stdout
    service = door.service()
    assert figures(totals(service, 2023)) == expected

    second = run_cli(*arguments, env=env)
    assert second.exit_code == 0, second.stderr
    assert "newly stored                     0" in second.stdout
    assert "there already               19,366" in second.stdout
    assert figures(totals(service, 2023)) == expected


def test_the_mooncake_trace_arrives_whole_and_is_spread_over_users(direct: Door, tmp_path: Path) -> None:
    result = run_cli(
        "replay", shared_trace(MOONCAKE), "--format", "mooncake", "--users", "25", "--feature", "tutor",
        env=door_environment(direct, tmp_path),
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    found = totals(direct.service(), 2024)
    assert figures(found)[:3] == (12_031, 144_793_823, 4_122_048)
    assert found["users"] == 25
    # Of all input, what another call had at its beginning within 5, 10 and 60 minutes, told block by block.
    truth = (0.264, 0.323, 0.347)
    with psycopg.connect(direct.database.superuser_url) as connection:
        shared = connection.execute(
            "select sum(b.shared_5), sum(b.shared_10), sum(b.shared_60)"
            " from observability_internal.compare_calls('2024-06-26', '2024-06-27') as b"
        ).fetchone()
    assert shared is not None
    for tokens, share in zip(shared, truth, strict=True):
        assert float(tokens) / 144_793_823 == pytest.approx(share, rel=0.03)


def test_a_bad_line_is_named_and_the_others_are_stored(direct: Door, tmp_path: Path) -> None:
    good = {"user_id": "u", "model": "gpt-4o", "prompt_tokens": 10, "completion_tokens": 1}
    lines = [
        json.dumps({**good, "created_at": "2026-01-05T10:00:00Z"}),
        json.dumps({**good, "prompt_tokens": -1, "created_at": "2026-01-05T10:00:01Z"}),
        "not json",
        json.dumps(good),
        json.dumps({**good, "created_at": "2026-01-05T10:00:02Z", "event_id": "01980000-0000-7000-8000-000000000001"}),
    ]
    trace = tmp_path / "calls.jsonl"
    trace.write_text("\n".join(lines))
    result = run_cli("replay", trace, "--format", "jsonl", env=door_environment(direct, tmp_path))
    assert result.exit_code == 1
    assert "line 2: prompt_tokens: input should be greater than or equal to 0" in result.stderr
    assert "line 3: invalid JSON" in result.stderr
    assert "line 4: created_at is missing" in result.stderr
    assert "bad lines                        3" in result.stdout
    assert figures(totals(direct.service(), 2026))[0] == 2


def test_beyond_a_hundred_bad_lines_are_counted_and_no_longer_named(direct: Door, tmp_path: Path) -> None:
    trace = tmp_path / "calls.jsonl"
    trace.write_text("no\n" * 102)
    result = run_cli("replay", trace, "--format", "jsonl", env=door_environment(direct, tmp_path))
    assert result.exit_code == 1
    assert "line 100: " in result.stderr
    assert "line 101: " not in result.stderr
    assert result.stderr.count("counted but not listed") == 1
    assert "bad lines                      102" in result.stdout


def test_calls_that_the_database_rejects_are_counted_and_fail_the_replay(direct: Door, tmp_path: Path) -> None:
    call = {"user_id": "u", "model": "gpt-4o", "prompt_tokens": 10, "completion_tokens": 1}
    trace = tmp_path / "calls.jsonl"
    trace.write_text(json.dumps({**call, "created_at": "2001-01-05T10:00:00Z"}))
    result = run_cli("replay", trace, "--format", "jsonl", env=door_environment(direct, tmp_path))
    assert result.exit_code == 1
    assert "refused                          1" in result.stdout
    assert "there already                    0" in result.stdout


def test_the_limit_is_a_part_of_the_whole(direct: Door, tmp_path: Path) -> None:
    env = door_environment(direct, tmp_path)
    trace = shared_trace(AZURE)
    run_cli("replay", trace, "--format", "azure", "--limit", "100", env=env)
    result = run_cli("replay", trace, "--format", "azure", "--limit", "150", env=env)
    assert "newly stored                    50" in result.stdout
    assert totals(direct.service(), 2023)["requests"] == 150


def test_a_replay_moved_to_now_ends_now_and_its_repeat_stores_nothing(direct: Door, tmp_path: Path) -> None:
    env = door_environment(direct, tmp_path)
    arguments = ("replay", shared_trace(AZURE), "--format", "azure", "--shift-to-now", "--limit", "50")
    first = run_cli(*arguments, env=env)
    assert first.exit_code == 0, first.stderr
    second = run_cli(*arguments, env=env)
    assert "the same shift is used again" in second.stderr
    assert "newly stored                     0" in second.stdout


def test_a_replay_without_a_database_says_so_before_it_reads_anything_into_the_journal(tmp_path: Path) -> None:
    trace = tmp_path / "calls.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n")
    result = run_cli("replay", trace, "--format", "azure", env={"TREERING_HOME": str(tmp_path / "home")})
    assert result.exit_code == 1
    assert "treering up" in result.stderr
    assert not (tmp_path / "home" / "journal").exists()


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x1f\x8b\x08\x00broken"])
def test_a_file_that_is_no_trace_is_refused_as_a_whole(tmp_path: Path, content: bytes) -> None:
    trace = tmp_path / "calls.csv"
    trace.write_bytes(content)
    result = run_cli("replay", trace, "--format", "azure", env={"TREERING_HOME": str(tmp_path)})
    assert result.exit_code == 1
    assert str(trace) in result.stderr
