"""Each page, filled, empty, failing, and as a member sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.panels import empty
from dashboard.panels import frame as frame_of_pages
from ingest.documents.calls import Call
from ingest.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    FunctionNotFoundError,
    InvalidArgumentError,
    PermissionDeniedError,
    TreeringError,
)

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]
FIGURES = ("overview", "usage", "costs", "performance")
PAGES = (*FIGURES, "customers", "calls", "alerts", "settings")


def texts(app: AppTest) -> str:
    bodies = (str(element.proto.body) for element in app.main.get("html"))
    return "\n".join(body for body in bodies if not body.startswith("<style>"))


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def address(app: AppTest) -> dict[str, list[str]]:
    return {key: value if isinstance(value, list) else [value] for key, value in app.query_params.items()}


def last_call(fake: FakeDatabase, function: str) -> dict[str, Any]:
    return next(dict(arguments) for name, arguments in reversed(fake.calls) if name == function)


@pytest.mark.parametrize("page", PAGES)
def test_a_filled_page_runs_without_an_error(open_app: OpenApp, page: str) -> None:
    app = open_app(page)
    assert not app.exception
    assert app.title[0].value == page.capitalize()


@pytest.mark.parametrize("page", FIGURES)
@pytest.mark.parametrize("period", ["hour", "day", "month", "quarter"])
@pytest.mark.dated
def test_each_period_draws(open_app: OpenApp, page: str, period: str) -> None:
    app = open_app(page, period=period)
    assert not app.exception
    assert app.metric


def test_the_overview_shows_what_was_spent(open_app: OpenApp) -> None:
    app = open_app()
    shown = metrics(app)

    assert list(shown) == ["Spend, 7 days", "Requests", "Tokens", "Error rate", "Latency p90"]
    assert "$38.41 today" in texts(app)
    assert "$911.21</a> spent in" in texts(app)


def test_a_total_says_how_much_of_it_is_not_certain(open_app: OpenApp) -> None:
    assert "at fallback price · 0.40% unpriced · 2.1% estimated" in texts(open_app("costs"))


def test_the_style_is_an_element_that_a_toast_cannot_replace(open_app: OpenApp) -> None:
    styles = [element.proto.body for element in open_app().main.get("html") if ".tr-headline" in element.proto.body]
    assert len(styles) == 1


def test_an_unknown_cost_is_a_dash(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.is_unpriced = True

    overview, costs = open_app(), open_app("costs")

    assert not overview.exception
    assert metrics(overview)["Spend, 7 days"] == "—"
    assert "— today" in texts(overview)
    assert {metrics(costs)[label] for label in ("Spend", "Cost per request", "Cost per million tokens")} == {"—"}


@pytest.mark.parametrize("trend", ["Spend", "Requests", "Tokens"])
def test_the_trend_can_be_switched(open_app: OpenApp, trend: str) -> None:
    app = open_app()

    app.segmented_control(key="overview_trend").set_value(trend).run()

    assert not app.exception


@pytest.mark.parametrize("page", [*FIGURES, "customers"])
def test_an_empty_database_says_how_to_record_the_first_call(open_app: OpenApp, fake: FakeDatabase, page: str) -> None:
    fake.is_empty, fake.has_routes, fake.has_demo_data = True, False, False

    app = open_app(page)

    assert not app.exception
    assert "No calls recorded yet" in texts(app)
    assert "record_usage" in app.code[-1].value
    assert not app.metric


@pytest.mark.parametrize("page", ["usage", "calls"])
def test_filters_that_match_nothing_lead_to_the_newest_call_that_matches(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    fake.is_empty, fake.newest_event_at = True, datetime(2023, 11, 20, tzinfo=UTC)
    answer = fake._get_events

    def matching(from_time: str, to_time: str, filters: Any) -> Any:
        document = answer(from_time, to_time, filters)
        is_long = datetime.fromisoformat(to_time) - datetime.fromisoformat(from_time) > timedelta(days=100)
        call = fake.single_calls[0] | {"created_at": "2023-11-16T23:30:00+00:00"}
        return document | {"events": [call]} if is_long and filters["model"] == ["gpt-4o"] else document

    monkeypatch.setattr(fake, "_get_events", matching)
    app = open_app(page, model="gpt-4o")

    assert "The filters match nothing since" in texts(app)
    assert "The newest matching call was on 17 November 2023 at 00:30." in texts(app)
    button = app.button(key=f"{page}_empty_newest")
    assert button.label == "Show 17 Nov, 00:30"
    button.click().run()
    assert address(app) == {"model": ["gpt-4o"], "period": ["custom"], "from": ["2023-11-11"], "to": ["2023-11-17"]}


def test_the_first_call_is_waited_for_and_leads_to_itself(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.is_empty = True
    app = open_app("overview")
    assert "Waiting for the first call" in texts(app)

    fake.is_empty = False
    app.run()

    assert not app.exception
    assert "The first call arrived" in texts(app)
    link = next(one.proto for one in app.get("page_link") if one.proto.label == "Open the call")
    assert link.query_string.startswith("call=")
    app.button(key="first_call_done").click().run()
    assert "The first call arrived" not in texts(app)


def test_a_call_that_is_stored_and_not_counted_yet_does_not_run_the_page_in_circles(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call(event_id="e", created_at=datetime(2026, 5, 4, tzinfo=UTC), user_id="ana", model="gpt-4o")
    monkeypatch.setattr(empty, "read_newest_call", lambda *_: call)
    fake.is_empty = True
    app = open_app("overview")
    assert "The first call is being counted" in texts(app)
    assert "The first call arrived" in texts(app)


def test_an_empty_period_leads_to_the_newest_calls(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.is_empty, fake.has_routes = True, False
    fake.newest_event_at = datetime(2023, 11, 16, 23, 30, tzinfo=UTC)
    app = open_app()
    assert "The most recent call was on 17 November 2023 at 00:30." in texts(app)
    fake.is_empty = False

    app.button(key="overview_empty_newest").click().run()

    assert address(app) == {"period": ["custom"], "from": ["2023-11-11"], "to": ["2023-11-17"]}
    assert last_call(fake, "get_overview")["to_time"] == "2023-11-17T23:00:00+00:00"
    assert app.metric


def test_filters_that_match_nothing_can_be_cleared(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.is_empty, fake.newest_event_at = True, datetime(2026, 11, 1, tzinfo=UTC)
    app = open_app(model="gpt-none", period="day")
    assert "No call matches the filters." in texts(app)

    app.button(key="overview_empty_clear").click().run()

    assert address(app) == {"period": ["day"]}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("error", "title"),
    [
        (DatabaseUnavailableError("connection refused"), "The database cannot be reached"),
        (PermissionDeniedError("permission denied", sqlstate="42501"), "You have no access"),
        (FunctionNotFoundError("no function"), "The database is older than this app"),
        (ConfigurationError("SUPABASE_URL: wrong"), "A setting is missing or wrong"),
        (InvalidArgumentError("at most 400 days <b>"), "The figures could not be read"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, TreeringError) else "",
)
def test_a_failure_is_said_in_words_and_can_be_tried_again(
    open_app: OpenApp, fake: FakeDatabase, page: str, error: TreeringError, title: str
) -> None:
    fake.error = error
    app = open_app(page)
    assert not app.exception
    assert title in texts(app)
    assert "<b>" not in texts(app)
    fake.error = None

    app.button(key=f"{page}_try_again").click().run()

    assert title not in texts(app)


def test_an_answer_in_an_unknown_form_is_said(open_app: OpenApp, fake: FakeDatabase, monkeypatch: Any) -> None:
    monkeypatch.setattr(fake, "_get_overview", lambda **_: {"access": "ops"}, raising=False)

    shown = texts(open_app())
    assert "unexpected response from the database (get_overview: from_time, to_time, bucket)" in shown
    assert "app and migrations may be of different versions" in shown


def test_a_connection_that_fails_is_opened_anew(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.error = DatabaseUnavailableError("gone")

    open_app()

    assert fake.is_closed


def test_a_wrong_setting_is_named(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_TIMEZONE", "Mars")

    app = open_app()

    assert not app.exception
    assert "TREERING_TIMEZONE" in texts(app)


def test_demo_data_is_marked(open_app: OpenApp, fake: FakeDatabase) -> None:
    assert any("Demo data" in text.value for text in open_app().markdown)
    fake.has_demo_data = False
    assert not any("Demo data" in text.value for text in open_app("usage").markdown)


def test_a_large_backlog_is_said(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.pending_rows = 250_000

    app = open_app()

    assert any("250,000 calls are waiting to be counted" in text.value for text in app.markdown)


def test_a_backlog_that_stays_asks_for_the_worker(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.pending_rows, fake.has_demo_data = 3, False
    app = open_app()
    assert not any("waiting to be counted" in text.value for text in app.markdown)
    later = time.monotonic() + frame_of_pages.LONG_PENDING_S
    monkeypatch.setattr(time, "monotonic", lambda: later)

    app.run()

    assert any("3 calls are waiting to be counted. Is the worker running?" in text.value for text in app.markdown)


@pytest.mark.parametrize("page", PAGES)
def test_a_member_sees_no_other_users(open_app: OpenApp, fake: FakeDatabase, page: str) -> None:
    fake.access = "member"

    app = open_app(page)

    assert not app.exception
    assert "Users" not in metrics(app)
    assert "Top users" not in texts(app)
    assert not any("User" in control.options for control in app.segmented_control)
    assert not any("By user" in box.options for box in app.selectbox)


def test_a_member_is_told_that_the_figures_are_their_own(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "member"
    assert "your own calls" in texts(open_app())
    fake.access = "analyst"
    assert "your own calls" not in texts(open_app("costs"))


@pytest.mark.parametrize("table", ["Model", "Feature", "User", "Provider", "Environment"])
def test_each_cost_table_draws(open_app: OpenApp, table: str) -> None:
    app = open_app("costs")

    app.segmented_control(key="costs_by").set_value(table).run()

    assert not app.exception
    assert list(app.dataframe[0].value.columns) == ["name", "cost", "share", "change", "requests", "cost_per_request"]


@pytest.mark.parametrize("table", ["Model", "Feature", "User", "Operation", "Status"])
def test_each_usage_table_draws(open_app: OpenApp, table: str) -> None:
    app = open_app("usage")

    app.segmented_control(key="usage_by").set_value(table).run()
    app.segmented_control(key="usage_trend").set_value("Requests").run()

    assert not app.exception
    assert len(app.dataframe[0].value) > 0


def test_the_name_of_a_model_leaves_its_latency_alone(open_app: OpenApp) -> None:
    shown = texts(open_app("performance", period="hour"))

    assert 'href="performance?period=hour&amp;model=gpt-4o" target="_self">gpt-4o</a><b>p99 ' in shown


def test_routes_have_their_own_part(open_app: OpenApp) -> None:
    app = open_app("performance")

    app.segmented_control(key="performance_part").set_value("Routes").run()

    assert metrics(app)["Requests"] == "94,120"
    assert "/api/chat" in list(app.dataframe[0].value["name"])


def test_without_a_measured_route_the_page_says_how_to_measure(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.has_routes = False
    app = open_app("performance")

    app.segmented_control(key="performance_part").set_value("Routes").run()

    assert "PerformanceMiddleware" in app.code[-1].value


def test_routes_show_where_no_call_was_made(open_app: OpenApp, fake: FakeDatabase, monkeypatch: Any) -> None:
    fake.is_empty = True
    empty = fake._get_performance
    routes = {"requests": 5, "errors": 0, "latency_ms": {"count": 5, "p50": 3.0, "p90": 4.0, "p99": 5.0}}
    monkeypatch.setattr(fake, "_get_performance", lambda **window: empty(**window) | {"routes": routes}, raising=False)

    app = open_app("performance")

    assert not app.exception
    assert "No calls recorded yet" not in texts(app)
    assert "No calls failed in this period." in [caption.value for caption in app.caption]


@pytest.mark.dated
def test_alerts_show_value_threshold_and_since_when(open_app: OpenApp) -> None:
    shown = texts(open_app("alerts"))

    assert "2 alerts are firing · times in Europe/Berlin" in shown
    assert "Spend <b>$61.20</b>, threshold $50.00 · 1,204 calls" in shown
    assert "Error rate <b>8.2%</b>, threshold 5.0%" in shown


def test_alerts_of_the_past_stay_visible_when_nothing_fires(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.firing = 0

    app = open_app("alerts")

    assert "Nothing is firing" in texts(app)
    assert app.segmented_control(key="alerts_state").value == "resolved"
    assert "Latency p99 <b>18.4 s</b>, threshold 15.0 s" in texts(app)
    assert list(app.dataframe[0].value["State"]) == ["pending", "sent", "sent", "dead"]
    app.segmented_control(key="alerts_state").set_value("firing").run()
    assert "Nothing is firing. 2 rules are active." in [caption.value for caption in app.caption]


@pytest.mark.parametrize(
    ("rules", "text"), [(1, "1 rule is active."), (0, "No alert rules yet. Start from a preset in Settings.")]
)
def test_without_an_alert_the_page_says_how_many_rules_are_active(
    open_app: OpenApp, fake: FakeDatabase, rules: int, text: str
) -> None:
    fake.is_empty, fake.firing = True, rules

    assert text in texts(open_app("alerts"))


def test_one_alert_without_messages_draws(open_app: OpenApp, fake: FakeDatabase, monkeypatch: Any) -> None:
    whole = fake._get_alerts
    monkeypatch.setattr(
        fake,
        "_get_alerts",
        lambda **window: (
            whole(**window)
            | {"outbox": [], "firing": [whole(**window)["firing"][0] | {"sample_count": None, "value": None}]}
        ),
        raising=False,
    )

    app = open_app("alerts")

    assert "1 alert is firing" in texts(app)
    assert "Spend <b>—</b>, threshold $50.00 · since" in texts(app)
    assert "None in this period." in [caption.value for caption in app.caption]
