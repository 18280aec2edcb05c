"""What the files of a statement hold: every amount to its last digit, sums that are totals, and no formulas."""

from __future__ import annotations

import csv
import io
import re
import warnings
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openpyxl
import pypdfium2
import pytest
from pyarrow import parquet

from ingest.costs.files import FORMATS, write_statement
from ingest.costs.focus_file import COLUMNS
from ingest.costs.pdf_file import MOST_LINES
from ingest.errors import ConfigurationError
from tests.support.statements import LONG, OCTOBER, UNPRICED, a_statement, figures

if TYPE_CHECKING:
    from ingest.costs.statement import CostStatement

# 0.25 + 1234567.000000000000123, and 0.5 + 0.0000003: by hand.
CERTAIN = Decimal("1234567.250000000000123")
FALLBACK = Decimal("0.5000003")
FORMULA_STARTS = tuple("=+-@\t\r\n")

# The columns that the specification demands of every data set, whatever the provider supports:
# https://focus.finops.org/focus-specification/v1-2/, feature level "Mandatory" of each column.
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "ServiceCategory", "ServiceName",
}  # fmt: skip
MAY_BE_NULL = {"ChargeClass", "CommitmentDiscountStatus", "InvoiceId", "SubAccountId", "SubAccountName", "Tags"}


def csv_rows(statement: CostStatement, file_format: Any = "csv") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(write_statement(statement, file_format).content.decode(), newline="")))


def workbook(statement: CostStatement) -> openpyxl.Workbook:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        return openpyxl.load_workbook(io.BytesIO(write_statement(statement, "xlsx").content))


def pdf_text(statement: CostStatement) -> str:
    with pypdfium2.PdfDocument(write_statement(statement, "pdf").content) as document:
        return "\n".join(page.get_textpage().get_text_range() for page in document)


def test_the_rows_of_a_csv_add_up_to_the_total_to_the_last_digit() -> None:
    rows = csv_rows(a_statement())
    assert sum(Decimal(row["certain_cost_usd"] or 0) for row in rows) == CERTAIN == a_statement().totals.cost
    assert sum(Decimal(row["fallback_cost_usd"]) for row in rows) == FALLBACK
    assert [row["unpriced_calls"] for row in rows] == ["1", "0", "0", "10"]
    assert [row["calls"] for row in rows] == ["10", "10", "10", "10"]


def test_an_unknown_cost_is_an_empty_cell_and_a_fallback_price_never_a_certain_one() -> None:
    rows = csv_rows(a_statement())
    assert [row["certain_cost_usd"] for row in rows] == [str(LONG), "0.25", "", ""]
    assert rows[0]["fallback_cost_usd"] == "0.0000003"  # no exponent, which spreadsheets round


def test_parquet_holds_decimals_and_nulls() -> None:
    table = parquet.read_table(io.BytesIO(write_statement(a_statement(), "parquet").content))
    costs = table.column("certain_cost_usd").to_pylist()
    assert str(table.schema.field("certain_cost_usd").type) == "decimal128(38, 18)"
    assert costs == [LONG, Decimal("0.25"), None, None]
    assert table.schema.metadata[b"treering.timezone"] == b"Europe/Berlin"


def test_parquet_widens_its_decimals_rather_than_round() -> None:
    tiny = Decimal("123456789012345678901.1234567890123456789012345")
    statement = a_statement(sums=[figures(cost=tiny)])
    table = parquet.read_table(io.BytesIO(write_statement(statement, "parquet").content))
    assert table.column("certain_cost_usd").to_pylist() == [tiny]


@pytest.mark.parametrize("file_format", ["csv", "focus"])
def test_no_cell_of_a_csv_begins_a_formula(file_format: str) -> None:
    statement = a_statement(dimensions=("provider", "feature", "model", "environment", "user_id"))
    cells = [cell for row in csv_rows(statement, file_format) for cell in row.values()]
    assert [cell for cell in cells if cell.startswith(FORMULA_STARTS)] == []
    assert '\'=HYPERLINK("http://evil")' in cells or file_format == "focus"


def test_no_name_in_a_workbook_is_a_formula_or_begins_one() -> None:
    statement = a_statement(dimensions=("provider", "feature", "model", "environment", "user_id"))
    book = workbook(statement)
    texts = [cell for sheet in book for row in sheet.iter_rows() for cell in row if isinstance(cell.value, str)]
    formulas = {cell.value for cell in texts if cell.data_type == "f"}
    assert formulas
    assert {formula for formula in formulas if not re.fullmatch(r"=SUBTOTAL\(109,[A-Z]+2:[A-Z]+5\)", formula)} == set()
    assert [cell.value for cell in texts if cell.data_type != "f" and cell.value.startswith(FORMULA_STARTS)] == []


def test_excel_has_numbers_with_the_exact_text_beside_where_digits_would_be_lost() -> None:
    rows = list(workbook(a_statement())["Lines"].iter_rows(values_only=True))
    head = list(rows[0])
    cost, exact = head.index("Certain: cost US$"), head.index("Certain: cost US$, exact")
    assert exact == cost + 1
    assert "Fallback: cost US$, exact" not in head  # nothing is lost there
    assert [row[cost] for row in rows[1:5]] == [float(LONG), 0.25, None, None]
    assert [row[exact] or None for row in rows[1:6]] == [str(LONG), "0.25", None, None, str(CERTAIN)]


def test_the_summary_says_what_the_statement_is() -> None:
    cells = [row for row in workbook(a_statement())["Summary"].iter_rows(values_only=True) if any(row)]
    texts = [str(cell) for row in cells for cell in row if cell is not None]
    assert texts[:2] == ["Statement of AI costs", "October 2026"]
    assert "$1,234,567.25 certain, $0.50 more at the fallback price, 11 calls of unknown cost" in texts
    assert "Europe/Berlin" in texts
    assert "01 Oct 2026, 00:00 to 01 Nov 2026, 00:00 (whole months)" in texts
    assert str(CERTAIN) in texts
    assert ("openai, Oct 2026 (UTC)", "reconciled", 10, 9.99, 0.01, 31, 0) in cells
    assert ("azure, Oct 2026 (UTC)", "not reconciled", None, None, None, 0, 31) in cells


def test_a_month_under_way_is_marked_to_date_in_every_file() -> None:
    statement = a_statement(is_ended=False, dimensions=("provider",))
    assert write_statement(statement, "xlsx").name == "treering-statement-2026-10_to_date.xlsx"
    assert {row["is_to_date"] for row in csv_rows(statement)} == {"yes"}
    assert "October 2026, to date" in pdf_text(statement)
    assert workbook(statement)["Summary"]["A2"].value == "October 2026, to date"


def test_a_pdf_names_the_zone_the_figures_and_the_bills_and_writes_out_what_its_font_lacks() -> None:
    text = pdf_text(a_statement(months=[date(2026, 9, 1), OCTOBER]))
    for part in (
        *("September to October 2026", "Europe/Berlin", "$2,469,134.50", "not reconciled", "<U+804A><U+5929>"),
        *("The cost of 22 unpriced calls is unknown", "Page 1 of 3"),
    ):
        assert part in text, part


def test_a_pdf_prints_the_costliest_lines_and_the_sum_of_the_others() -> None:
    text = pdf_text(a_statement(sums=[figures(cost=Decimal(1))] * (MOST_LINES + 20)))
    assert "20 more" in text
    assert "$520.00" in text
    assert "$20.00" in text


def test_focus_has_the_columns_that_the_specification_demands_and_no_null_where_it_forbids_one() -> None:
    rows = csv_rows(a_statement(dimensions=("provider", "feature", "model", "environment")), "focus")
    assert list(rows[0]) == list(COLUMNS)
    assert set(COLUMNS) >= MANDATORY
    assert all(name.startswith("x_") or name[0].isupper() for name in COLUMNS)
    empty = {name for row in rows for name, cell in row.items() if not cell}
    assert {name for name in empty if not name.startswith("x_")} <= MAY_BE_NULL
    assert sum(Decimal(row["BilledCost"]) for row in rows) == CERTAIN
    assert sum(Decimal(row["x_FallbackCost"]) for row in rows) == FALLBACK
    assert {row["ChargePeriodStart"] for row in rows} == {"2026-09-30T22:00:00Z"}  # midnight in Berlin
    assert [row["x_CostCertainty"] for row in rows] == ["partly certain", "certain", "not certain", "not certain"]
    assert [row["x_UnpricedCallCount"] for row in rows] == ["1", "0", "0", "10"]
    assert all(row["ChargeDescription"].isascii() for row in rows)


def test_focus_needs_the_provider() -> None:
    with pytest.raises(ConfigurationError, match="by provider"):
        write_statement(a_statement(), "focus")


def test_every_format_writes_a_statement_without_any_line() -> None:
    statement = a_statement(dimensions=("provider",), sums=[])
    assert statement.totals.cost == 0
    assert all(write_statement(statement, name).content for name in FORMATS)


def test_a_statement_of_unpriced_calls_has_no_cost_rather_than_none_spent() -> None:
    statement = a_statement(sums=[UNPRICED])
    assert statement.totals.cost is None
    assert "— certain, 10 calls of unknown cost" in pdf_text(statement)
