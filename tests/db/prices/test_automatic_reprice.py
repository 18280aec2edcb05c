"""What was unpriced, or priced wrongly, is priced again by itself when prices change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import PermissionDeniedError
from ingest.notices import Notices
from ingest.prices.arrivals import price_arrivals
from ingest.prices.automatic import reprice_when_due
from ingest.prices.costing import Costing
from ingest.prices.in_force import Prices
from ingest.settings import load_settings
from tests.db.prices.test_arrivals import arrival
from tests.support.events import roll_up_all, store, usage_event
from tests.support.repricing import costs
from tests.support.rollups import differences

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door

NOW = datetime(2026, 5, 20, 9, 30, tzinfo=UTC)
UNPRICED: dict[str, Any] = {"provider": "vllm", "model": "ours-1", "estimated_cost": None, "cost_source": "unpriced"}
LIST_COST = Decimal("0.000875")


def reprice(database: Database, *, now: datetime = NOW, **overrides: Any) -> bool:
    clock = overrides.pop("clock", None)
    settings = load_settings(**overrides)
    options = {} if clock is None else {"clock": clock}
    return reprice_when_due(database, settings, Notices(), Prices(Notices()), now=now, **options)


def add_price(database: Database, *, provider: str = "vllm", model: str = "ours-1", rate: str = "2") -> None:
    database.call(
        "add_price",
        price={"provider": provider, "model": model, "valid_from": "2026-01-01T00:00:00Z",
               "rates": {"input": rate, "output": rate}, "source": "contract"},
    )  # fmt: skip


def runs(database: Database) -> list[dict[str, Any]]:
    found: Any = database.call("get_reprice_runs")
    return [run for run in found if run["rows_corrected"]]


def test_an_unpriced_call_gets_the_price_that_became_known(door: Door) -> None:
    service = door.service()
    store(service, usage_event(**UNPRICED))
    assert not reprice(service)
    assert costs(door) == [None]
    add_price(service)
    assert not reprice(service)
    assert costs(door) == [Decimal("0.0004")]  # 200 x 2.00 a million
    assert differences(door.database) == []
    (run,) = runs(service)
    assert (run["is_automatic"], run["requested_by"], run["rows_corrected"]) == (True, "treering", 1)
    assert [Decimal(run[name]) for name in ("old_cost", "new_cost")] == [Decimal(0), Decimal("0.0004")]
    assert run["finished_at"] is not None


def test_with_the_same_prices_nothing_is_read(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(**UNPRICED))
    reprice(service)
    assert not reprice(service)
    found: Any = service.call("get_reprice_runs")
    assert len(found) == 1


def test_a_fallback_price_gives_way_to_a_price_of_its_own(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(model="gpt-99", cost_source="fallback", price_id="x"))
    add_price(service, provider="openai", model="gpt-99")
    reprice(service)
    assert costs(direct) == [Decimal("0.0004")]
    assert differences(direct.database) == []


def test_the_unknown_part_of_a_cost_is_added_when_its_price_becomes_known(direct: Door) -> None:
    service = direct.service()
    partial = UNPRICED | {
        "estimated_cost": "0.01", "cost_source": "priced", "request_fees": "0.01",
        "metadata": {"treering_flags": ["cost:tokens_unpriced", "user_id:missing"]},
    }  # fmt: skip
    store(service, usage_event(**partial))
    add_price(service)
    reprice(service)
    assert costs(direct) == [Decimal("0.0104")]
    document: Any = service.call("get_events", from_time="2026-05-04T00:00:00Z", to_time="2026-05-05T00:00:00Z")
    assert document["events"][0]["metadata"] == {"treering_flags": ["user_id:missing"]}


def test_a_price_that_was_priced_stays_at_the_first_run(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(estimated_cost="7"))
    reprice(service)
    assert costs(direct) == [7]


def test_calls_of_a_model_whose_price_was_corrected_are_priced_again_and_no_others(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(), usage_event(model="gpt-4o-mini", estimated_cost="7"))
    reprice(service)
    add_price(service, provider="openai", model="gpt-4o")
    reprice(service)
    assert sorted(cost for cost in costs(direct) if cost) == [Decimal("0.0004"), 7]


def test_what_a_provider_said_it_charged_stays(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(**UNPRICED | {"provider_cost": "3", "estimated_cost": "3", "cost_source": "provider"}))
    add_price(service)
    reprice(service)
    assert costs(direct) == [3]


def test_calls_older_than_thirty_days_stay(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(**UNPRICED), usage_event(**UNPRICED, created_at=NOW - timedelta(days=31)))
    add_price(service)
    reprice(service)
    assert costs(direct) == [None, Decimal("0.0004")]


def test_a_turn_that_is_over_leaves_the_rest_for_the_next(direct: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.prices.reprice.PAGE_ROWS", 1)
    service = direct.service()
    store(service, *(usage_event(**UNPRICED, created_at=NOW - timedelta(days=day)) for day in (20, 2, 1)))
    add_price(service)
    turns = 1
    while reprice(service, clock=iter(range(0, 1000, 11)).__next__):
        turns += 1
    assert turns > 3
    assert costs(direct) == [Decimal("0.0004")] * 3
    (run,) = runs(service)
    assert run["rows_corrected"] == 3


def test_what_was_counted_before_it_could_be_priced_is_made_up_for(direct: Door) -> None:
    service = direct.service()
    reprice(service)
    service.call("record_usage", events=[arrival()])
    direct.database.execute(
        "update observability_internal.pending_batches set enqueued_at = enqueued_at - interval '2 minutes'"
    )
    roll_up_all(service)
    assert costs(direct) == [None]
    reprice(service)
    assert costs(direct) == [LIST_COST]
    assert differences(direct.database) == []
    assert not reprice(service)
    assert len(runs(service)) == 1


def test_a_call_that_waits_for_its_first_price_is_left_to_that(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[arrival()])
    reprice(service)
    assert costs(direct) == [None]
    costing = Costing("gpt-4o", Notices())
    assert price_arrivals(service, lambda: costing) == (1, False)


def test_the_state_is_the_services_alone(viewer: Callable[[str], Database]) -> None:
    arguments: dict[str, dict[str, Any]] = {
        "get_price_state": {},
        "note_catalogue": {},
        "save_price_state": {"price_fingerprint": "x", "model_digests": {}, "repriced_batches": 0},
    }
    for function, values in arguments.items():
        with pytest.raises(PermissionDeniedError):
            viewer("user_a").call(function, **values)


def test_a_catalogue_out_of_reach_is_news_once(direct: Door) -> None:
    service = direct.service()
    notes = [service.call("note_catalogue", **one) for one in ({}, {"error": "away"}, {"error": "still away"}, {})]
    assert notes == [False, True, False, True]
    service.call("note_catalogue", error="away")
    status: Any = service.call("get_status")
    assert status["catalogue"]["error"] == "away"
