"""A read is typed where it is made."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ingest.database import JsonValue, fetch, parse
from ingest.documents.alerts import Alerts
from ingest.documents.series import Series
from ingest.documents.settings import Member
from ingest.errors import DatabaseError, DatabaseUnavailableError, UnexpectedResponseError
from tests.support.scripted_database import ScriptedDatabase


def test_a_document_comes_in_the_form_that_it_is_described_in() -> None:
    point: JsonValue = {"bucket_start": "2026-05-04T00:00:00+00:00", "cost": "0.000875", "new_key": 1}
    database = ScriptedDatabase(get_series=[{"series": [point]}])
    (found,) = fetch(database, Series, "get_series", filters={"bucket": "day"}).series
    assert found.cost == Decimal("0.000875")
    assert database.calls == [("get_series", {"filters": {"bucket": "day"}})]


def test_lists_and_plain_values_have_a_form_too() -> None:
    database = ScriptedDatabase(list_members=[[{"user_id": "user_a", "role": "ops"}]], record_usage=[3])
    assert fetch(database, list[Member], "list_members") == [Member(user_id="user_a", role="ops")]
    assert fetch(database, int, "record_usage") == 3


def test_an_unknown_form_is_one_error_that_names_the_function_and_at_most_three_fields() -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        fetch(ScriptedDatabase(get_alerts=[{"firing": [{}]}]), Alerts, "get_alerts")
    assert str(caught.value) == (
        "unexpected response from the database (get_alerts: firing.0.alert_id, firing.0.rule_name, firing.0.metric); "
        "app and migrations may be of different versions"
    )
    assert isinstance(caught.value, DatabaseError)
    assert not caught.value.retryable


@pytest.mark.parametrize("answer", [None, "secret", 7, []])
def test_an_answer_that_is_no_document_is_named_without_its_value(answer: str | int | list[str] | None) -> None:
    with pytest.raises(UnexpectedResponseError, match=r"\(get_series: Input should be") as caught:
        parse(Series, answer, "get_series")  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_a_failure_of_the_database_stays_what_it_is() -> None:
    with pytest.raises(DatabaseUnavailableError):
        fetch(ScriptedDatabase(get_series=[DatabaseUnavailableError("away")]), Series, "get_series")
