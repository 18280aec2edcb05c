"""The evidence that suggestions to save are computed from, and a suggestion from real rows."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from ingest.costs import cost_optimization_suggestions
from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.support.events import NOON, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door


def read(database: Database, days: int = 1, **filters: Any) -> dict[str, Any]:
    document = database.call(
        "get_savings_evidence", from_time=NOON, to_time=NOON + timedelta(days=days), filters=filters
    )
    assert isinstance(document, dict)
    return document


def test_groups_have_the_exact_sums_of_each_model_and_feature(service_db: Database) -> None:
    store(
        service_db,
        usage_event(cached_tokens=100),
        usage_event(created_at=NOON + timedelta(hours=20), estimated_cost="0.1"),
        usage_event(status="error", estimated_cost="9"),
        usage_event(
            feature=None, model="mystery", estimated_cost=None, cost_source="unpriced", usage_source="tokenizer"
        ),
    )
    first, second = read(service_db)["groups"]
    assert (first["model"], first["feature"], first["requests"], first["cost"]) == ("gpt-4o", "chat", 2, "0.100875")
    assert (first["prompt_tokens"], first["cached_tokens"], first["days"]) == (300, 100, 2)
    assert (second["model"], second["feature"], second["unpriced_requests"], second["estimated_requests"]) == (
        "mystery", "", 1, 1,
    )  # fmt: skip
    assert len(read(service_db, feature="chat")["groups"]) == 1


def test_a_prefix_repeats_when_it_comes_again_within_five_minutes(service_db: Database) -> None:
    def call(seconds: float, prefix: str | None = "p", **fields: Any) -> Any:
        at = NOON + timedelta(seconds=seconds)
        return usage_event(created_at=at, prefix_hash=prefix, **{"prompt_tokens": 2000, **fields})

    store(
        service_db,
        call(0),
        call(1),  # too soon to find what the first writes
        call(10),  # missed
        call(20, cached_tokens=1024),  # found
        call(400),  # too late
        call(410, prefix="q"),
        call(420, prompt_tokens=1000),
        call(430, status="error"),
        call(440, prefix=None),
        call(450, model="o3"),
    )
    rows = {row["model"]: row for row in read(service_db)["prefixes"]}
    counts = [rows["gpt-4o"][name] for name in ("requests", "repeats", "missed", "prefixes")]
    assert counts == [6, 2, 1, 2]
    assert (rows["o3"]["requests"], rows["o3"]["missed"]) == (1, 0)


@pytest.mark.parametrize(
    ("filters", "requests"),
    [
        ({"model": "o3"}, 0),
        ({"feature": ["chat", "x"]}, 1),
        ({"environment": "staging"}, 0),
    ],
)
def test_filters_hold_for_prefixes_too(direct: Door, filters: dict[str, Any], requests: int) -> None:
    service = direct.service()
    store(service, usage_event(prefix_hash="p", prompt_tokens=2000))
    assert sum(row["requests"] for row in read(service, **filters)["prefixes"]) == requests


def test_one_users_calls_are_too_little(direct: Door) -> None:
    with pytest.raises(InvalidArgumentError, match="too little"):
        read(direct.service(), user_id="user_a")


def test_prefixes_are_looked_for_in_the_last_seven_days(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(prefix_hash="p", prompt_tokens=2000))
    assert read(service, 30)["prefixes"] == []
    assert len(read(service, 7)["prefixes"]) == 1


def store_dear_calls(service: Database) -> None:
    """200 calls of an old snapshot over five days, each for 0.09 $."""
    events = [
        usage_event(
            model="gpt-4o-2024-05-13",
            created_at=NOON + timedelta(days=n % 5),
            prompt_tokens=15_000,
            completion_tokens=1_000,
            estimated_cost="0.09",
        )
        for n in range(200)
    ]
    store(service, *events)


def test_real_rows_lead_to_a_suggestion_for_analysts(service_db: Database, viewer: Callable[[str], Database]) -> None:
    store_dear_calls(service_db)
    service_db.call("add_member", user_id="user_ana", role="analyst")
    (found,) = cost_optimization_suggestions(viewer("user_ana"), from_time=NOON, to_time=NOON + timedelta(days=5))
    # 18.00 $ in 5 days; 0.0475 $ instead of 0.09 $ a call saves 8.50 $ of them, 51 $ in 30 days.
    assert (found.replacement, found.saved_per_month) == ("gpt-4o", Decimal("51.00"))
    assert cost_optimization_suggestions(service_db) == []
    with pytest.raises(PermissionDeniedError):
        cost_optimization_suggestions(viewer("user_a"))


def test_a_suggestion_is_judged_by_the_catalogue_that_the_worker_fetched(direct: Door) -> None:
    service = direct.service()
    store_dear_calls(service)
    period: dict[str, Any] = {"from_time": NOON, "to_time": NOON + timedelta(days=5)}
    assert [found.replacement for found in cost_optimization_suggestions(service, **period)] == ["gpt-4o"]
    # The snapshot as in this release, and gpt-4o at twice its price: 0.095 $ instead of 0.09 $ a call.
    prices = {"gpt-4o-2024-05-13": (5, 15), "gpt-4o": (5, 20)}
    models = [
        {"id": name, "match": {"equals": name}, "prices": {"input_mtok": price_in, "output_mtok": price_out}}
        for name, (price_in, price_out) in prices.items()
    ]
    content = json.dumps([{"id": "openai", "name": "OpenAI", "api_pattern": "openai", "models": models}])
    service.call("save_price_catalogue", source_url="here", reader_version=version("genai-prices"), content=content)
    assert cost_optimization_suggestions(service, **period) == []
