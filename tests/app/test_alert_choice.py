"""Which alerts are asked for, as the address and the database hear it."""

from __future__ import annotations

import pytest

from dashboard.selection.alert_choice import AlertChoice, parse_choice


def test_an_address_says_the_whole_choice_and_reads_the_same() -> None:
    choice = AlertChoice("resolved", ("critical",), ("Spend", "Errors"), ("user_1",), "note", "oldest", is_by_rule=True)
    query = {
        "state": "resolved", "severity": ["critical"], "rule": ["Spend", "Errors"], "of": ["user_1"],
        "search": "note", "sort": "oldest", "by": "rule",
    }  # fmt: skip
    assert choice.to_query() == query
    assert parse_choice({name: [value] if isinstance(value, str) else value for name, value in query.items()}) == choice
    assert AlertChoice().to_query() == {}


@pytest.mark.parametrize(
    "query",
    [
        {"state": ["all"]}, {"sort": ["price"]}, {"severity": ["page"]}, {"search": ["x" * 201]}, {"of": ["\x00"]},
        {"by": ["user"]},
    ],
)  # fmt: skip
def test_what_an_address_says_wrong_is_left_out(query: dict[str, list[str]]) -> None:
    assert parse_choice(query) == AlertChoice()


def test_another_choice_begins_with_its_first_page() -> None:
    third = AlertChoice(search="chat", page=2)
    assert dict(third.filters())["offset"] == "50"
    assert third.changed(sort="rule").page == 0
    assert third.cleared() == AlertChoice()
    # A file of all that match reads alerts, not rules, from any place on.
    assert dict(AlertChoice(is_by_rule=True).filters(200, 400)) == {
        "state": "firing", "sort": "urgent", "limit": "200", "offset": "400",
    }  # fmt: skip
