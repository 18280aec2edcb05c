"""Pricing again: exact, with an audit, the rollups moving along, resumable after a kill, the same when repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from ingest.prices.reprice import RepriceScope
from tests.support.cli import door_environment, run_cli
from tests.support.events import NOON, store, usage_event
from tests.support.repricing import DAY, LIST_COST, NEW_COST, PRICE, apply, call, costs, rows
from tests.support.rollups import differences

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import JsonValue

    from ingest.database import Argument, Database
    from tests.support.doors import Door


def test_a_dry_run_shows_the_difference_by_model_and_changes_nothing(door: Door, tmp_path: Path) -> None:
    service = door.service()
    store(service, call(0), call(1), call(2, model="gpt-4o-mini", estimated_cost="1"))
    service.call("add_price", price=PRICE)
    before = rows(door)
    result = run_cli(
        "reprice", "--from", "2026-05-04", "--to", "2026-05-05", "--dry-run", env=door_environment(door, tmp_path)
    )
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["openai/gpt-4o", "2", "2", "0.00175", "0.0014", "-0.00035"] in lines
    # 150 x 0.15 + 50 x 0.60 per million
    assert ["openai/gpt-4o-mini", "1", "1", "1", "0.0000525", "-0.9999475"] in lines
    assert ["all", "3", "3", "1.00175", "0.0014525", "-1.0002975"] in lines
    assert rows(door) == before


def test_the_cost_of_a_model_that_nobody_prices_is_shown_as_unknown(door: Door, tmp_path: Path) -> None:
    unpriced = call(0, model="llama3:8b", provider="ollama", estimated_cost=None, cost_source="unpriced")
    store(door.service(), unpriced, call(1))
    result = run_cli(
        "reprice", "--from", "2026-05-04", "--to", "2026-05-05", "--dry-run", env=door_environment(door, tmp_path)
    )
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["ollama/llama3:8b", "1", "0", "unknown", "unknown", "0"] in lines


def test_applying_corrects_the_rows_the_rollups_and_the_view_and_a_repeat_changes_nothing(
    door: Door, tmp_path: Path
) -> None:
    service = door.service()
    store(service, *(call(minute, user_id=f"user_{minute % 3}") for minute in range(0, 90, 7)))
    service.call("add_price", price=PRICE)
    arguments = ("reprice", "--from", "2026-05-04", "--to", "2026-05-05", "--apply", "--by", "ada", "--reason", "why")
    result = run_cli(*arguments, env=door_environment(door, tmp_path))
    assert result.exit_code == 0, result.stderr
    assert "run 1 done: 13 calls corrected" in result.stdout
    assert set(rows(door)) == {("gpt-4o", NEW_COST, "priced", "customer:1")}
    assert differences(door.database) == []
    aggregates = service.call(
        "get_cost_aggregates", period="month", from_time=datetime(2026, 5, 1, tzinfo=UTC), to_time=DAY.to_time
    )
    assert isinstance(aggregates, dict)
    assert isinstance(aggregates["rows"], list)
    assert [Decimal(str(row["total_cost"])) for row in aggregates["rows"] if isinstance(row, dict)] == [13 * NEW_COST]
    again = run_cli(*arguments, env=door_environment(door, tmp_path))
    assert "0 calls corrected" in again.stdout
    assert differences(door.database) == []


def test_every_correction_keeps_before_after_who_and_why(service_db: Database) -> None:
    event = call(0)
    store(service_db, {**event, "price_id": "genai:old"})
    service_db.call("add_price", price=PRICE)
    apply(service_db)
    (correction,) = corrections(service_db, event)
    assert correction.pop("corrected_at") is not None
    assert correction == {
        "event_id": event["event_id"],
        "run_id": 1,
        "created_at": NOON.isoformat(),
        "old_cost": "0.000875",
        "new_cost": "0.00070000",
        "old_cost_source": "priced",
        "new_cost_source": "priced",
        "old_price_id": "genai:old",
        "new_price_id": "customer:1",
        "requested_by": "ada",
        "reason": "new contract",
    }
    runs = service_db.call("get_reprice_runs")
    assert isinstance(runs, list)
    assert isinstance(runs[0], dict)
    assert (runs[0]["rows_corrected"], runs[0]["old_cost"], runs[0]["new_cost"]) == (1, "0.000875", "0.00070000")
    assert runs[0]["finished_at"] is not None


def corrections(database: Database, event: dict[str, JsonValue]) -> list[dict[str, JsonValue]]:
    found = database.call("get_cost_corrections", event_id=event["event_id"])
    assert isinstance(found, list)
    return [entry for entry in found if isinstance(entry, dict)]


def test_sources_move_between_priced_fallback_and_unpriced_in_every_level(direct: Door) -> None:
    service = direct.service()
    store(
        service,
        call(0, model="secret-model", cost_source="fallback", price_id="x"),
        call(1, model="gpt-4o-mini", cost_source="unpriced", estimated_cost=None),
        call(2, model="gpt-99"),
    )
    service.call("add_price", price={**PRICE, "model": "secret-model"})
    totals = apply(service, fallback_model="")
    assert [(source, cost) for _, cost, source, _ in rows(direct)] == [
        ("priced", NEW_COST),
        ("priced", Decimal("0.0000525")),
        ("unpriced", None),
    ]
    assert differences(direct.database) == []
    assert (totals.whole.newly_priced, totals.whole.newly_unpriced) == (1, 1)
    apply(service, fallback_model="gpt-4o")
    assert rows(direct)[2][1:3] == (LIST_COST, "fallback")
    assert differences(direct.database) == []


def test_what_the_provider_said_it_charged_stays_unless_asked_for(direct: Door) -> None:
    service = direct.service()
    reported = {"cost_source": "provider", "provider_cost": "9", "estimated_cost": "9"}
    store(service, call(0, **reported), call(1, model="secret-model", provider="vllm", **reported))
    assert apply(service).whole.rows == 0
    asked = RepriceScope(DAY.from_time, DAY.to_time, include_reported=True)
    assert apply(service, asked).corrected == 1
    assert costs(direct) == [LIST_COST, Decimal(9)]
    assert differences(direct.database) == []
    assert apply(service, asked).corrected == 0
    assert apply(service).whole.rows == 0


def test_fees_and_hours_are_charged_as_when_recorded(direct: Door) -> None:
    service = direct.service()
    store(service, call(0, request_fees="0.01"), call(1, model="guardian-8b", provider="self-hosted"))
    rates = {"per_hour": "3.6"}
    service.call("add_price", price={**PRICE, "provider": "self-hosted", "model": "guardian-8b", "rates": rates})
    apply(service)
    assert costs(direct) == [LIST_COST + Decimal("0.01"), Decimal("0.0008")]


def test_only_the_chosen_range_model_and_provider_are_touched(direct: Door) -> None:
    service = direct.service()
    wrong: dict[str, JsonValue] = {"estimated_cost": "1"}
    store(
        service,
        call(0, **wrong),
        call(1, model="gpt-4o-mini", **wrong),
        call(2, provider="azure", **wrong),
        usage_event(created_at=DAY.to_time, **wrong),
        usage_event(created_at=DAY.from_time - timedelta(microseconds=1), **wrong),
    )
    apply(service, RepriceScope(DAY.from_time, DAY.to_time, models=("gpt-4o",), providers=("openai",)))
    assert costs(direct) == [1, LIST_COST, 1, 1, 1]


def test_the_price_of_each_calls_own_day_counts(direct: Door) -> None:
    service = direct.service()
    service.call("add_price", price={**PRICE, "valid_from": NOON.isoformat()})
    store(
        service,
        usage_event(created_at=NOON - timedelta(microseconds=1)),
        usage_event(),
        usage_event(created_at=NOON + timedelta(microseconds=1)),
    )
    apply(service)
    assert costs(direct) == [LIST_COST, NEW_COST, NEW_COST]


def test_only_ops_may_read_what_is_to_be_priced_and_only_the_service_may_correct(
    service_db: Database, viewer: Callable[[str], Database]
) -> None:
    for role in ("ops", "analyst"):
        service_db.call("add_member", user_id=f"user_{role}", role=role)
    store(service_db, call(0))
    span = {"from_time": DAY.from_time, "to_time": DAY.to_time}
    page = viewer("user_ops").call("get_rows_to_reprice", **span)
    assert isinstance(page, dict)
    assert isinstance(page["rows"], list)
    assert len(page["rows"]) == 1
    for user in ("user_analyst", "user_a"):
        with pytest.raises(PermissionDeniedError):
            viewer(user).call("get_rows_to_reprice", **span)
    with pytest.raises(PermissionDeniedError):
        viewer("user_ops").call("apply_reprice", run_id=1, changes=[], progress={})
    with pytest.raises(PermissionDeniedError):
        viewer("user_a").call("get_reprice_runs")
    assert viewer("user_analyst").call("get_reprice_runs") == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"to_time": DAY.from_time}, "must begin before it ends"),
        ({"filters": {"colour": "red"}}, "filters are"),
        ({"filters": {"include_reported": "yes"}}, "true or false"),
        ({"filters": []}, "filters are"),
        ({"max_rows": 5001}, "from 1 to 5,000"),
    ],
)
def test_a_wrong_question_is_refused(shared_direct: Door, arguments: dict[str, Argument], reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        shared_direct.service().call(
            "get_rows_to_reprice", **{"from_time": DAY.from_time, "to_time": DAY.to_time, **arguments}
        )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"changes": {}}, "array of at most 5,000"),
        ({"changes": [{}] * 5001}, "array of at most 5,000"),
        ({"run_id": 99}, "there is no run 99"),
    ],
)
def test_wrong_changes_are_refused(direct: Door, arguments: dict[str, Argument], reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        direct.service().call("apply_reprice", **{"run_id": 1, "changes": [], "progress": {}, **arguments})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--from", "2026-05-04", "--to", "2026-05-05"), "use --dry-run"),
        (("--from", "2026-05-05", "--to", "2026-05-04", "--dry-run"), "--from must be before --to"),
    ],
)
def test_a_wrong_command_is_refused(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    result = run_cli("reprice", *arguments, env={"TREERING_HOME": str(tmp_path)})
    assert result.exit_code == 1
    assert reason in result.stderr
