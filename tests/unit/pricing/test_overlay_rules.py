"""Rules of the overlay: tiers as shares of the standard price, places, names by pattern, and DeepSeek's price lists."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from pricing import PriceBook, PriceBookError
from pricing.overlay import read_document
from pricing.tiers import parse_tier_rule
from tests.support.pricing import cost_of

AT = datetime(2026, 11, 25, tzinfo=UTC)
RULE = {"provider": "acme", "service_tier": "batch", "factor": "0.5", "source_url": "https://example.com"}


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.default()


def test_every_entry_says_what_was_read_of_its_figures_where_and_when() -> None:
    for entries in read_document().values():
        for entry in entries:
            assert entry["evidence"] in {"maker", "quote", "table", "rule"}
            has_source = entry.get("source_url", "").startswith("https://") and isinstance(entry.get("checked"), date)
            assert has_source == (entry["evidence"] != "rule")
            is_release = "/pypi.org/" in entry.get("source_url", "") or "/commit/" in entry.get("source_url", "")
            assert is_release == (entry["evidence"] == "table")


def test_a_batch_of_anthropic_costs_half_of_everything(book: PriceBook) -> None:
    # Claude 3.5 Sonnet: 3 $ input, 0.3 $ cached, 15 $ output.
    cost = cost_of(
        book,
        "claude-3-5-sonnet-20240620",
        1_000,
        100,
        cached_input_tokens=400,
        provider="anthropic",
        service_tier="batch",
    )
    assert cost.total == (600 * Decimal("1.5") + 400 * Decimal("0.15") + 100 * Decimal("7.5")) / 1_000_000
    assert str(cost.price_id).startswith("treering:anthropic/claude-3-5-sonnet")


def test_a_fee_is_not_halved_by_a_batch(book: PriceBook) -> None:
    why = book.explain("claude-3-5-haiku-20241022", provider="anthropic", service_tier="batch", at=AT)
    assert why.band is not None
    assert why.band.units["web_search"].charge(1) == Decimal("0.01")


def test_a_figure_that_a_rule_keeps_stays(book: PriceBook) -> None:
    why = book.explain("gemini-2.5-flash-image-preview", provider="google", service_tier="batch", at=AT)
    assert why.band is not None
    assert (why.band.input, why.band.cached_input, why.band.output) == (Decimal("0.15"), Decimal("0.075"), Decimal(15))


def test_no_rule_follows_from_what_the_customer_pays() -> None:
    row = {"provider": "anthropic", "models": ["claude-3-haiku-20240307"], "rates": {"input": "0.1", "output": "0.1"}}
    batch = cost_of(
        PriceBook([row]), "claude-3-haiku-20240307", 1_000_000, 0, provider="anthropic", service_tier="batch", at=AT
    )
    assert batch.total == Decimal("0.125")  # half of Anthropic's 0.25 $


def test_fast_mode_of_anthropic_is_a_tier_and_its_priority_tier_another(book: PriceBook) -> None:
    fast = cost_of(book, "claude-opus-5", 1_000_000, 0, provider="anthropic", service_tier="fast", at=AT)
    assert fast.total == 10  # twice 5 $
    priority = cost_of(book, "claude-opus-5", 1_000_000, 0, provider="anthropic", service_tier="priority", at=AT)
    assert priority.total is None


@pytest.mark.parametrize(
    ("model", "provider", "tier", "usd"),
    [
        ("claude-opus-5", "anthropic", "default+us", "5.5"),
        ("claude-opus-5", "anthropic", "batch+us", "2.75"),
        ("claude-opus-5", "anthropic", "fast+us", "11"),
        ("claude-opus-4-5", "anthropic", "default+us", "5"),  # before 4.6 there is no such surcharge
        ("claude-opus-5", "anthropic", "default+eu", "5"),
        ("gpt-5.4", "openai", "default+us", "5.5"),  # long context: twice 2.5 $
    ],
)
def test_inference_in_the_united_states_costs_ten_percent_more(
    book: PriceBook, model: str, provider: str, tier: str, usd: str
) -> None:
    cost = cost_of(book, model, 1_000_000, 0, provider=provider, service_tier=tier, at=AT)
    assert cost.total == Decimal(usd)


def test_free_variants_of_openrouter_cost_nothing_and_nothing_else_does(book: PriceBook) -> None:
    assert cost_of(book, "acme/new-model:free", 10, 10, provider="openrouter").total == 0
    assert str(cost_of(book, "acme/new-model:free", 10, 10, provider="openrouter").price_id).startswith("treering:")


@pytest.mark.parametrize(
    ("moment", "usd"),
    [
        ("2025-01-15T20:00:00Z", "0.14"),  # before its first price list ended
        ("2025-02-20T20:00:00Z", "0.27"),  # no night discount yet
        ("2025-06-01T20:00:00Z", "0.135"),  # at night, half
        ("2025-06-01T12:00:00Z", "0.27"),
        ("2025-09-05T15:59:59Z", "0.27"),
        ("2025-09-05T16:00:00Z", "0.56"),
        ("2025-09-05T20:00:00Z", "0.56"),  # at night, in full
        ("2025-10-01T20:00:00Z", "0.28"),
        ("2026-05-01T20:00:00Z", "0.14"),
    ],
)
def test_deepseeks_night_discount_ended_and_three_price_lists_followed(book: PriceBook, moment: str, usd: str) -> None:
    cost = cost_of(book, "deepseek-chat", 1_000_000, 0, provider="deepseek", at=datetime.fromisoformat(moment))
    assert cost.total == Decimal(usd)


@pytest.mark.parametrize(
    ("moment", "usd"),
    [
        ("2026-06-02T02:00:00Z", "0.14"),  # a Tuesday, but no peak hours yet
        ("2026-11-24T00:59:59Z", "0.15"),
        ("2026-11-24T01:00:00Z", "0.3"),
        ("2026-11-24T04:00:00Z", "0.15"),
        ("2026-11-24T06:00:00Z", "0.3"),
        ("2026-11-22T02:00:00Z", "0.15"),  # a Sunday
    ],
)
def test_deepseeks_peak_hours_are_of_weekdays_since_august_2026(book: PriceBook, moment: str, usd: str) -> None:
    cost = cost_of(book, "deepseek-v4-flash", 1_000_000, 0, provider="deepseek", at=datetime.fromisoformat(moment))
    assert cost.total == Decimal(usd)


def test_mistral_large_latest_is_large_3_since_december_2025(book: PriceBook) -> None:
    def price(month: int, day: int, **parts: int) -> Decimal | None:
        at = datetime(2025, month, day, tzinfo=UTC)
        return cost_of(book, "mistral-large-latest", 1_000_000, 0, provider="mistral", at=at, **parts).total

    assert (price(12, 1), price(12, 2)) == (Decimal(2), Decimal("0.5"))
    assert price(12, 2, cached_input_tokens=1_000_000) == Decimal("0.05")


def test_an_exact_name_goes_before_the_name_that_the_catalogue_has_for_it(book: PriceBook) -> None:
    reasoner, r1 = (
        cost_of(book, name, 1_000_000, 0, provider="deepseek", at=AT).total
        for name in ("deepseek-reasoner", "deepseek-r1")
    )
    assert (reasoner, r1) == (Decimal("0.14"), Decimal("0.55"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": "0.5"}, "unknown keys"),
        ({"source_url": ""}, "must be texts"),
        ({"models": []}, "must be lists"),
        ({"factor": 0.5}, "must be a decimal as text"),
    ],
)
def test_a_rule_that_is_wrong_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(PriceBookError, match=message):
        parse_tier_rule({**RULE, **change})
