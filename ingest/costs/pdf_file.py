"""A statement as a PDF of A4 pages: figures, bills, lines and notes."""

from __future__ import annotations

import html
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ingest.costs.columns import FIGURES
from ingest.costs.statement import DIMENSIONS, add_figures
from ingest.costs.wording import check_lines, facts_of, headline_of, notes_of
from ingest.documents.names import visible_name
from ingest.documents.words import DASH, MINUS, format_exact_usd, format_usd, format_usd_column
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.costs.statement import CostStatement
    from ingest.documents.statement import StatementFigures

__all__ = ["write_pdf"]

MOST_LINES: Final = 500
"""Lines that are printed; what the others come to together is one more, so that the sum stays right."""

_INK: Final = "#1F2933"
_FAINT: Final = "#52606D"
_SHADE: Final = "#EEF1F4"
_RULE: Final = "#CBD2D9"
_SPACE: Final = "\u00a0"  # does not break
_LONGEST_NAME: Final = 60
_FOOT: Final = 51.4  # points: the margin and the frame's padding
_SHOWN: Final = (
    "calls",
    "certain_cost_usd",
    "fallback_cost_usd",
    "unpriced_calls",
    "prompt_tokens",
    "completion_tokens",
)


def write_pdf(statement: CostStatement) -> bytes:
    """Write the statement as a PDF.

    Raises:
        ConfigurationError: reportlab is not installed.
    """
    try:
        from reportlab.lib.pagesizes import A4, landscape
        from reportlab.lib.units import mm
        from reportlab.platypus import KeepTogether, PageBreak, Paragraph, SimpleDocTemplate, Spacer
    except ImportError as error:
        raise ConfigurationError("PDF files need reportlab: pip install 'treering[statements]'") from error
    file = io.BytesIO()
    document = SimpleDocTemplate(
        file,
        pagesize=landscape(A4),
        leftMargin=16 * mm,
        rightMargin=16 * mm,
        topMargin=15 * mm,
        bottomMargin=17 * mm,
        title=f"Statement of AI costs, {statement.period}",
        author="Treering",
    )
    styles = _Styles()
    story: list[Any] = [
        Paragraph("Statement of AI costs", styles.title),
        Paragraph(_text(statement.period), styles.subtitle),
        Paragraph(_text(headline_of(statement)), styles.headline),
        _facts(statement, styles),
        Spacer(1, 4 * mm),
        _totals(statement, styles),
    ]
    if any(check_lines(statement)):
        story += [Paragraph("The providers' bills", styles.heading), _checks(statement, styles)]
    notes = [Paragraph(_text(note), styles.note) for note in notes_of(statement)]
    story += [KeepTogether([Paragraph("Notes", styles.heading), *notes]), PageBreak()]
    story += [Paragraph("Lines", styles.heading), _lines(statement, styles, document.width)]
    document.build(story, canvasmaker=_numbered(statement))
    return file.getvalue()


class _Styles:
    """The looks of text."""

    def __init__(self) -> None:
        from reportlab.lib.colors import HexColor
        from reportlab.lib.enums import TA_RIGHT
        from reportlab.lib.styles import ParagraphStyle

        plain = {"fontName": "Helvetica", "fontSize": 8.5, "leading": 11, "textColor": HexColor(_INK)}
        bold = {**plain, "fontName": "Helvetica-Bold"}
        self.cell = ParagraphStyle("cell", **plain, wordWrap="CJK")
        self.right = ParagraphStyle("right", **plain, alignment=TA_RIGHT)
        self.bold = ParagraphStyle("bold", **bold)
        self.bold_right = ParagraphStyle("bold_right", **bold, alignment=TA_RIGHT)
        self.faint = ParagraphStyle("faint", **{**plain, "textColor": HexColor(_FAINT)})
        self.note = ParagraphStyle("note", **plain, spaceAfter=2)
        self.heading = ParagraphStyle(
            "heading", **{**bold, "fontSize": 11, "leading": 14}, spaceBefore=10, spaceAfter=4
        )
        self.title = ParagraphStyle("title", **{**bold, "fontSize": 18, "leading": 22})
        self.headline = ParagraphStyle("headline", **{**bold, "fontSize": 13, "leading": 18}, spaceAfter=6)
        self.subtitle = ParagraphStyle("subtitle", **{**plain, "fontSize": 12, "leading": 16}, spaceAfter=6)


def _facts(statement: CostStatement, styles: _Styles) -> Any:
    from reportlab.platypus import Table

    rows = [[_cell(name, styles.faint), _cell(text, styles.cell)] for name, text in facts_of(statement)]
    return Table(rows, colWidths=(80, 560), hAlign="LEFT", style=[("LEFTPADDING", (0, 0), (0, -1), 0), *_tight()])


def _totals(statement: CostStatement, styles: _Styles) -> Any:
    months = statement.months
    sums = [month.totals for month in months]
    titles = [f"{month.month:%b %Y}" for month in months]
    if len(months) > 1:
        sums.append(statement.totals)
        titles.append("Total")
    rows = [["", *titles, *(["Exact"] if len(months) == 1 else [])]]
    for figure in FIGURES:
        values = [figure.value(one) for one in sums]
        row = [
            f"{_SPACE * 3}{figure.title}" if figure.title.startswith("of which") else figure.title,
            *map(_amount, values),
        ]
        if len(months) == 1:
            row.append(format_exact_usd(values[0]) if isinstance(values[0], Decimal) else "")
        rows.append(row)
    widths = [170, *[max(62, min(110, 560 // len(rows[0])))] * len(titles), *([130] if len(months) == 1 else [])]
    return _table(rows, styles, widths, texts=1, bold_rows=(3,))


def _checks(statement: CostStatement, styles: _Styles) -> Any:
    rows = [["Bill of", "Month (UTC)", "State", "Billed", "Recorded", "Difference", "Days compared", "Days without"]]
    for month, check in check_lines(statement):
        amounts = [format_usd(one) for one in (check.billed_cost, check.recorded_cost, check.drift)]
        rows.append(
            [check.provider, f"{month.month:%b %Y}", check.state, *amounts, f"{check.days}", f"{check.other_days}"]
        )
    return _table(rows, styles, [90, 70, 100, 85, 85, 85, 80, 80], texts=3)


def _lines(statement: CostStatement, styles: _Styles, width: float) -> Any:
    figures = [figure for figure in FIGURES if figure.name in _SHOWN]
    titles = ["Month", *(DIMENSIONS[name] for name in statement.dimensions), *(_short(one.title) for one in figures)]
    shown = list(statement.lines[:MOST_LINES])
    hidden = statement.lines[MOST_LINES:]
    names = [[f"{line.month:%Y-%m}", *map(_name, line.names)] for line in shown]
    sums: list[StatementFigures] = [line.figures for line in shown]
    blank = [""] * len(statement.dimensions)
    if hidden:
        names.append([f"{len(hidden):,} more", *blank])
        sums.append(add_figures(line.figures for line in hidden))
    names.append(["Total", *blank])
    sums.append(statement.totals)
    columns = [_column([figure.value(one) for one in sums]) for figure in figures]
    rows = [titles, *([*name, *row] for name, row in zip(names, zip(*columns, strict=True), strict=True))]
    rest = width - 52 - 76 * len(figures)
    widths = [52.0, *[max(70.0, rest / max(1, len(blank)))] * len(blank), *[76.0] * len(figures)]
    scale = min(1.0, width / sum(widths))
    return _table(rows, styles, [one * scale for one in widths], texts=1 + len(blank), bold_rows=(len(rows) - 1,))


def _table(
    rows: Sequence[Sequence[str]],
    styles: _Styles,
    widths: Sequence[float],
    *,
    texts: int,
    bold_rows: tuple[int, ...] = (),
) -> Any:
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import Table

    def look(row: int, place: int) -> Any:
        if row == 0 or row in bold_rows:
            return styles.bold if place < texts else styles.bold_right
        return styles.cell if place < texts else styles.right

    cells = [[_cell(text, look(row, place)) for place, text in enumerate(line)] for row, line in enumerate(rows)]
    style = [
        ("BACKGROUND", (0, 0), (-1, 0), HexColor(_SHADE)),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, HexColor(_RULE)),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        *_tight(),
    ]
    return Table(cells, colWidths=list(widths), repeatRows=1, hAlign="LEFT", style=style)


def _tight() -> list[Any]:
    return [("TOPPADDING", (0, 0), (-1, -1), 2), ("BOTTOMPADDING", (0, 0), (-1, -1), 2)]


def _numbered(statement: CostStatement) -> Callable[..., Any]:
    """Return a canvas that writes the page's number and how many there are below each page."""
    from reportlab.lib.colors import HexColor
    from reportlab.pdfgen.canvas import Canvas

    class Numbered(Canvas):  # type: ignore[misc]
        """Keeps the pages until their number is known."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._kept: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 -- reportlab's name
            self._kept.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._kept, 1):
                self.__dict__.update(page)
                width, _ = self._pagesize
                self.setFont("Helvetica", 7.5)
                self.setFillColor(HexColor(_FAINT))
                self.drawString(_FOOT, 26, f"Treering · {statement.period} ({statement.timezone}) · US dollars")
                self.drawRightString(width - _FOOT, 26, f"Page {number} of {len(self._kept)}")
                super().showPage()
            super().save()

    return Numbered


def _column(values: Sequence[int | Decimal | None]) -> list[str]:
    if any(isinstance(value, Decimal) for value in values):
        *lines, total = [value if isinstance(value, Decimal) else None for value in values]
        texts = [*format_usd_column(lines, total), *format_usd_column([total], beside=lines)]
        return ["$0" if value == 0 else text for value, text in zip(values, texts, strict=True)]
    return [DASH if value is None else f"{value:,}" for value in values]


def _amount(value: int | Decimal | None) -> str:
    return format_usd(value) if value is None or isinstance(value, Decimal) else f"{value:,}"


def _short(title: str) -> str:
    return title.replace(" US$", "").replace(": ", " ")


def _name(name: str) -> str:
    shown = visible_name(name) if name else "(none)"
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"


def _cell(text: str, look: Any) -> Any:
    from reportlab.platypus import Paragraph

    return Paragraph(_text(text), look)


def _text(text: str) -> str:
    """Return text for a paragraph: nothing of it is markup; signs that the font lacks are written as their number.

    The font has no minus sign; a hyphen stands for it.
    """
    text = text.replace(MINUS, "-")
    drawn = "".join(sign if _is_drawn(sign) else f"<U+{ord(sign):04X}>" for sign in text)
    return html.escape(drawn)


def _is_drawn(sign: str) -> bool:
    try:
        sign.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return sign.isprintable() or sign == _SPACE
