"""Lines of a bill: stored once, exactly, or refused."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import InvalidArgumentError
from tests.db.billing.bills import DAY, billed, counted, reconcile, record

if TYPE_CHECKING:
    from ingest.database import Database
    from tests.support.doors import Door


def test_the_same_answer_again_changes_nothing(service_db: Database) -> None:
    lines = [billed("1.5"), billed("2.5", "gpt-4o-2024-08-06, output"), counted("gpt-4o", 3)]
    assert record(service_db, *lines) == 3
    assert record(service_db, *lines) == 3
    assert reconcile(service_db)["totals"]["billed_cost"] == "4.0"


def test_a_line_that_the_provider_took_back_is_gone(service_db: Database) -> None:
    record(service_db, billed("1.5"), billed("2.5", "gpt-4o, output"), billed("7", day=DAY + timedelta(days=1)))
    record(service_db, billed("1.25"))
    document = reconcile(service_db, 2)
    assert [day["billed_cost"] for day in document["days"]] == ["1.25", "7"]


def test_equal_lines_of_one_answer_add_up(direct: Door) -> None:
    service = direct.service()
    assert record(service, billed("0.1"), billed("0.2"), billed("0.4", project_id="proj_a")) == 2
    assert reconcile(service)["totals"]["billed_cost"] == "0.7"


def test_amounts_are_stored_with_every_digit(service_db: Database) -> None:
    digits = "0.123456789012345678901234567890123456789"
    record(service_db, billed(digits))
    assert reconcile(service_db)["totals"]["billed_cost"] == digits


WRONG: tuple[Any, ...] = (
    billed("1") | {"source": "hearsay"},
    billed("1") | {"kind": "guess"},
    billed("1") | {"day": None},
    billed("1") | {"currency": "dollars"},
    billed("1") | {"amount": None},
    billed("1") | {"amount": "1e9"},
    counted("gpt-4o", -1),
    "text",
)


def test_a_line_that_cannot_be_is_refused_and_nothing_of_its_call_is_stored(direct: Door) -> None:
    service = direct.service()
    record(service, billed("1"))
    for line in WRONG:
        with pytest.raises(InvalidArgumentError):
            record(service, billed("2"), line)
    with pytest.raises(InvalidArgumentError):
        service.call("record_provider_costs", rows={"day": "2026-05-04"})
    assert reconcile(service)["totals"]["billed_cost"] == "1"
