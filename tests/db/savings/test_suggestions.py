"""The evidence from real rows: who sees what, which days count, and the public function over it."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from ingest.costs import cost_optimization_suggestions
from ingest.errors import InvalidArgumentError, PermissionDeniedError
from ingest.savings.reading import read_savings_plan
from tests.support.events import NOON, store, usage_event
from tests.support.repricing import NEW_COST, PRICE, apply, call

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door

MIDNIGHT = NOON.replace(hour=0)
PERIOD: dict[str, Any] = {"from_time": MIDNIGHT, "to_time": MIDNIGHT + timedelta(days=5)}


def read(database: Database, **filters: Any) -> dict[str, Any]:
    document = database.call("get_savings_evidence", **PERIOD, filters=filters)
    assert isinstance(document, dict)
    return document


def store_dear_calls(service: Database) -> None:
    """200 calls of an old snapshot over five days, each for 0.09 $; half of them are user_b's."""
    events = [
        usage_event(
            model="gpt-4o-2024-05-13",
            user_id="user_a" if n < 100 else "user_b",
            created_at=NOON + timedelta(days=n % 5, minutes=n),
            prompt_tokens=15_000,
            completion_tokens=1_000,
            estimated_cost="0.09",
        )
        for n in range(200)
    ]
    store(service, *events)


def test_real_rows_lead_to_suggestions_of_all_for_analysts_and_of_their_own_for_members(
    service_db: Database, viewer: Callable[[str], Database], anonymous: Database
) -> None:
    store_dear_calls(service_db)
    service_db.call("add_member", user_id="user_ana", role="analyst")
    found, evaluated = cost_optimization_suggestions(viewer("user_ana"), **PERIOD)
    # 18.00 $ in 5 days; 0.0475 $ instead of 0.09 $ a call saves 8.50 $ of them, 51 $ in 30 days.
    assert (found.replacement, found.saved_per_month, found.confidence) == ("gpt-4o", Decimal("51.00"), "medium")
    assert (evaluated.replacement, evaluated.needs_evaluation) == ("gpt-4o-mini", True)
    plan = read_savings_plan(service_db, **PERIOD)
    assert (plan.spend_per_month, plan.goal, plan.days) == (Decimal(108), Decimal("43.20"), 5)
    assert plan.total() == Decimal("51.00")
    assert plan.unexamined == 0
    own = cost_optimization_suggestions(viewer("user_b"), **PERIOD)
    assert own[0].saved_per_month == Decimal("25.50")
    assert cost_optimization_suggestions(viewer("user_c"), **PERIOD) == []
    assert cost_optimization_suggestions(service_db) == []
    with pytest.raises(PermissionDeniedError):
        cost_optimization_suggestions(anonymous, **PERIOD)


def test_whole_days_alone_count_and_are_the_same_once_the_worker_has_judged_them(direct: Door) -> None:
    service = direct.service()
    store_dear_calls(service)
    before = read(service)
    assert [date.fromisoformat(day) for day in before["days"]] == [date(2026, 5, 4 + n) for n in range(5)]
    assert before["spend"] == "18.00"
    judged: Any = service.call("judge_savings", max_days=3, history_days=400)
    assert judged == {"days": 3, "waiting": 2}
    judged = service.call("judge_savings", max_days=3, history_days=400)
    assert judged == {"days": 2, "waiting": 0}
    after = read(service)
    assert after["facts"] == before["facts"]
    # A day gets calls late: it alone is judged again.
    store(service, usage_event(created_at=NOON + timedelta(days=2), estimated_cost="1"))
    judged = service.call("judge_savings", max_days=3, history_days=400)
    assert judged == {"days": 1, "waiting": 0}
    assert read(service)["spend"] == "19.00"
    part: Any = service.call("get_savings_evidence", from_time=NOON, to_time=NOON + timedelta(days=2), filters={})
    assert part["days"] == ["2026-05-05"]


DAYS: dict[str, Any] = {"max_days": 3, "history_days": 400}


def test_a_day_is_judged_again_when_its_calls_are_priced_anew(service_db: Database) -> None:
    store(service_db, *(call(minute) for minute in range(40)))
    assert service_db.call("judge_savings", **DAYS) == {"days": 1, "waiting": 0}
    assert service_db.call("judge_savings", **DAYS) == {"days": 0, "waiting": 0}
    service_db.call("add_price", price=PRICE)
    apply(service_db)
    assert service_db.call("judge_savings", **DAYS) == {"days": 1, "waiting": 0}
    assert Decimal(read(service_db)["facts"][0]["cost"]) == 40 * NEW_COST


def test_forgetting_somebody_takes_the_evidence_of_their_calls_away(direct: Door) -> None:
    service = direct.service()
    # One prompt, asked four times by one person, who also has the dearest call, and once by another.
    theirs = [call(minute, prompt_hash="same", estimated_cost="0.01") for minute in (0, 10, 20, 30)]
    store(service, *theirs, call(40, prompt_hash="another", user_id="user_b"))
    service.call("judge_savings", **DAYS)
    assert {fact["waste"]: fact["calls"] for fact in read(service)["facts"]} == {0: 2, 12: 3}
    forget(service, "user_a")
    assert {fact["example_event_id"] for fact in read(service)["facts"]}.isdisjoint(one["event_id"] for one in theirs)
    assert service.call("judge_savings", **DAYS) == {"days": 1, "waiting": 0}
    assert {fact["waste"]: fact["calls"] for fact in read(service)["facts"]} == {0: 5}
    assert service.call("judge_savings", **DAYS) == {"days": 0, "waiting": 0}


def forget(service: Database, user_id: str) -> None:
    while True:
        answer: Any = service.call("forget_user", user_id=user_id)
        if answer["is_done"]:
            return


@pytest.mark.parametrize(
    ("filters", "calls"), [({"feature": ["chat", "x"]}, 200), ({"model": "o3"}, 0), ({"environment": "staging"}, 0)]
)
def test_filters_choose_calls_and_those_that_do_not_split_are_refused(
    direct: Door, filters: dict[str, Any], calls: int
) -> None:
    service = direct.service()
    store_dear_calls(service)
    assert sum(fact["calls"] for fact in read(service, **filters)["facts"]) == calls
    for name in ("user_id", "status"):
        with pytest.raises(InvalidArgumentError, match="told apart"):
            read(service, **{name: "ok"})


def test_a_suggestion_is_judged_by_the_catalogue_that_the_worker_fetched(direct: Door) -> None:
    service = direct.service()
    store_dear_calls(service)
    # The snapshot as in this release, and gpt-4o at twice its price: 0.095 $ instead of 0.09 $ a call.
    prices = {"gpt-4o-2024-05-13": (5, 15), "gpt-4o": (5, 20), "gpt-4o-mini": (5, 20)}
    models = [
        {"id": name, "match": {"equals": name}, "prices": {"input_mtok": price_in, "output_mtok": price_out}}
        for name, (price_in, price_out) in prices.items()
    ]
    content = json.dumps([{"id": "openai", "name": "OpenAI", "api_pattern": "openai", "models": models}])
    service.call("save_price_catalogue", source_url="here", reader_version=version("genai-prices"), content=content)
    assert cost_optimization_suggestions(service, **PERIOD) == []


def test_repeated_calls_of_tools_are_summed_and_nonsense_is_not(service_db: Database) -> None:
    notes: list[Any] = [2, 1, "many", -5, None]
    store(service_db, *(call(minute, metadata={"treering_tool_retries": note}) for minute, note in enumerate(notes)))
    assert [fact["tool_retries"] for fact in read(service_db)["facts"]] == [3]


def test_people_who_ask_at_the_same_time_of_day_are_no_job(direct: Door) -> None:
    service = direct.service()
    # Forty people at lunch, a job that asks as slowly, and one that asks once for each of forty people within a minute.
    store(
        service,
        *(call(n, feature="lunch", user_id=f"user_{n}") for n in range(40)),
        *(call(n, feature="slow", user_id="jobs") for n in range(40)),
        *(call(n // 40, feature="digest", user_id=f"user_{n}") for n in range(40)),
    )
    assert {fact["feature"]: fact["waste"] & 64 for fact in read(service)["facts"]} == {
        "lunch": 0, "slow": 64, "digest": 64,
    }  # fmt: skip


def test_answers_that_are_asked_for_side_by_side_are_no_duplicates(direct: Door) -> None:
    service = direct.service()
    # Three at once, each of which takes 2 s, and a fourth after these have been answered.
    asked = [timedelta(milliseconds=ms) for ms in (0, 2, 5, 3000)]
    store(service, *(usage_event(created_at=NOON + at, prompt_hash="same", latency_ms=2000.0) for at in asked))
    assert {fact["waste"]: fact["calls"] for fact in read(service)["facts"]} == {0: 3, 12: 1}


def test_the_last_thumb_counts_and_stands_beside_the_calls(service_db: Database) -> None:
    first, second = usage_event(), usage_event(created_at=NOON + timedelta(minutes=1))
    store(service_db, first, second)
    thumbs: list[Any] = [
        {"about": first["event_id"], "rating": 1},
        {"about": first["event_id"], "rating": -1},
        {"about": second["event_id"], "rating": 1},
    ]
    assert service_db.call("record_feedback", events=thumbs) == 2
    assert service_db.call("record_feedback", events=thumbs) == 0
    (fact,) = read(service_db)["facts"]
    assert (fact["liked"], fact["disliked"]) == (1, 1)
    with pytest.raises(InvalidArgumentError):
        service_db.call("record_feedback", events={"about": "x"})
