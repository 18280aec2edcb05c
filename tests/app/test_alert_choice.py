"""Which alerts are asked for, as the address and the database hear it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dashboard.panels import alert_list
from dashboard.reads.viewer import Viewer
from dashboard.selection.alert_choice import AlertChoice, parse_choice
from dashboard.selection.filters import Window
from ingest.documents.alerts import Alert, AlertList


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


def test_a_file_holds_every_page_of_what_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    all_of_them = [
        Alert(alert_id=number, rule_name="Spend", metric="spend", state="firing", started_at=moment)
        for number in range(405)
    ]

    def find(viewer: Viewer, window: Window) -> AlertList:
        assert viewer.user_id == "olga"
        place = dict(window.filters)
        start, size = int(str(place["offset"])), int(str(place["limit"]))
        return AlertList(total=405, alerts=tuple(all_of_them[start : start + size]))

    monkeypatch.setattr(alert_list, "find_alerts", find)
    found = alert_list.read_all(Viewer("olga", "Olga"), AlertChoice(page=3), Window(moment, moment))
    assert found == all_of_them
