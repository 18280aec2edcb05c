from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest

from pricing import PriceBook, PriceBookError, PriceRow, Rates, parse_price_row
from pricing.overlay import known_regions, overlay

ENTRY: dict[str, object] = {"provider": "Acme", "models": ["M", "m-1"], "rates": {"input": "1.5", "output": 3}}


def test_a_row_is_read_with_names_in_lower_case_and_exact_figures() -> None:
    row = parse_price_row(ENTRY)
    assert (row.layer, row.provider, row.models, row.service_tier) == ("customer", "acme", ("m", "m-1"), "default")
    assert row.bands == (Rates(input=Decimal("1.5"), output=Decimal(3)),)


def test_long_context_bands_inherit_what_they_do_not_change() -> None:
    row = parse_price_row({**ENTRY, "long_context": [{"above": 1000, "input": "3"}]})
    assert row.bands[1] == Rates(above_tokens=1000, input=Decimal(3), output=Decimal(3))


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        (date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:00:00+03:00", datetime(2026, 1, 2, tzinfo=UTC)),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=3))), datetime(2026, 1, 2, tzinfo=UTC)),
        (None, None),
    ],
)
def test_dates_are_midnight_utc(value: object, instant: datetime | None) -> None:
    assert parse_price_row({**ENTRY, "valid_from": value}).valid_from == instant


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"colour": "red"}, "unknown keys"),
        ({"provider": ""}, "provider must be a name"),
        ({"models": "m"}, "models must be a list"),
        ({"models": []}, "models must be a list"),
        ({"rates": None}, "rates are missing"),
        ({"rates": {}}, "rates are missing"),
        ({"rates": {"inputs": "1"}}, "unknown rates"),
        ({"rates": {"input": 0.1}}, "decimal as text"),
        ({"rates": {"input": True}}, "decimal as text"),
        ({"rates": {"input": "cheap"}}, "not a number"),
        ({"rates": {"input": "-1"}}, "zero or more"),
        ({"rates": {"input": "NaN"}}, "zero or more"),
        ({"long_context": "x"}, "must be a list"),
        ({"long_context": [{"input": "1"}]}, "rising `above`"),
        ({"long_context": [{"above": 5, "input": "1"}, {"above": 5, "input": "2"}]}, "rising `above`"),
        ({"service_tier": 3}, "service_tier must be text"),
        ({"valid_from": "soon"}, "not an ISO time"),
        ({"valid_from": "2026-01-02T03:00:00"}, "needs a time zone"),
        ({"valid_from": 7}, "a date or a time"),
        ({"valid_from": date(2026, 1, 2), "valid_to": date(2026, 1, 2)}, "before valid_to"),
    ],
)
def test_a_wrong_row_is_refused_with_its_name_and_reason(change: dict[str, object], reason: str) -> None:
    with pytest.raises(PriceBookError, match=reason):
        parse_price_row({**ENTRY, **change})


def test_a_price_id_says_layer_model_tier_and_first_day() -> None:
    row = parse_price_row({**ENTRY, "service_tier": "flex", "valid_from": date(2026, 1, 2)})
    assert row.price_id.startswith("customer:acme/m+flex@2026-01-02#")
    at_noon = parse_price_row({**ENTRY, "service_tier": None, "valid_from": "2026-01-02T12:00:00Z"})
    assert at_noon.price_id.startswith("customer:acme/m+any@2026-01-02T12:00:00Z#")


def test_a_price_id_changes_with_the_figures_and_not_with_how_they_are_written() -> None:
    same = parse_price_row({**ENTRY, "rates": {"output": "3.00", "input": "1.50"}})
    other = parse_price_row({**ENTRY, "rates": {"output": "3.01", "input": "1.50"}})
    assert parse_price_row(ENTRY).price_id == same.price_id != other.price_id


def test_a_price_id_names_the_hours_of_a_row() -> None:
    row = PriceRow("genai", "d", ("m",), (Rates(input=Decimal(1)),), daily=(time(0, 30), time(16, 30)))
    assert "T00:30-16:30#" in row.price_id


def test_every_row_of_ours_names_its_source_and_the_day_it_was_checked() -> None:
    rows = overlay().rows
    assert len(rows) > 50
    assert all(row.source_url and row.source_url.startswith("https://") and row.checked for row in rows)


def test_price_ids_of_ours_are_unique() -> None:
    ids = [row.price_id for row in overlay().rows]
    assert len(ids) == len(set(ids))


def test_tier_rows_of_ours_carry_the_same_figures_as_the_base_has_later() -> None:
    book = PriceBook.default()
    for row in overlay().rows:
        if row.valid_to is not None and row.valid_to >= datetime(2026, 10, 12, tzinfo=UTC):
            later = book.explain(row.models[0], service_tier=row.service_tier, at=row.valid_to).row
            assert later is not None
            assert later.layer == "genai"
            # The second catalogue adds a band for long context where the base lacks it.
            assert [band.priced() for band in later.bands][: len(row.bands)] == [band.priced() for band in row.bands]


def test_every_uplift_is_ten_percent_and_one_for_single_calls_is_no_region_of_the_book() -> None:
    assert {uplift.factor for uplift in overlay().uplifts} == {Decimal("1.1")}
    assert {uplift.provider for uplift in overlay().uplifts if "+us" in uplift.regions} == {"anthropic", "x-ai"}
    assert known_regions() == {"au", "eu", "in", "jp", "us"}


def test_every_tier_by_rule_names_its_source() -> None:
    rules = overlay().tiers
    assert len(rules) > 3
    assert all(rule.source_url.startswith("https://") for rule in rules)
