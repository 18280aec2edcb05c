"""Terms of contracts: appended and ended by ops, read by analysts, applied to sums by day through both doors."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from ingest.prices.terms import read_statement, read_terms
from tests.support.events import NOON, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door

DAY = NOON.date()
END = DAY + timedelta(days=3)
DISCOUNT: dict[str, JsonValue] = {
    "kind": "discount", "provider": " OpenAI", "percent": "12.500000000000000001", "valid_from": DAY.isoformat(),
    "source": "contract 7",
}  # fmt: skip


def add(database: Database, **term: JsonValue) -> int:
    document = database.call("add_term", term={"source": "contract 7", "valid_from": DAY.isoformat(), **term})
    assert isinstance(document, dict)
    assert isinstance(document["term_id"], int)
    return document["term_id"]


def test_a_term_comes_back_as_it_was_appended(service_db: Database) -> None:
    service_db.call("add_term", term=DISCOUNT)
    (found,) = read_terms(service_db).terms
    assert (found.kind, found.provider, found.model, found.percent) == (
        "discount", "openai", None, Decimal("12.500000000000000001"),
    )  # fmt: skip
    assert (found.valid_from, found.valid_to, found.created_by) == (DAY, None, "service_role")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"colour": "red"}, "unknown key colour"),
        ({"percent": 12.5}, "percent must be a decimal as text"),
        ({"percent": "0"}, "above 0 to 100 percent"),
        ({"percent": "100.1"}, "above 0 to 100 percent"),
        ({"percent": None}, "figures of its kind"),
        ({"amount": "3"}, "figures of its kind"),
        ({"kind": "gift"}, "figures of its kind"),
        ({"valid_to": DAY.isoformat()}, "ends after it begins"),
        ({"source": None}, "null value"),
        ({"valid_from": "tomorrow week"}, "date"),
    ],
)
def test_a_wrong_term_is_refused(shared_db: Database, change: dict[str, JsonValue], reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        shared_db.call("add_term", term={**DISCOUNT, **change})
    assert read_terms(shared_db).terms == ()


def test_only_ops_change_terms_and_analysts_read_them(service_db: Database, viewer: Callable[[str], Database]) -> None:
    service_db.call("add_member", user_id="user_ana", role="analyst")
    service_db.call("add_member", user_id="user_ops", role="ops")
    term_id = add(viewer("user_ops"), kind="discount", percent="5")
    assert [term.created_by for term in read_terms(viewer("user_ana")).terms] == ["user_ops"]
    for person in ("user_ana", "user_x"):
        with pytest.raises(PermissionDeniedError):
            add(viewer(person), kind="discount", percent="5")
        with pytest.raises(PermissionDeniedError):
            viewer(person).call("end_term", term_id=term_id, valid_to=END.isoformat())
    with pytest.raises(PermissionDeniedError):
        read_terms(viewer("user_x"))
    with pytest.raises(PermissionDeniedError):
        viewer("user_x").call("get_cost_sums", from_day=DAY.isoformat(), to_day=END.isoformat())


def test_strangers_see_no_terms(anonymous: Database) -> None:
    with pytest.raises(PermissionDeniedError):
        anonymous.call("get_terms")


def test_the_last_end_of_a_term_counts(service_db: Database) -> None:
    term_id = add(service_db, kind="discount", percent="5")
    for days, reason in ((2, "typing error"), (1, "really")):
        service_db.call("end_term", term_id=term_id, valid_to=(DAY + timedelta(days)).isoformat(), reason=reason)
    (found,) = read_terms(service_db).terms
    assert (found.valid_to, found.end_reason, found.ended_by) == (DAY + timedelta(1), "really", "service_role")
    with pytest.raises(InvalidArgumentError, match="there is no term 99"):
        service_db.call("end_term", term_id=99, valid_to=END.isoformat())


def test_a_late_term_changes_what_is_due_and_no_recorded_cost(service_db: Database) -> None:
    store(
        service_db,
        usage_event(estimated_cost="0.000875"),
        usage_event(estimated_cost="10", created_at=NOON + timedelta(days=1), model="o3"),
        usage_event(estimated_cost="7", cost_source="fallback", model="gpt-next"),
        usage_event(estimated_cost="5", environment="demo"),
    )
    before = read_statement(service_db, DAY, END)
    assert (before.list_cost, before.net, before.due) == (Decimal("10.000875"),) * 3
    add(service_db, kind="discount", model="o3", percent="20")
    add(service_db, kind="credit", amount="1.5", provider="openai")
    after = read_statement(service_db, DAY, END)
    # 10 less 20 % is 8; with 0.000875 that is 8.000875, of which 1.5 come from the credit.
    assert (after.list_cost, after.discount, after.net, after.drawn, after.due) == tuple(
        map(Decimal, ("10.000875", "2", "8.000875", "1.5", "6.500875"))
    )
    assert read_statement(service_db, DAY, END, []).net == before.net


def test_an_ended_term_applies_no_more(service_db: Database) -> None:
    store(service_db, usage_event(estimated_cost="10"))
    term_id = add(service_db, kind="discount", percent="20")
    service_db.call("end_term", term_id=term_id, valid_to=DAY.isoformat())
    assert read_statement(service_db, DAY, END).discount == 0


def test_a_day_is_of_utc(service_db: Database) -> None:
    midnight = NOON.replace(hour=0)
    for moment in (midnight - timedelta(seconds=1), midnight):
        store(service_db, usage_event(estimated_cost="1", created_at=moment))
    assert [line.day for line in read_statement(service_db, DAY - timedelta(1), END).lines] == [DAY - timedelta(1), DAY]


@pytest.mark.parametrize(("from_day", "to_day"), [(DAY, DAY), (date(2020, 1, 1), DAY)])
def test_a_range_without_end_is_refused(direct: Door, from_day: date, to_day: date) -> None:
    with pytest.raises(InvalidArgumentError, match="1,100 days"):
        direct.service().call("get_cost_sums", from_day=from_day.isoformat(), to_day=to_day.isoformat())
