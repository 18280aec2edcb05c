"""What calls would have cost otherwise: exact to the last digit, for whom it may be asked, and what is kept of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from ingest.savings.reading import read_basis, read_savings_plan, read_what_if
from ingest.savings.scenarios import Question, change_of, follow, keep_scenario, read_scenarios, scope_of
from ingest.savings.what_if import Change
from pricing import PriceBook
from tests.support.cli import door_environment, run_cli
from tests.support.events import condense_all, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingest.database import Database
    from tests.support.doors import Door

OLD, NEW, MINI = "gpt-4o-2024-05-13", "gpt-4o", "gpt-4o-mini"


@pytest.fixture
def today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def calls(begin: datetime, days: int, model: str, cost: str | None, **fields: Any) -> list[dict[str, Any]]:
    """Twelve calls a day of 15,000 and 1,000 tokens."""
    return [
        usage_event(
            model=model,
            created_at=begin + timedelta(days=day, hours=2 * hour, minutes=7),
            prompt_tokens=15_000,
            completion_tokens=1_000,
            estimated_cost=cost,
            **fields,
        )
        for day in range(days)
        for hour in range(12)
    ]


def load(service: Database, *events: dict[str, Any], judged: bool = True) -> None:
    store(service, *events)
    condense_all(service)
    if judged:
        service.call("judge_savings", max_days=40)


@pytest.mark.dated
def test_a_what_if_is_exact_for_all_and_for_a_user_and_no_change_is_no_difference(
    direct: Door, today: datetime
) -> None:
    service = direct.service()
    begin = today - timedelta(days=10)
    load(
        service,
        *calls(begin, 10, NEW, "0.0475"),
        *calls(begin, 10, OLD, "0.09", feature="tutor", user_id="user_b", service_tier="Default"),
    )
    everything: dict[str, Any] = {}
    for filters in (everything, {"user_id": ["user_a", "user_b"]}):
        same = read_what_if(service, Change(), filters=filters)
        assert (same.difference, same.cost, same.calls, same.days) == (Decimal(0), Decimal("16.5"), 240, 10)
        # The same model and tier, named.
        named = read_what_if(service, Change(model=NEW, service_tier="default"), filters={"model": NEW, **filters})
        assert (named.difference, named.changed_cost) == (Decimal(0), Decimal("5.7"))
        # 15,000 at 0.15 $ and 1,000 at 0.60 $ a million; a batch is half of 0.0475 $.
        mini = read_what_if(service, Change(model=MINI), filters=filters)
        assert mini.changed_cost == 240 * Decimal("0.00285")
        assert read_what_if(
            service, Change(service_tier="batch"), filters={"model": NEW, **filters}
        ).changed_cost == 120 * Decimal("0.02375")
        # Half of the input cached at half its price, half of the output: 0.009375 + 0.005 $ less.
        change = Change(cached_share=Decimal("0.5"), completion_share=Decimal("0.5"))
        found = read_what_if(service, change, filters={"model": NEW, **filters})
        assert found.difference == -120 * Decimal("0.014375")
        assert read_what_if(service, Change(service_tier="no-such"), filters=filters).unpriced_calls == 240
        assert read_what_if(service, Change(calls_share=Decimal("0.25")), filters=filters).changed_cost == Decimal(
            "4.125"
        )
    own = read_what_if(service, Change(model=NEW), filters={"user_id": "user_b"})
    assert (own.calls, own.changed_cost, own.difference_per_month) == (120, Decimal("5.7"), Decimal("-15.30"))
    claude = Change(model="claude-haiku-4-5", provider="anthropic")
    # 15,000 at 1 $ and 1,000 at 5 $ a million.
    assert read_what_if(service, claude, filters={"model": NEW}).changed_cost == 120 * Decimal("0.02")


@pytest.mark.dated
def test_calls_at_the_fallback_price_and_without_one_stand_apart(direct: Door, today: datetime) -> None:
    service = direct.service()
    begin = today - timedelta(days=2)
    load(
        service,
        *calls(begin, 1, NEW, "0.0475"),
        *calls(begin, 1, "house-1", "0.0475", cost_source="fallback", price_id="fallback"),
        *calls(begin, 1, "house-2", None, cost_source="unpriced"),
    )
    same = read_what_if(service, Change())
    assert (same.calls, same.cost, same.difference) == (12, Decimal("0.57"), Decimal(0))
    assert same.unexamined == 0
    assert (same.fallback.calls, same.fallback.cost, same.fallback.changed_cost) == (12, Decimal("0.57"), None)
    assert (same.unpriced.calls, same.unpriced.cost, same.unpriced.changed_cost) == (12, None, None)
    mini = read_what_if(service, Change(model=MINI))
    assert mini.fallback.changed_cost == mini.unpriced.changed_cost == mini.changed_cost == Decimal("0.0342")


@pytest.mark.dated
def test_members_ask_about_their_own_calls_and_nobody_anonymously(
    service_db: Database, viewer: Callable[[str], Database], anonymous: Database, today: datetime
) -> None:
    begin = today - timedelta(days=3)
    load(service_db, *calls(begin, 2, NEW, "0.0475"), *calls(begin, 2, NEW, "0.0475", user_id="user_b"))
    mia = viewer("user_b")
    for filters in ({}, {"user_id": "user_b"}):
        assert read_what_if(mia, Change(model=MINI), filters=filters).calls == 24
    for refused in (
        lambda: read_what_if(mia, Change(), filters={"user_id": "user_a"}),
        lambda: read_scenarios(mia),
        lambda: mia.call("save_scenario", scenario={"name": "mine"}),
        lambda: mia.call("delete_scenario", scenario_id=1),
        lambda: read_what_if(anonymous, Change()),
        lambda: read_scenarios(anonymous),
    ):
        with pytest.raises(PermissionDeniedError):
            refused()
    with pytest.raises(InvalidArgumentError, match="what-if is about"):
        read_basis(service_db, filters={"status": "ok"})


@pytest.mark.dated
def test_trying_a_suggestion_gives_what_the_plan_says(direct: Door, today: datetime) -> None:
    service = direct.service()
    begin = today - timedelta(days=8)
    # A night's job of forty calls within one hour, and twelve people's calls a day on an old snapshot.
    job = [
        usage_event(
            model=NEW, feature="digest", session_id=None, streamed=False, prompt_tokens=15_000, completion_tokens=1_000,
            estimated_cost="0.0475", created_at=begin + timedelta(days=day, hours=2, minutes=n // 4, seconds=n),
        )
        for day in range(8)
        for n in range(40)
    ]  # fmt: skip
    load(service, *job, *calls(begin, 8, OLD, "0.09", feature="tutor", session_id="s", streamed=True))
    plan = read_savings_plan(service)
    tried = 0
    for one in plan.suggestions:
        filters, about = scope_of(one)
        basis = read_basis(service, filters={name: list(values) for name, values in filters.items()})
        found = read_what_if(
            service,
            change_of(one, basis),
            filters={name: list(values) for name, values in filters.items()},
            about=about,
        )
        if one.kind in ("batch", "cheaper_snapshot"):
            tried += 1
            assert -found.difference_per_month == one.saved_per_month
    assert tried == 2


@pytest.mark.dated
def test_a_kept_scenario_is_shown_beside_what_happened(
    service_db: Database, viewer: Callable[[str], Database], today: datetime
) -> None:
    for user, role in (("olga", "ops"), ("ana", "analyst"), ("ben", "analyst")):
        service_db.call("add_member", user_id=user, role=role)
    kept_at = today - timedelta(days=5)
    # Ten days on the old snapshot, then a day of change, then four days on gpt-4o.
    load(
        service_db,
        *calls(kept_at - timedelta(days=10), 11, OLD, "0.09"),
        *calls(kept_at + timedelta(days=1), 4, NEW, "0.0475"),
    )
    ana, book = viewer("ana"), PriceBook.default()
    question = Question(Change(model=NEW), {"model": (OLD,)})
    found = read_what_if(ana, question.change, to_time=kept_at, filters={"model": OLD}, book=book)
    assert (found.units, found.unit_cost, found.changed_unit_cost) == (120, Decimal("0.09"), Decimal("0.0475"))
    number = keep_scenario(ana, "Newer snapshot", question, found)
    (kept,) = read_scenarios(viewer("ben"))
    assert (kept.scenario_id, kept.name, kept.created_by, kept.days) == (number, "Newer snapshot", "ana", 10)
    assert (Change.of(kept.change), kept.cost, kept.changed_cost) == (question.change, Decimal("10.8"), Decimal("5.7"))
    # As if it had been kept that day: 12 calls at 0.09 $ and 48 at 0.0475 $ since.
    followed = follow(ana, kept.model_copy(update={"created_at": kept_at}), book, now=today + timedelta(hours=1))
    assert followed is not None
    assert (followed.days, followed.units, followed.cost) == (5, 60, Decimal("3.36"))
    assert (followed.expected_cost, followed.unchanged_cost) == (Decimal("2.85"), Decimal("5.4"))
    assert followed.left == -12 * Decimal("0.0425")
    assert follow(ana, kept, book, now=kept.created_at) is None
    assert viewer("ben").call("delete_scenario", scenario_id=number) is False
    for wrong in ({"filters": {"status": ["ok"]}}, {"name": " "}, {"units": 0}):
        with pytest.raises(InvalidArgumentError):
            ana.call("save_scenario", scenario={**kept.model_dump(mode="json"), **wrong})
    service_db.call("forget_user", user_id="ana")
    assert [one.created_by for one in read_scenarios(viewer("ben"))] == ["(forgotten)"]
    assert viewer("olga").call("delete_scenario", scenario_id=number) is True
    assert read_scenarios(viewer("ben")) == ()


@pytest.mark.dated
def test_the_command_shows_the_plan_a_what_if_and_what_was_kept(direct: Door, tmp_path: Path, today: datetime) -> None:
    service, env = direct.service(), door_environment(direct, tmp_path)
    load(service, *calls(today - timedelta(days=10), 10, OLD, "0.09"))
    shown = run_cli("savings", env=env)
    assert shown.exit_code == 0, shown.stderr
    assert "Use gpt-4o instead of gpt-4o-2024-05-13" in shown.stdout
    assert "from 10 days with calls" in shown.stdout
    as_json = run_cli("savings", "--json", "--feature", "other", env=env)
    assert '"suggestions": []' in as_json.stdout
    asked = run_cli("savings", "what-if", "--to-model", NEW, "--model", OLD, "--keep", "Newer", env=env)
    assert asked.exit_code == 0, asked.stderr
    assert "120 calls in 10 days" in asked.stdout
    # 120 calls, 0.0425 $ less each: 5.10 $ in 10 days, 15.30 $ in 30.
    assert "difference  \N{MINUS SIGN}$5.10, \N{MINUS SIGN}$15.30 a month" in asked.stdout
    assert "kept as scenario 1" in asked.stdout
    same = json.loads(run_cli("savings", "what-if", "--user", "user_a", "--json", env=env).stdout)
    assert (same["calls"], Decimal(same["difference"]), same["unpriced"]["calls"]) == (120, Decimal(0), 0)
    listed = run_cli("savings", "scenarios", env=env).stdout
    assert "1  Newer  kept" in listed
    assert "a useful call cost $0.09, expected $0.0475" in listed
    assert "no whole day (UTC) with calls since" in listed
    assert json.loads(run_cli("savings", "scenarios", "--json", env=env).stdout)[0]["since"] is None
    assert "takes a number" in run_cli("savings", "what-if", "--cached", "half", env=env).stderr
    assert "must be 0 to 1" in run_cli("savings", "what-if", "--made", "2", env=env).stderr


def test_a_scenario_that_nobody_could_read_is_refused(direct: Door) -> None:
    service = direct.service()
    service.call("add_member", user_id="ana", role="analyst")
    ana = direct.viewer("ana")
    good: dict[str, Any] = {
        "name": "n", "change": {}, "filters": {}, "about": None, "from_day": "2026-11-01", "to_day": "2026-11-10",
        "days": 3, "units": 5, "cost": "1", "changed_cost": "2",
    }  # fmt: skip
    changes: list[Any] = [
        {"model": 5}, {"model": None}, {"provider": "openai"}, {"colour": "red"}, {"cached_share": "NaN"},
        {"cached_share": "half"}, {"calls_share": "1.1"}, {"hour_writes_share": "-1"}, {"prompt_share": "0"},
        {"completion_share": "11"}, ["model"], "model",
    ]  # fmt: skip
    rest = [{"about": "nonsense"}, {"cost": "NaN"}, {"changed_cost": "Infinity"}, {"to_day": "infinity"}]
    for wrong in (*({"change": change} for change in changes), *rest):
        with pytest.raises(InvalidArgumentError):
            ana.call("save_scenario", scenario={**good, **wrong})
    widest = Change(
        model=MINI, provider="openai", service_tier="", cached_share=Decimal("1e-9"), prompt_share=Decimal(10),
        completion_share=Decimal("0.0001"), calls_share=Decimal(1), hour_writes_share=Decimal(0),
    )  # fmt: skip
    ana.call("save_scenario", scenario={**good, "change": dict(widest.as_texts()), "about": "long_input"})
    (kept,) = read_scenarios(ana)
    assert Change.of(kept.change) == widest
