"""Imports bills from files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from ingest.billing.focus import read_focus
from ingest.billing.invoice import BadLine, read_invoice
from ingest.billing.provider_lines import OPENAI
from ingest.billing.reconcile import store_bill

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ingest.billing.focus import FocusCost
    from ingest.database import Database


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported.

    Attributes:
        providers: Whose bills, as calls name them.
        first_day: First UTC day as 2026-11-01; None where no line was good.
        end_day: First UTC day after them.
        bad_lines: Lines that were left out.
    """

    providers: tuple[str, ...]
    first_day: str | None
    end_day: str | None
    bad_lines: tuple[BadLine, ...] = ()


def import_invoice(database: Database, file: Path, *, today: date) -> Imported:
    """Store an invoice of OpenAI's.

    Raises:
        ConfigurationError: The file is no invoice.
    """
    read = list(read_invoice(file, today=today))
    bad = tuple(line for line in read if isinstance(line, BadLine))
    lines = [line for line in read if not isinstance(line, BadLine)]
    if not lines:
        return Imported((OPENAI,), None, None, bad)
    store_bill(database, lines)
    days = sorted(str(line["day"]) for line in lines)
    return Imported((OPENAI,), days[0], (date.fromisoformat(days[-1]) + timedelta(days=1)).isoformat(), bad)


def import_focus(database: Database, files: Sequence[Path], *, today: date, cost: FocusCost) -> Imported:
    """Store FOCUS exports; see `read_focus`.

    Raises:
        ConfigurationError: A file is no FOCUS export, or a row of it cannot be read; nothing is stored then.
    """
    bill = read_focus(files, today=today, cost=cost)
    store_bill(database, bill.lines)
    return Imported(bill.providers, bill.first_day.isoformat(), bill.end_day.isoformat())
