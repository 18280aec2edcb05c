"""The Alerts page: what ops do about an alert, and what everybody else cannot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from dashboard.figures import alert_words
from ingest.documents.alerts import AlertRule
from ingest.documents.settings import Budget

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]


def changes(fake: FakeDatabase) -> list[tuple[str, dict[str, Any]]]:
    return [(name, dict(arguments)) for name, arguments in fake.calls if not name.startswith(("get_", "find_"))]


def texts(app: AppTest) -> str:
    return "".join(element.proto.body for element in app.main.get("html"))


def test_ops_acknowledge_an_alert_with_a_note(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("alerts")
    app.checkbox(key="alerts_pick_4").check().run()
    app.text_input(key="alerts_note").set_value("on it").run()

    app.button(key="alerts_acknowledge").click().run()

    assert changes(fake) == [("acknowledge_selected_alerts", {"alert_ids": [4], "note": "on it"})]
    assert [toast.value for toast in app.toast] == ["Spend spike acknowledged"]
    assert not app.checkbox(key="alerts_pick_4").value


def test_all_that_match_are_acknowledged_at_once_or_all_but_one(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("alerts")
    app.checkbox(key="alerts_pick_all").check().run()
    assert app.checkbox(key="alerts_pick_3").value
    app.button(key="alerts_acknowledge").click().run()
    app.checkbox(key="alerts_pick_all").check().run()
    app.checkbox(key="alerts_pick_3").uncheck().run()
    app.button(key="alerts_acknowledge").click().run()

    assert [arguments["alert_ids"] for _, arguments in changes(fake)] == [[3, 4], [4]]


def test_a_single_alert_is_selected_by_itself(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fake._get_alerts

    def with_budget(**window: Any) -> Any:
        document = whole(**window)
        budget = {"metric": "budget_used", "evidence": {"budget": "All", "spent": "9", "amount": "10"}, "group_key": ""}
        return document | {"firing": [alert | budget for alert in document["firing"]]}

    fake.total = 1  # the alerts of a budget are one line
    monkeypatch.setattr(fake, "_get_alerts", with_budget)
    app = open_app("alerts")

    app.button(key="alerts_acknowledge").click().run()

    assert texts(app).count('title="Budget All"') == 1
    assert changes(fake) == [("acknowledge_selected_alerts", {"alert_ids": [3, 4], "note": ""})]


def test_an_alert_leads_to_the_calls_of_its_window(open_app: OpenApp) -> None:
    app = open_app("alerts")

    links = [link.proto.query_string for link in app.get("page_link") if link.proto.label == "Its calls"]

    assert links
    assert all("from=" in query and "period=custom" in query for query in links)


def test_the_list_is_searched_filtered_ordered_and_turned_by_the_database(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    fake.total = 60
    app = open_app("alerts", severity="critical", sort="newest")
    app.text_input(key="alerts_search").set_value(" chat ").run()
    app.multiselect(key="alerts_rule").set_value(["Spend spike"]).run()
    app.button(key="alerts_next").click().run()

    asked = [arguments["filters"] for name, arguments in fake.calls if name == "find_alerts"]
    assert asked[0] == {"state": "firing", "sort": "newest", "severity": ["critical"], "limit": "25", "offset": "0"}
    assert asked[-1] == {
        "state": "firing", "sort": "newest", "severity": ["critical"], "rule": ["Spend spike"], "text": "chat",
        "limit": "25", "offset": "25",
    }  # fmt: skip
    assert "26 to 50 of 60" in texts(app)
    assert app.query_params["rule"] == "Spend spike"
    app.button(key="alerts_clear").click().run()
    assert "rule" not in app.query_params
    assert "1 to 25 of 60" in texts(app)


def test_alerts_are_grouped_by_rule_and_a_rule_leads_to_its_alerts(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("alerts")
    app.toggle(key="alerts_by_rule").set_value(True).run()
    assert not app.exception
    assert "Worst: <b>$61.20</b>, threshold $50.00" in texts(app)
    app.checkbox(key="alerts_pick_rule_4_4").check().run()
    app.button(key="alerts_acknowledge").click().run()
    assert changes(fake) == [("acknowledge_selected_alerts", {"alert_ids": [4], "note": ""})]

    app.button(key="alerts_show_4_4").click().run()
    assert (app.toggle(key="alerts_by_rule").value, app.multiselect(key="alerts_rule").value) == (
        False,
        ["Spend spike"],
    )


def test_what_was_resolved_says_how_it_ended(open_app: OpenApp) -> None:
    app = open_app("alerts", state="resolved")
    assert "Recovered after 35 minutes" in texts(app)
    assert "Acknowledged by user_2kf81maria" in texts(app)
    assert not [box.key for box in app.checkbox if box.key]


@pytest.mark.parametrize("is_whole", [True, False])
def test_ops_silence_groups_or_the_whole_rule(open_app: OpenApp, fake: FakeDatabase, is_whole: bool) -> None:
    app = open_app("alerts")
    app.checkbox(key="alerts_pick_3").check().run()
    app.toggle(key="alerts_silence_whole").set_value(is_whole)
    app.selectbox(key="alerts_silence_for").set_value("4 hours")
    app.text_input(key="alerts_note").set_value("maintenance").run()

    app.button(key="alerts_silence").click().run()

    ((name, arguments),) = changes(fake)
    ends_at = datetime.fromisoformat(arguments.pop("ends_at"))
    assert (name, arguments) == (
        "silence_selected_alerts", {"alert_ids": [3], "whole_rules": is_whole, "note": "maintenance"}
    )  # fmt: skip
    assert timedelta(hours=3, minutes=55) < ends_at - datetime.now(UTC) <= timedelta(hours=4)


def test_ops_end_a_silence_and_send_a_dead_message_again(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("alerts")

    app.button(key="alerts_silence_end_5").click().run()
    app.button(key="alerts_resend_3").click().run()

    assert changes(fake) == [("end_silence", {"silence_id": 5}), ("resend_notification", {"notification_id": 3})]


def test_analysts_look_and_change_nothing(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "analyst"

    app = open_app("alerts")

    assert not app.exception
    assert "2 alerts are firing" in texts(app)
    buttons = [button.key for button in app.main.button if button.key and "alerts_" in button.key]
    assert buttons == ["alerts_clear"]  # of the filters
    assert not app.checkbox


def test_a_rule_that_fails_is_in_sight_and_so_are_groups_over_the_limit(open_app: OpenApp) -> None:
    app = open_app("alerts")

    assert "**Error burst** could not be evaluated" in app.error[0].value
    assert "the filter model takes a text" in app.error[0].value
    assert "3 more groups are in breach, beyond its limit of 50" in app.warning[0].value


def test_times_to_acknowledge_and_resolve_are_shown(open_app: OpenApp) -> None:
    app = open_app("alerts")

    assert [metric.value for metric in app.metric] == ["2", "4", "4 min 12 s", "41 min 30 s"]


def test_every_change_of_state_is_listed_with_its_evidence(open_app: OpenApp) -> None:
    table = open_app("alerts").dataframe[1].value

    assert list(table[["From", "To", "Value", "Threshold", "Sample"]].iloc[0]) == [
        "pending", "firing", "$61.20", "$50.00", "1,204"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (60, "1 minute"), (90, "90 s"), (150, "2 min 30 s"), (600, "10 minutes"), (5400, "90 minutes"),
        (7200, "2 hours"), (4000, "1 h 6 min"), (100_000, "1 d 3 h"), (2_592_000, "30 days"),
    ],
)  # fmt: skip
def test_a_length_reads_in_its_natural_units(seconds: int, words: str) -> None:
    assert alert_words.length_in_words(seconds) == words


def test_a_rule_says_everything_in_one_sentence() -> None:
    rule = AlertRule(
        rule_id=1, name="x", metric="spend", window_s=86_400, period="day", threshold=Decimal(20),
        critical_threshold=Decimal(100), group_by="user_id", scope={"user_id": ["a"]},
    )  # fmt: skip
    assert alert_words.describe_rule(rule) == ("Spend over $20.00 (critical $100.00) in a calendar day by user, user a")
    lag = rule.model_copy(update={"metric": "pipeline_lag_s", "comparator": "below", "group_by": None})
    assert alert_words.describe_rule(lag).startswith("Pipeline lag under")


def test_a_budget_says_its_steps() -> None:
    budget = Budget(budget_id=1, name="x", amount=Decimal(1000), steps=(Decimal("0.5"), Decimal(1)))
    assert alert_words.describe_budget(budget) == "$1,000.00 per month, notifies at 50%, 100%"


def test_a_threshold_is_typed_as_it_reads() -> None:
    assert alert_words.to_typed("error_rate", Decimal("0.075")) == "7.5"
    assert alert_words.to_typed("spend", None) == ""
    assert alert_words.moment_in_words(None, ZoneInfo("UTC")) == "—"


def test_who_looks_after_an_alert_and_how_long_it_is_silent_stand_beside_it(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = fake._get_alerts

    def acknowledged(**arguments: Any) -> Any:
        document = answer(**arguments)
        document["firing"][0] = document["firing"][0] | {
            "acknowledged_at": "2026-11-23T12:00:00Z", "acknowledged_by": "olga", "acknowledge_note": "on <it>",
            "silenced_until": "2026-11-23T14:00:00Z", "current_value": "70", "metric": "budget_used", "rule_id": None,
            "evidence": {"spent": "830", "amount": "1000", "explanation": "twice the usual"},
        }  # fmt: skip
        return document

    monkeypatch.setattr(fake, "_get_alerts", acknowledged)
    app = open_app("alerts")
    assert not app.exception
    shown = texts(app)
    for words in ("$830.00 of $1,000.00", "twice the usual", "“on &lt;it&gt;”", ", now "):
        assert words in shown
    assert "Acknowledged by olga" in shown
    assert "Silenced until 23 Nov 2026" in shown
