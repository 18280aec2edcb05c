"""What an event costs, and where the figure comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ingest.notices import Notices
from ingest.prices.costing import Costing

if TYPE_CHECKING:
    from ingest.record.event import Event


def charge(fallback: str | None = "gpt-4o", **fields: Any) -> Event:
    event: Event = {
        "event_id": "1",
        "created_at": "2026-11-20T00:00:00+00:00",
        "provider": "openai",
        "model": "gpt-4o",
        "prompt_tokens": 150,
        "completion_tokens": 50,
        **fields,
    }
    Costing(fallback, Notices()).apply(event)
    return event


def test_a_known_model_is_priced_exactly() -> None:
    event = charge()
    assert float(str(event["estimated_cost"])) == 0.000875  # 150 * 2.50 / 1e6 + 50 * 10.00 / 1e6
    assert event["cost_source"] == "priced"
    assert event["price_id"]


def test_fees_come_on_top() -> None:
    event = charge(request_fees="0.0100000000000000000000000000000001")
    assert event["estimated_cost"] == "0.0108750000000000000000000000000001"


def test_what_the_provider_says_counts() -> None:
    event = charge(provider_cost="0.5", request_fees="0.1", model="nobody's")
    assert (event["estimated_cost"], event["cost_source"]) == ("0.5", "provider")
    assert "price_id" not in event


def test_an_unknown_model_is_priced_as_the_fallback(caplog: pytest.LogCaptureFixture) -> None:
    event = charge(model="gpt-99", provider="nobody")
    assert float(str(event["estimated_cost"])) == 0.000875
    assert event["cost_source"] == "fallback"
    assert "nobody/gpt-99; it is priced as openai/gpt-4o" in caplog.text


@pytest.mark.parametrize(
    "model", ["nobody's", "llama3.1:8b", "claude-next", "gemini-9", "gpt-oss-9", "dall-e-9", "sora-9"]
)
def test_only_a_name_of_openais_kind_is_priced_as_the_fallback(model: str) -> None:
    assert charge(model=model, provider="nobody")["cost_source"] == "unpriced"


def test_a_server_of_ones_own_is_never_priced_as_the_fallback() -> None:
    assert charge(model="gpt-99", provider="localhost:11434")["cost_source"] == "unpriced"


def test_an_unknown_model_without_any_count_is_not_free() -> None:
    nothing: dict[str, Any] = {"model": "gpt-99", "prompt_tokens": 0, "completion_tokens": 0}
    assert charge(**nothing)["cost_source"] == "unpriced"
    assert charge(**nothing, status="error")["estimated_cost"] == "0"


def test_without_a_fallback_the_cost_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    event = charge(fallback=None, model="gpt-99")
    assert event["cost_source"] == "unpriced"
    assert "estimated_cost" not in event
    assert "cost is unknown" in caplog.text


def test_a_fallback_without_a_price_leaves_the_cost_unknown(caplog: pytest.LogCaptureFixture) -> None:
    event = charge(fallback="nobody's either", model="gpt-99")
    assert event["cost_source"] == "unpriced"
    assert "TREERING_FALLBACK_MODEL" in caplog.text


def test_parts_that_overlap_are_priced_within_the_whole() -> None:
    overlapping = charge(cached_tokens=150, cache_write_tokens=150, audio_input_tokens=150, reasoning_tokens=50,
                         audio_output_tokens=50)  # fmt: skip
    assert overlapping["estimated_cost"] == charge(cached_tokens=150)["estimated_cost"]
    assert overlapping["cache_write_tokens"] == 150


def test_a_fault_of_the_price_book_costs_no_event(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ArithmeticError("too precise")

    monkeypatch.setattr("pricing.PriceBook.price", fail)
    assert charge()["cost_source"] == "unpriced"
    assert "too precise" in caplog.text
