from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from ingest.billing.invoice import BadLine, read_invoice
from ingest.billing.provider_lines import Line, cost_line, store_lines
from ingest.errors import ConfigurationError
from tests.support.scripted_database import ScriptedDatabase

if TYPE_CHECKING:
    from pathlib import Path

TODAY = date(2026, 11, 23)


def read(tmp_path: Path, text: str) -> list[Line | BadLine]:
    path = tmp_path / "invoice.csv"
    path.write_bytes(text.encode())
    return list(read_invoice(path, today=TODAY))


def test_an_export_of_openais_dashboard_is_read(tmp_path: Path) -> None:
    header = (
        "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id,"
        "organization_id,organization_name"
    )
    lines = read(
        tmp_path,
        f"{header}\n"
        "1759622400,1759708800,2025-10-05T00:00:00+00:00,2025-10-06T00:00:00+00:00,0.8958740000000000,usd,"
        '"gpt-5-mini-2025-08-07, input",proj_a,org-x,Personal\n'
        "1759968000,1760054400,2025-10-09T00:00:00+00:00,2025-10-10T00:00:00+00:00,,,,,,\n",
    )
    assert lines == [
        {
            "provider": "openai",
            "day": "2025-10-05",
            "source": "import",
            "kind": "cost",
            "line_item": "gpt-5-mini-2025-08-07, input",
            "item": "input",
            "charge": "usage",
            "model": "gpt-5-mini-2025-08-07",
            "project_id": "proj_a",
            "service_tier": "",
            "currency": "usd",
            "amount": "0.8958740000000000",
            "quantity": None,
            "quantity_unit": None,
            "tokens": None,
            "list_price": None,
        },
        {
            "provider": "openai",
            "day": "2025-10-09",
            "source": "import",
            "kind": "cost",
            "amount": "0",
            "currency": "usd",
        },
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_each_delimiter_is_read(tmp_path: Path, delimiter: str) -> None:
    text = "\ufeffDate|Amount USD|Model|Quantity\r\n2026-11-01|$12.50|GPT-4o|1000\r\n\r\n".replace("|", delimiter)
    (line,) = read(tmp_path, text)
    assert isinstance(line, dict)
    assert [line[name] for name in ("day", "amount", "model", "quantity")] == ["2026-11-01", "12.50", "gpt-4o", "1000"]


@pytest.mark.parametrize(
    ("day", "read_as"),
    [
        ("1793491200", "2026-11-01"),
        ("20261101", "2026-11-01"),
        ("2026-11-01T23:30:00-05:00", "2026-11-02"),
        ("2026-11-01 10:00:00", "2026-11-01"),
    ],
)
def test_a_day_may_be_a_date_a_time_or_seconds(tmp_path: Path, day: str, read_as: str) -> None:
    (line,) = read(tmp_path, f"day,cost\n{day},1\n")
    assert isinstance(line, dict)
    assert line["day"] == read_as


def test_bad_lines_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    lines = read(
        tmp_path,
        "date,amount,currency,item\n"
        "2026-11-01,1,usd,a\n"
        "yesterday,1,usd,a\n"
        '2026-11-01,"1,234.50",usd,a\n'
        "2026-11-01,NaN,usd,a\n"
        "2026-11-01,1,dollars,a\n"
        "2026-11-24,1,usd,a\n"
        "2014-01-01,1,usd,a\n"
        "2026-11-01,,usd,a\n"
        "99999999999999999999,1,usd,a\n"
        "2026-11-01\n"
        "2026-11-02,-2,eur,credit\n",
    )
    assert [(line.number, line.reason) for line in lines if isinstance(line, BadLine)] == [
        (3, "not a day: 'yesterday'"),
        (4, "not an amount: '1,234.50'; write 1234.56"),
        (5, "not an amount below a billion: 'NaN'"),
        (6, "not a currency: 'dollars'"),
        (7, "the day 2026-11-24 is not between 2015-01-01 and today"),
        (8, "the day 2014-01-01 is not between 2015-01-01 and today"),
        (9, "not an amount: ''; write 1234.56"),
        (10, "not a day: '99999999999999999999'"),
    ]
    assert [line["amount"] for line in lines if isinstance(line, dict)] == ["1", "0", "-2"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no column for the day: one of date"),
        ("date,total\n", "no column for the amount: one of amount"),
        ("date,amount\n\xff\n", None),
        ('date,amount\n"2026-11-01,1\n', "cannot be read"),
    ],
)
def test_a_file_that_is_no_invoice_is_refused(tmp_path: Path, text: str, problem: str | None) -> None:
    path = tmp_path / "invoice.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=problem or "cannot be read"):
        list(read_invoice(path, today=TODAY))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.csv cannot be read"):
        list(read_invoice(tmp_path / "none.csv", today=TODAY))


def test_a_day_is_never_split_between_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    from decimal import Decimal

    monkeypatch.setattr("ingest.billing.provider_lines._LINES_A_CALL", 2)
    days = [3, 1, 1, 1, 2, 2, 3]
    lines = [cost_line(date(2026, 11, n), Decimal(1), source="api", line_item=str(i)) for i, n in enumerate(days)]
    database = ScriptedDatabase(record_provider_costs=[3, 2, 2])
    assert store_lines(database, lines) == 7
    calls = [arguments["rows"] for arguments in database.arguments_of("record_provider_costs")]
    assert [sorted({row["day"] for row in rows}) for rows in calls if isinstance(rows, list)] == [
        ["2026-11-01"], ["2026-11-02"], ["2026-11-03"],
    ]  # fmt: skip


def test_nothing_read_is_nothing_stored() -> None:
    database = ScriptedDatabase()
    assert store_lines(database, []) == 0
    assert database.called == []
