"""Writes a statement as a file of any format, and notes in the database that it was handed out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ingest.costs.statement import CostStatement
    from ingest.database import Argument, Database

__all__ = ["FORMATS", "Format", "StatementFile", "hand_out", "write_statement"]

Format = Literal["xlsx", "csv", "parquet", "pdf", "focus"]
Via = Literal["app", "command", "schedule"]


@dataclass(frozen=True, slots=True)
class StatementFile:
    """A file of a statement.

    Attributes:
        name: Its name.
        mime: Its media type.
        content: Its bytes.
    """

    name: str
    mime: str
    content: bytes


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    ending: str
    mime: str


FORMATS: Final[Mapping[Format, _Kind]] = {
    "xlsx": _Kind("Excel", "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    "pdf": _Kind("PDF", "pdf", "application/pdf"),
    "csv": _Kind("CSV", "csv", "text/csv"),
    "parquet": _Kind("Parquet", "parquet", "application/vnd.apache.parquet"),
    "focus": _Kind("FOCUS 1.2 (CSV)", "focus.csv", "text/csv"),
}


def write_statement(statement: CostStatement, file_format: Format) -> StatementFile:
    """Write a statement.

    Raises:
        ConfigurationError: The library of the format is not installed, or the statement does not fit the format.
    """
    kind = FORMATS[file_format]
    content = _writer(file_format)(statement)
    return StatementFile(f"treering-statement-{statement.name}.{kind.ending}", kind.mime, content)


def hand_out(
    database: Database, statement: CostStatement, file_format: Format, *, via: Via, exported_by: str | None = None
) -> StatementFile:
    """Write a statement and note who got it; nothing is handed out that could not be noted.

    Args:
        database: Opened as whoever gets the file.
        statement: What to write.
        file_format: Of the file.
        via: Through what it leaves.
        exported_by: Who runs the command; ignored where the database knows the person.
    """
    file = write_statement(statement, file_format)
    export: dict[str, Argument] = {
        "via": via,
        "kind": "focus" if file_format == "focus" else "statement",
        "format": "csv" if file_format == "focus" else file_format,
        "from_time": statement.months[0].from_time.isoformat(),
        "to_time": statement.months[-1].to_time.isoformat(),
        "timezone": statement.timezone,
        "dimensions": list(statement.dimensions),
        "filters": dict(statement.filters),
        "row_count": len(statement.lines),
        "sha256": hashlib.sha256(file.content).hexdigest(),
    }
    database.call("log_export", export=export if exported_by is None else {**export, "exported_by": exported_by})
    return file


def _writer(file_format: Format) -> Callable[[CostStatement], bytes]:
    """Return what writes the format; each loads its library when it is asked for."""
    from ingest.costs import excel_file, flat_files, focus_file, pdf_file

    return {
        "xlsx": excel_file.write_excel,
        "pdf": pdf_file.write_pdf,
        "csv": flat_files.write_csv,
        "parquet": flat_files.write_parquet,
        "focus": focus_file.write_focus,
    }[file_format]
