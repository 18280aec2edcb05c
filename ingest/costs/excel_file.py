"""A statement as an Excel workbook: a summary to read, and the lines to work with."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ingest.costs.columns import FIGURES, columns_of
from ingest.costs.wording import check_lines, facts_of, headline_of, notes_of
from ingest.documents.cells import count_digits, exact_text, safe_text
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.costs.columns import Column
    from ingest.costs.statement import CostStatement

__all__ = ["write_excel"]

# Excel keeps 15 digits of a number: what has more stands beside it as text.
_DIGITS: Final = 15
# A sheet of Excel has 1,048,576 rows: a title, a header and the totals take three.
_MOST_LINES: Final = 1_048_000
_MONEY: Final = "#,##0.00????;-#,##0.00????"
_COUNT: Final = "#,##0"
_INK: Final = "#1F2933"
_SHADE: Final = "#EEF1F4"
_WIDTHS: Final = {"text": 18, "count": 14, "money": 18}


def write_excel(statement: CostStatement) -> bytes:
    """Write the statement as a workbook with the sheets Summary and Lines.

    Money is numbers. Where Excel would round one, a column of the exact amounts as text stands beside it.

    Raises:
        ConfigurationError: XlsxWriter is not installed, or there are more lines than a sheet has rows.
    """
    try:
        import xlsxwriter
    except ImportError as error:
        raise ConfigurationError("Excel files need XlsxWriter: pip install 'treering[statements]'") from error
    if len(statement.lines) > _MOST_LINES:
        raise ConfigurationError("the statement has more lines than a sheet of Excel: choose csv or parquet")
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        book.set_properties({"title": f"Statement of AI costs, {statement.period}", "created": statement.generated_at})
        formats = _Formats(book)
        _write_summary(book.add_worksheet("Summary"), formats, statement)
        _write_lines(book.add_worksheet("Lines"), formats, statement)
    return file.getvalue()


class _Formats:
    """The looks of cells."""

    def __init__(self, book: Any) -> None:
        base = {"font_name": "Calibri", "font_size": 11, "font_color": _INK, "valign": "top"}
        self.title = book.add_format({**base, "font_size": 18, "bold": True})
        self.subtitle = book.add_format({**base, "font_color": "#52606D"})
        self.text = book.add_format(base)
        self.wrapped = book.add_format({**base, "text_wrap": True})
        self.bold = book.add_format({**base, "bold": True})
        head = {**base, "bold": True, "bg_color": _SHADE, "bottom": 1, "text_wrap": True}
        self.head = book.add_format(head)
        self.head_right = book.add_format({**head, "align": "right"})
        self.exact = book.add_format({**base, "align": "right", "font_color": "#52606D"})
        self.by_kind = {
            "text": self.text,
            "count": book.add_format({**base, "num_format": _COUNT}),
            "money": book.add_format({**base, "num_format": _MONEY}),
        }
        total = {**base, "bold": True, "top": 1, "bg_color": _SHADE}
        self.total = {
            "text": book.add_format(total),
            "count": book.add_format({**total, "num_format": _COUNT}),
            "money": book.add_format({**total, "num_format": _MONEY}),
        }
        self.total_exact = book.add_format({**total, "align": "right"})


def _write_summary(sheet: Any, formats: _Formats, statement: CostStatement) -> None:
    sheet.hide_gridlines(2)
    sheet.set_column(0, 0, 44)
    sheet.set_column(1, 6, 18)
    sheet.write_string(0, 0, "Statement of AI costs", formats.title)
    sheet.write_string(1, 0, statement.period, formats.bold)
    sheet.write_string(2, 0, headline_of(statement), formats.bold)
    row = 4
    for name, text in facts_of(statement):
        sheet.write_string(row, 0, name, formats.subtitle)
        sheet.write_string(row, 1, safe_text(text), formats.text)
        row += 1
    row = _write_totals(sheet, formats, statement, row + 1)
    row = _write_checks(sheet, formats, statement, row + 1)
    sheet.write_string(row + 1, 0, "Notes", formats.bold)
    for place, note in enumerate(notes_of(statement), row + 2):
        sheet.merge_range(place, 0, place, 6, safe_text(note), formats.wrapped)
        sheet.set_row(place, 32 if len(note) > 120 else 16)
    _print_on(sheet, statement)


def _write_totals(sheet: Any, formats: _Formats, statement: CostStatement, row: int) -> int:
    months = statement.months
    titles = ["US$ and counts", *(f"{month.month:%b %Y}" for month in months)]
    sums = [month.totals for month in months]
    if len(months) > 1:
        titles.append("Total")
        sums.append(statement.totals)
    for place, title in enumerate(titles):
        sheet.write_string(row, place, title, formats.head_right if place else formats.head)
    column = len(titles)
    exact = _has_lost_digits([figure.value(one) for one in sums for figure in FIGURES if figure.kind == "money"])
    if exact:
        sheet.write_string(row, column, "Exact" if len(months) == 1 else "Exact total", formats.head_right)
    for place, figure in enumerate(FIGURES, row + 1):
        sheet.write_string(place, 0, figure.title, formats.bold if figure.name == "certain_cost_usd" else formats.text)
        for side, one in enumerate(sums, 1):
            _write(sheet, place, side, figure.value(one), formats.by_kind[figure.kind])
        value = figure.value(statement.totals)
        if exact and isinstance(value, Decimal):
            sheet.write_string(place, column, exact_text(value), formats.exact)
    return row + 1 + len(FIGURES)


def _write_checks(sheet: Any, formats: _Formats, statement: CostStatement, row: int) -> int:
    rows = list(check_lines(statement))
    if not rows:
        return row
    titles = ("Bill of", "State", "Billed US$", "Recorded US$", "Difference US$", "Days compared", "Days without")
    for place, title in enumerate(titles):
        sheet.write_string(row, place, title, formats.head_right if place > 1 else formats.head)
    for place, (month, check) in enumerate(rows, row + 1):
        sheet.write_string(place, 0, f"{check.provider}, {month.month:%b %Y} (UTC)", formats.text)
        sheet.write_string(place, 1, check.state, formats.text)
        for side, amount in enumerate((check.billed_cost, check.recorded_cost, check.drift), 2):
            _write(sheet, place, side, amount, formats.by_kind["money"])
        for side, days in enumerate((check.days, check.other_days), 5):
            _write(sheet, place, side, days, formats.by_kind["count"])
    return row + 1 + len(rows)


def _write_lines(sheet: Any, formats: _Formats, statement: CostStatement) -> None:
    columns = columns_of(statement)
    values = [[column.value(line) for column in columns] for line in statement.lines]
    place = 0
    for side, column in enumerate(columns):
        cells = [row[side] for row in values]
        total = _total_of(column, statement)
        amounts = [cell for cell in (*cells, total) if isinstance(cell, Decimal)]
        _write_column(sheet, formats, place, column, cells, total)
        place += 1
        if _has_lost_digits(amounts):
            _write_exact(sheet, formats, place, column, cells, total)
            place += 1
    sheet.freeze_panes(1, 1 + len(statement.dimensions))
    sheet.set_row(0, 32)
    if statement.lines:
        sheet.autofilter(0, 0, len(statement.lines), place - 1)
    sheet.repeat_rows(0)
    _print_on(sheet, statement)


def _write_column(
    sheet: Any, formats: _Formats, place: int, column: Column, cells: Sequence[str | int | Decimal | None], total: Any
) -> None:
    is_text = column.kind == "text"
    longest = max((len(str(cell)) for cell in cells), default=0) if is_text else 0
    sheet.set_column(place, place, min(max(_WIDTHS[column.kind] if not is_text else 10, longest + 2), 60))
    sheet.write_string(0, place, column.title, formats.head if is_text else formats.head_right)
    for row, cell in enumerate(cells, 1):
        _write(sheet, row, place, cell, formats.by_kind[column.kind])
    end = len(cells) + 1
    if total is None or not cells:
        _write(sheet, end, place, "Total" if place == 0 else total, formats.total[column.kind])
        return
    from xlsxwriter.utility import xl_range

    # A formula, so that it follows a filter; its value is there for programs that do not calculate.
    formula = f"=SUBTOTAL(109,{xl_range(1, place, len(cells), place)})"
    sheet.write_formula(end, place, formula, formats.total[column.kind], float(total))


def _write_exact(
    sheet: Any, formats: _Formats, place: int, column: Column, cells: Sequence[str | int | Decimal | None], total: Any
) -> None:
    sheet.set_column(place, place, 30)
    sheet.write_string(0, place, f"{column.title}, exact", formats.head_right)
    for row, cell in enumerate(cells, 1):
        if isinstance(cell, Decimal):
            sheet.write_string(row, place, exact_text(cell), formats.exact)
    text = exact_text(total) if isinstance(total, Decimal) else ""
    sheet.write_string(len(cells) + 1, place, text, formats.total_exact)


def _total_of(column: Column, statement: CostStatement) -> int | Decimal | None:
    return next((figure.value(statement.totals) for figure in FIGURES if figure.name == column.name), None)


def _write(sheet: Any, row: int, place: int, value: str | int | Decimal | None, look: Any) -> None:
    if value is None:
        sheet.write_blank(row, place, None, look)
    elif isinstance(value, str):
        sheet.write_string(row, place, safe_text(value), look)
    else:
        sheet.write_number(row, place, value, look)


def _has_lost_digits(amounts: Sequence[int | Decimal | None]) -> bool:
    return any(isinstance(one, Decimal) and sum(count_digits(one)) > _DIGITS for one in amounts)


def _print_on(sheet: Any, statement: CostStatement) -> None:
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)
    sheet.set_footer(f"&L{statement.period} ({statement.timezone})&RPage &P of &N")
