"""The customer's prices: appended by ops, read by who may, and used by whatever prices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

import ingest
from ingest.errors import DatabaseUnavailableError, InvalidArgumentError, PermissionDeniedError
from ingest.notices import Notices
from ingest.prices.costing import Costing
from ingest.prices.in_force import REFRESH_INTERVAL_S, Prices
from tests.support.events import NOON, usage_event
from tests.support.pricing import cost_of
from tests.support.scripted_database import ScriptedDatabase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door

PRICE: dict[str, JsonValue] = {
    "model": "gpt-4o",
    "valid_from": "2026-05-01T00:00:00Z",
    "rates": {"input": "2.00", "output": "8.00"},
    "source": "contract of 2026-04",
}


def entries(database: Database) -> list[dict[str, JsonValue]]:
    document = database.call("get_prices")
    assert isinstance(document, dict)
    prices = document["prices"]
    assert isinstance(prices, list)
    return [price for price in prices if isinstance(price, dict)]


def prices_of(database: Database) -> Prices:
    prices = Prices(Notices())
    prices.refresh(database)
    return prices


def test_a_price_comes_back_as_it_was_appended(service_db: Database) -> None:
    service_db.call(
        "add_price",
        price={
            **PRICE,
            "provider": " OpenAI",
            "model": "GPT-4o",
            "valid_to": "2026-06-01",
            "service_tier": None,
            "rates": {"input": "2.10", "cached_input": "0.000000000000000001", "per_hour": "3"},
            "long_context": [{"above": 1000, "input": "4.2"}],
            "note": "negotiated",
        },
    )
    (price,) = entries(service_db)
    assert price.pop("created_at") is not None
    assert price == {
        "price_id": 1,
        "provider": "openai",
        "model": "gpt-4o",
        "service_tier": None,
        "valid_from": "2026-05-01T00:00:00+00:00",
        "valid_to": "2026-06-01T00:00:00+00:00",
        "rates": {"input": "2.10", "cached_input": "0.000000000000000001", "per_hour": "3"},
        "long_context": [{"above": 1000, "input": "4.2"}],
        "source": "contract of 2026-04",
        "note": "negotiated",
        "created_by": "service_role",
        "is_superseded": False,
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"colour": "red"}, "unknown key colour"),
        ({"model": None}, "null value"),
        ({"source": None}, "null value"),
        ({"rates": {}}, "a rate for tokens"),
        ({"rates": None}, "rates must be"),
        ({"rates": {"inptu": "1"}}, "unknown rate inptu"),
        ({"rates": {"input": 1.1}}, "decimal as text"),
        ({"rates": {"input": "-1"}}, "decimal as text"),
        ({"rates": {"input": "1e3"}}, "decimal as text"),
        ({"long_context": {}}, "must be a list"),
        ({"long_context": [{"input": "1"}]}, "rising whole number"),
        ({"long_context": [{"above": 1, "input": "1"}, {"above": 1, "input": "2"}]}, "rising whole number"),
        ({"long_context": [{"above": 1}]}, "needs a rate"),
        ({"valid_from": "soon"}, "invalid input"),
        ({"valid_to": "2026-05-01T00:00:00Z"}, "ends after it begins"),
    ],
)
def test_a_wrong_price_is_refused(shared_direct: Door, change: dict[str, JsonValue], reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        shared_direct.service().call("add_price", price={**PRICE, **change})


def test_ops_append_prices_in_their_name_analysts_read_them_and_others_neither(
    service_db: Database, viewer: Callable[[str], Database]
) -> None:
    for user, role in (("user_ops", "ops"), ("user_ana", "analyst")):
        service_db.call("add_member", user_id=user, role=role)
    viewer("user_ops").call("add_price", price=PRICE)
    assert [price["created_by"] for price in entries(viewer("user_ana"))] == ["user_ops"]
    for user in ("user_ana", "user_a"):
        with pytest.raises(PermissionDeniedError):
            viewer(user).call("add_price", price=PRICE)
    with pytest.raises(PermissionDeniedError):
        viewer("user_a").call("get_prices")


def test_a_price_is_never_changed_nor_taken_away(direct: Door) -> None:
    direct.service().call("add_price", price=PRICE)
    direct.service().call("add_member", user_id="user_ops", role="ops")
    for statement in (
        "update observability_internal.model_prices set input_per_mtok = 0",
        "delete from observability_internal.model_prices",
        """insert into observability_internal.model_prices (model, valid_from, input_per_mtok, source, created_by)
        values ('m', now(), 1, 's', 'somebody else')""",
    ):
        with psycopg.connect(direct.database.superuser_url) as connection:
            connection.execute(
                """select set_config('request.jwt.claims', '{"role": "authenticated", "sub": "user_ops"}', true)"""
            )
            connection.execute("set local role authenticated")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_latest_price_that_has_begun_counts_and_after_its_end_the_one_before(direct: Door) -> None:
    service = direct.service()
    service.call("add_price", price=PRICE)
    june = {**PRICE, "valid_from": "2026-06-01T00:00:00Z", "valid_to": "2026-07-01T00:00:00Z", "rates": {"input": "1"}}
    service.call("add_price", price=june)
    book = prices_of(service).book

    def rate(day: str) -> str:
        return str(cost_of(book, "gpt-4o", 1_000_000, 0, at=datetime.fromisoformat(f"{day}Z")).total).rstrip("0.")

    assert rate("2026-04-30T23:59:59") == "2.5"
    assert [rate("2026-05-01T00:00:00"), rate("2026-05-31T23:59:59")] == ["2", "2"]
    assert [rate("2026-06-01T00:00:00"), rate("2026-06-30T23:59:59")] == ["1", "1"]
    assert rate("2026-07-01T00:00:00") == "2"


def test_a_mistake_is_corrected_by_a_row_with_the_same_start(direct: Door) -> None:
    service = direct.service()
    service.call("add_price", price={**PRICE, "rates": {"input": "20", "output": "80"}})
    service.call("add_price", price=PRICE)
    assert [price["is_superseded"] for price in entries(service)] == [True, False]
    assert cost_of(prices_of(service).book, "gpt-4o", 1_000_000, 0, at=NOON).total == 2


def test_a_price_appended_again_with_an_end_ends(direct: Door) -> None:
    service = direct.service()
    service.call("add_price", price=PRICE)
    service.call("add_price", price={**PRICE, "valid_to": NOON.isoformat()})
    book = prices_of(service).book
    before = book.explain("gpt-4o", at=NOON - timedelta(microseconds=1))
    assert (before.price_id, book.explain("gpt-4o", at=NOON).layer) == ("customer:2", "genai")


def test_a_price_without_a_tier_is_the_standard_one_and_an_explicit_null_is_for_every_tier(direct: Door) -> None:
    service = direct.service()
    service.call("add_price", price=PRICE)
    batch = prices_of(service).book.explain("gpt-4o", service_tier="batch", at=NOON)
    assert batch.layer != "customer"
    service.call("add_price", price={**PRICE, "service_tier": None})
    batch = prices_of(service).book.explain("gpt-4o", service_tier="batch", at=NOON)
    assert batch.layer == "customer"


@pytest.mark.dated
def test_what_is_recorded_is_charged_with_the_customers_price(door: Door, tmp_path: Path) -> None:
    service = door.service()
    service.call("add_price", price=PRICE)
    service.call(
        "add_price",
        price={**PRICE, "provider": "self-hosted", "model": "guardian-8b", "rates": {"per_hour": "3.6"}},
    )
    ingest.configure(database=service, home=tmp_path)
    try:
        call = {"user_id": "user_a", "prompt_tokens": 150, "completion_tokens": 50}
        ingest.record_usage(model="gpt-4o", **call)  # type: ignore[arg-type]
        ingest.record_usage(model="guardian-8b", provider="self-hosted", latency_ms=1500.0, **call)  # type: ignore[arg-type]
        assert ingest.flush(30)
    finally:
        ingest.shutdown()
    now = datetime.now(UTC)
    page = service.call("get_events", from_time=now - timedelta(hours=1), to_time=now + timedelta(hours=1))
    assert isinstance(page, dict)
    events = page["events"]
    assert isinstance(events, list)
    found = {str(event["model"]): event for event in events if isinstance(event, dict)}
    assert Decimal(str(found["gpt-4o"]["estimated_cost"])) == Decimal("0.0007")
    assert found["gpt-4o"]["price_id"] == "customer:1"
    assert Decimal(str(found["guardian-8b"]["estimated_cost"])) == Decimal("0.0015")


def test_a_model_of_ones_own_without_a_price_stays_unpriced_instead_of_costing_as_the_fallback() -> None:
    event: dict[str, JsonValue] = {**usage_event(model="guardian-8b", provider="self-hosted")}
    del event["estimated_cost"]
    Costing("gpt-4o", Notices()).apply(event)
    assert event["cost_source"] == "unpriced"
    assert "estimated_cost" not in event


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


DOCUMENT: JsonValue = {
    "catalogue": None,
    "prices": [{**PRICE, "price_id": 7, "provider": "openai", "service_tier": "default"}],
}


def price_id(prices: Prices) -> str | None:
    return cost_of(prices.book, "gpt-4o", 1, 1, at=NOON).price_id


def test_prices_are_read_again_after_a_while_and_not_before() -> None:
    clock = Clock()
    database = ScriptedDatabase(get_prices=[{"prices": []}, DOCUMENT])
    prices = Prices(Notices(), clock=clock)
    prices.refresh_if_due(database)
    prices.refresh_if_due(database)
    assert len(database.calls) == 1
    clock.now = REFRESH_INTERVAL_S
    prices.refresh_if_due(database)
    assert price_id(prices) == "customer:7"


def test_a_failed_reading_keeps_the_last_known_prices() -> None:
    clock = Clock()
    database = ScriptedDatabase(get_prices=[DOCUMENT, DatabaseUnavailableError("away"), PermissionDeniedError("no")])
    prices = Prices(Notices(), clock=clock)
    for _ in range(3):
        prices.refresh_if_due(database)
        assert price_id(prices) == "customer:7"
        clock.now += REFRESH_INTERVAL_S


def test_nothing_is_priced_before_the_first_reading_while_the_database_is_away() -> None:
    prices = Prices(Notices())
    with pytest.raises(DatabaseUnavailableError):
        prices.refresh_if_due(ScriptedDatabase(get_prices=[DatabaseUnavailableError("away")]))


def test_a_database_without_prices_leaves_the_list_prices(caplog: pytest.LogCaptureFixture) -> None:
    prices = Prices(Notices())
    prices.refresh_if_due(ScriptedDatabase(get_prices=[PermissionDeniedError("no")]))
    assert "the customer's prices cannot be read" in caplog.text
    assert str(price_id(prices)).startswith("genai:")


def test_a_bad_row_is_named_once_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    bad: JsonValue = {**PRICE, "price_id": 8, "provider": "openai", "rates": {"inptu": "1"}}
    prices = Prices(Notices())
    prices.refresh(ScriptedDatabase(get_prices=[{"prices": [bad]}]))
    assert "price 8" in caplog.text
    assert str(price_id(prices)).startswith("genai:")


def test_the_same_prices_have_the_same_fingerprint_and_others_another() -> None:
    def fingerprint(document: JsonValue, fallback_model: str | None = "gpt-4o", region: str | None = None) -> str:
        prices = Prices(Notices(), region=region)
        prices.refresh(ScriptedDatabase(get_prices=[document]))
        return prices.fingerprint(fallback_model)

    assert fingerprint(DOCUMENT) == fingerprint(DOCUMENT)
    others = {fingerprint({"prices": []}), fingerprint(DOCUMENT, None), fingerprint(DOCUMENT, region="eu")}
    assert len(others | {fingerprint(DOCUMENT)}) == 4


def test_deployments_and_region_of_the_settings_count() -> None:
    prices = Prices(Notices(), deployments={"azure/chat-prod": "gpt-4o"}, region="eu")
    assert cost_of(prices.book, "chat-prod", 1_000_000, 0, provider="azure", at=NOON).total == Decimal("2.5")
    assert cost_of(prices.book, "gpt-5.5", 100_000, 0, at=datetime(2026, 11, 1, tzinfo=UTC)).total == Decimal("0.55")
