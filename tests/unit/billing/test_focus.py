from __future__ import annotations

import gzip
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from ingest.billing import focus_files
from ingest.billing.focus import read_focus, tokens_per_unit
from ingest.billing.focus_files import read_rows
from ingest.errors import ConfigurationError
from tests.support.focus_exports import BEDROCK, DAY, VERTEX, as_csv, focus_row, write_csv

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.billing.focus import FocusBill, FocusCost
    from ingest.billing.provider_lines import Line

TODAY = date(2026, 11, 23)


def read(tmp_path: Path, *rows: dict[str, str], cost: FocusCost = "billed") -> FocusBill:
    return read_focus([write_csv(tmp_path / "export.csv", *rows)], today=TODAY, cost=cost)


def one(tmp_path: Path, columns: dict[str, str] | None = None) -> Line:
    (line,) = read(tmp_path, focus_row() | (columns or {})).lines
    return line


def typed(row: dict[str, str]) -> dict[str, Any]:
    """The row as Parquet holds it."""
    amounts = {name: Decimal(row[name]) for name in ("BilledCost", "EffectiveCost", "ListCost", "ConsumedQuantity")}
    start = datetime.fromisoformat(row["ChargePeriodStart"])
    return {**row, **amounts, "ChargePeriodStart": start, "ChargeClass": None}


def test_a_row_of_azure_is_a_line_of_a_model(tmp_path: Path) -> None:
    assert one(tmp_path) == {
        "provider": "azure",
        "day": "2026-11-03",
        "source": "import",
        "kind": "cost",
        "line_item": "gpt-4o-0806-Inp-glbl Tokens",
        "item": "input",
        "charge": "usage",
        "model": "gpt-4o",
        "project_id": "/subscriptions/a",
        "service_tier": "",
        "currency": "usd",
        "amount": "2.50",
        "quantity": "1000000",
        "quantity_unit": "tokens",
        "tokens": "1000000",
        "list_price": "2.500000000000",  # 2.50 $ for a million tokens
    }


@pytest.mark.parametrize(
    ("columns", "provider", "model", "tokens"),
    [
        (BEDROCK, "aws", "claude-sonnet-4-5", "1000000"),
        (BEDROCK | {"SkuMeter": "", "x_UsageType": "USE1-NovaMicro-output-tokens"}, "aws", "nova-micro", "1000000"),
        (VERTEX | {"PricingUnit": ""}, "google", "gemini-2.5-flash", "1000"),
    ],
)
def test_the_three_clouds_are_read_alike(
    tmp_path: Path, columns: dict[str, str], provider: str, model: str, tokens: str
) -> None:
    line = one(tmp_path, columns)
    assert (line["provider"], line["model"], line["tokens"]) == (provider, model, tokens)


def test_a_gzipped_file_and_a_parquet_file_say_the_same_as_the_csv(tmp_path: Path) -> None:
    rows = [focus_row(), focus_row() | BEDROCK]
    plain = read(tmp_path, *rows)
    packed = tmp_path / "export.csv.gz"
    packed.write_bytes(gzip.compress(as_csv(*rows).encode()))
    parquet.write_table(pa.Table.from_pylist([typed(row) for row in rows]), tmp_path / "export.parquet")
    assert read_focus([packed], today=TODAY) == plain
    assert read_focus([tmp_path / "export.parquet"], today=TODAY) == plain


@pytest.mark.parametrize(
    ("unit", "tokens"),
    [
        ("1K tokens", 1000),
        ("1M tokens", 1_000_000),
        ("1K", 1000),
        ("1M", 1_000_000),
        ("Tokens", 1),
        ("Units", 1),
        ("count", 1),
        ("1,000 Tokens", 1000),
        ("Million tokens", 1_000_000),
        ("Hours", None),
        ("Requests", None),
        ("", None),
    ],
)
def test_a_unit_says_how_many_tokens_it_is(unit: str, tokens: int | None) -> None:
    assert tokens_per_unit(unit) == tokens


def test_where_the_consumed_unit_says_nothing_the_priced_unit_counts(tmp_path: Path) -> None:
    columns = {"ConsumedUnit": "Units", "ConsumedQuantity": "7", "PricingUnit": "1M tokens", "PricingQuantity": "0.25"}
    assert one(tmp_path, columns)["tokens"] == "250000.00"


def test_a_quantity_of_something_else_is_no_number_of_tokens(tmp_path: Path) -> None:
    line = one(tmp_path, {"ConsumedUnit": "Hours", "PricingUnit": "1 Hour"})
    assert (line["tokens"], line["list_price"]) == (None, None)


@pytest.mark.parametrize(
    ("columns", "charge"),
    [
        ({}, "usage"),
        ({"SkuMeter": "Web search calls"}, "fee"),
        ({"ChargeCategory": "Credit", "BilledCost": "-6"}, "credit"),
        ({"ChargeCategory": "Adjustment"}, "adjustment"),
        ({"ChargeCategory": "Tax"}, "tax"),
        ({"ChargeCategory": "Purchase"}, "purchase"),
        ({"ChargeClass": "Correction", "BilledCost": "-0.10"}, "adjustment"),
        ({"BilledCost": "-0.10"}, "adjustment"),
    ],
)
def test_each_category_and_class_is_a_charge(tmp_path: Path, columns: dict[str, str], charge: str) -> None:
    assert one(tmp_path, columns)["charge"] == charge


def test_commitments_are_what_is_invoiced_or_spread_over_use(tmp_path: Path) -> None:
    covered = focus_row(BilledCost="0", EffectiveCost="2.00")
    assert [line["amount"] for line in read(tmp_path, covered).lines] == ["0"]
    assert [line["amount"] for line in read(tmp_path, covered, cost="effective").lines] == ["2.00"]


def test_equal_rows_add_up_exactly(tmp_path: Path) -> None:
    (line,) = read(tmp_path, *(focus_row(cost=cost) for cost in ("0.1", "0.2", "0.0000000000000001"))).lines
    assert (line["amount"], line["tokens"]) == ("0.3000000000000001", "3000000")


def test_other_services_are_left_out_and_their_days_are_zero(tmp_path: Path) -> None:
    bill = read(
        tmp_path,
        focus_row(ServiceName="Virtual Machines", day=DAY - timedelta(days=2), SkuMeter="D4s v5"),
        focus_row(ServiceName="Cognitive Services", SkuMeter="S1 Speech To Text"),
        focus_row(),
    )
    days = [(line["day"], line["amount"]) for line in bill.lines]
    assert days == [("2026-11-03", "2.50"), ("2026-11-01", "0"), ("2026-11-02", "0")]
    assert (bill.first_day, bill.end_day) == (date(2026, 11, 1), date(2026, 11, 4))


def test_a_model_in_a_mixed_service_counts(tmp_path: Path) -> None:
    assert one(tmp_path, {"ServiceName": "Cognitive Services"})["model"] == "gpt-4o"


@pytest.mark.parametrize(
    ("columns", "amount"),
    [
        ({"x_BilledCostInUsd": "2.70", "x_ListCostInUsd": "2.70"}, "2.70"),
        # 2.50 of the currency, 0.92 of which are a dollar.
        ({"x_CurrencyConversionRate": "0.92"}, "2.717391304348"),
    ],
)
def test_another_currency_is_read_where_the_row_has_its_rate(
    tmp_path: Path, columns: dict[str, str], amount: str
) -> None:
    line = one(tmp_path, {"BillingCurrency": "EUR", **columns})
    assert (line["amount"], line["currency"]) == (amount, "usd")


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"BillingCurrency": "EUR"}, r"line 2: BillingCurrency is EUR, and neither x_BilledCostInUsd nor"),
        ({"BillingCurrency": ""}, "BillingCurrency is empty"),
        ({"BilledCost": "much"}, "line 2: BilledCost is not a number: 'much'"),
        ({"BilledCost": "NaN"}, "BilledCost is not a number"),
        ({"BilledCost": ""}, "BilledCost is empty"),
        ({"ChargeCategory": "Gift"}, "ChargeCategory is 'Gift'"),
        ({"ChargeClass": "Guess"}, "ChargeClass is 'Guess'"),
        ({"ChargePeriodStart": "soon"}, "ChargePeriodStart is not a time: 'soon'"),
        ({"ChargePeriodStart": "2026-11-24"}, "after today"),
        ({"ProviderName": "Hosting Inc"}, "no row has a ProviderName of Microsoft, AWS or Google"),
    ],
)
def test_a_row_that_cannot_be_read_refuses_the_export(tmp_path: Path, columns: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        one(tmp_path, columns)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    row = focus_row()
    del row["BillingCurrency"], row["ChargeClass"]
    with pytest.raises(ConfigurationError, match="no column BillingCurrency, ChargeClass"):
        read(tmp_path, row)
    nameless = focus_row()
    del nameless["SkuMeter"]
    with pytest.raises(ConfigurationError, match="names no SKU"):
        read(tmp_path, nameless)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no column BilledCost"),
        (as_csv(focus_row()).encode() + b"1,2\n", "line 3: 2 values for 17 columns"),
        (as_csv(focus_row()).replace("Tags", "BilledCost").encode(), "a column twice: BilledCost"),
        (b"\x1f\x8bnot gzip", "cannot be read"),
        (b"PAR1not parquet", "cannot be read"),
        (b"BilledCost\xff", "cannot be read"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "export"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=problem):
        read_focus([path], today=TODAY)


def test_the_same_part_twice_is_refused(tmp_path: Path) -> None:
    first = write_csv(tmp_path / "part_0.csv", focus_row())
    again = write_csv(tmp_path / "part_1.csv", focus_row())
    with pytest.raises(ConfigurationError, match="they would count twice"):
        read_focus([first, again], today=TODAY)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_focus([tmp_path / "none.csv"], today=TODAY)


def test_a_parquet_file_is_read_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "export.parquet"
    rows = [typed(focus_row()) for _ in range(5_000)]
    parquet.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
    assert sum(1 for _ in read_rows([path])) == 5_000
    for bound, value, reason in (
        ("MAX_ROWS", 4_999, "5,000 rows, more than 4,999"),
        ("MAX_GROUP_BYTES", 1_000, "a group of its rows unpacks to more than 1,000 bytes"),
        ("MAX_UNPACKED_BYTES", 1_000, "it unpacks to more than 1,000 bytes"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(focus_files, bound, value)
            with pytest.raises(ConfigurationError, match=reason):
                list(read_rows([path]))


def test_a_parquet_file_of_kilobytes_that_repeats_a_long_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.parquet"
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), pa.array(["x" * 1024**2]))
    table = pa.Table.from_pylist([typed(focus_row())] * 5_000)
    index = table.schema.get_field_index("SkuMeter")
    parquet.write_table(table.set_column(index, "SkuMeter", texts), path, compression="zstd")
    assert path.stat().st_size < 100_000
    with pytest.raises(ConfigurationError, match="SkuMeter has a text of 1,048,576 bytes"):
        list(read_rows([path]))
