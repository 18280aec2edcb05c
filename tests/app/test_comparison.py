"""What a period is compared with, and where nothing is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import streamlit as st

from dashboard.figures.charts import PICK
from dashboard.figures.comparison import compare
from dashboard.panels import narrow, tables
from dashboard.selection.filters import Selection
from dashboard.selection.periods import moments_of
from ingest.documents.pages import Costs, Row, Totals
from tests.app.test_calls import QueryParams
from tests.app.test_pages import FIGURES, address, texts

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]
BERLIN = ZoneInfo("Europe/Berlin")
# A Monday, 21:14 in Berlin.
NOW = datetime(2026, 11, 23, 20, 14, 10, tzinfo=UTC)


def costs(start: datetime, begin: datetime | None, cost: int, **rows: int) -> Costs:
    return Costs(
        access="ops",
        from_time=start,
        to_time=start + timedelta(days=7),
        previous_from=start - timedelta(days=7),
        data_begin_at=begin,
        bucket="day",
        timezone="UTC",
        generated_at=start + timedelta(days=7),
        totals=Totals(requests=1, cost=Decimal(cost)),
        previous=Totals(requests=1, cost=Decimal(9)),
        by_model=tuple(
            Row(key=name, requests=1, cost=Decimal(value), previous_cost=Decimal(9)) for name, value in rows.items()
        ),
    )


def test_nothing_is_compared_with_a_period_in_which_data_had_not_begun() -> None:
    covered = compare(costs(NOW, NOW - timedelta(days=7), 4, a=1), None)
    late = compare(costs(NOW, NOW - timedelta(days=7) + timedelta(minutes=1), 4, a=1), None)

    assert (covered.previous.cost, covered.by_model[0].previous_cost) == (Decimal(9), Decimal(9))
    assert (late.previous.cost, late.by_model[0].previous_cost) == (None, None)


def test_the_rows_of_a_tag_are_compared_as_all_others_are() -> None:
    now, before = costs(NOW, None, 4, pro=3, free=1), costs(NOW - timedelta(days=365), None, 2, pro=2)
    now = now.model_copy(update={"by_tag": {"plan": now.by_model, "team": now.by_model}})
    before = before.model_copy(update={"by_tag": {"plan": before.by_model}})

    beside, alone = compare(now, before).by_tag, compare(now, before, is_wanted=False).by_tag

    assert [(row.key, row.previous_cost) for row in beside["plan"]] == [("pro", Decimal(2)), ("free", None)]
    assert [row.previous_cost for row in (*beside["team"], *alone["plan"])] == [None] * 4


def test_another_earlier_period_stands_beside_the_totals_and_each_name() -> None:
    shown = compare(costs(NOW, None, 4, a=1, b=2), costs(NOW - timedelta(days=30), None, 7, b=5))

    assert shown.previous.cost == 7
    assert [row.previous_cost for row in shown.by_model] == [None, 5]
    assert compare(costs(NOW, None, 4, a=1), None, is_wanted=False).previous == Totals()


def test_a_page_says_when_data_begin_in_place_of_a_change(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.data_begin_at = datetime.now(UTC) - timedelta(days=9)
    begin = fake.data_begin_at.astimezone(BERLIN)

    late = open_app("costs")

    assert f"data begin {begin.day} {begin:%b %Y}" in texts(late)
    assert not any(metric.delta for metric in late.metric)
    assert late.dataframe[0].value["change"].isna().all()
    fake.data_begin_at = datetime.now(UTC) - timedelta(days=15)
    st.cache_data.clear()
    assert any(metric.delta for metric in open_app("costs", period="week").metric)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("today", "2026-11-23", None),
        ("yesterday", "2026-11-22", "2026-11-23"),
        ("this_week", "2026-11-23", None),
        ("last_week", "2026-11-16", "2026-11-23"),
        ("this_month", "2026-11-01", None),
        ("last_month", "2026-10-01", "2026-11-01"),
        ("this_quarter", "2026-10-01", None),
        ("last_quarter", "2026-07-01", "2026-10-01"),
    ],
)
def test_a_period_of_the_calendar_begins_at_a_local_midnight(period: str, start: str, end: str | None) -> None:
    first, last = (moment.astimezone(BERLIN) for moment in moments_of(period, NOW, BERLIN))

    assert first == datetime.fromisoformat(start).replace(tzinfo=BERLIN)
    assert last == (datetime.fromisoformat(end).replace(tzinfo=BERLIN) if end else NOW)


@pytest.mark.parametrize(
    ("period", "compare_with", "start", "end"),
    [
        ("this_month", "before", "2026-10-01T00:00:00", "2026-10-23T21:14:10"),
        ("last_month", "before", "2026-09-01T00:00:00", "2026-10-01T00:00:00"),
        ("this_week", "before", "2026-11-16T00:00:00", "2026-11-16T21:14:10"),
        ("today", "weekdays", "2026-11-16T00:00:00", "2026-11-16T21:14:10"),
        ("last_month", "weekdays", "2026-08-27T00:00:00", "2026-09-27T00:00:00"),
        ("yesterday", "month", "2026-10-22T00:00:00", "2026-10-23T00:00:00"),
        ("this_quarter", "year", "2025-10-01T00:00:00", "2025-11-23T21:14:10"),
    ],
)
def test_the_earlier_period_is_the_same_stretch_of_an_earlier_calendar(
    period: str, compare_with: str, start: str, end: str
) -> None:
    window = Selection(period=period, compare=compare_with).compared(NOW, BERLIN)

    assert window is not None
    moments = [
        moment.astimezone(BERLIN).replace(tzinfo=None).isoformat() for moment in (window.from_time, window.to_time)
    ]
    assert moments == [start, end]


def test_the_period_before_a_sliding_one_is_in_its_own_document() -> None:
    assert Selection(period="month").compared(NOW, BERLIN) is None
    assert Selection(period="this_month", compare="none").compared(NOW, BERLIN) is None


def test_chosen_days_that_are_not_over_end_now_and_are_compared_with_as_much_of_the_days_before() -> None:
    zone, now = ZoneInfo("Europe/Berlin"), datetime(2026, 11, 26, 8, 30, tzinfo=UTC)  # half past nine in Berlin
    for last in (date(2026, 11, 26), date(2026, 11, 26) + timedelta(days=1)):
        chosen = Selection(period="custom", first_day=date(2026, 11, 25), last_day=last)
        earlier = chosen.compared(now, zone)
        days = timedelta(days=(last - date(2026, 11, 25)).days + 1)

        assert chosen.moments(now, zone) == (datetime(2026, 11, 24, 23, tzinfo=UTC), now)
        assert earlier is not None
        assert (earlier.from_time, earlier.to_time) == (datetime(2026, 11, 24, 23, tzinfo=UTC) - days, now - days)
    over = Selection(period="custom", first_day=date(2026, 11, 24), last_day=date(2026, 11, 25))
    assert over.compared(now, zone) is None, "the two days directly before"
    ahead = Selection(period="custom", first_day=date(2026, 11, 28), last_day=date(2026, 11, 28))
    assert ahead.moments(now, zone)[1] == datetime(2026, 11, 28, 23, tzinfo=UTC)


def test_the_thirty_first_is_compared_with_the_last_day_of_a_shorter_month() -> None:
    moment = datetime(2026, 3, 31, 12, tzinfo=UTC)

    window = Selection(period="today", compare="month").compared(moment, ZoneInfo("UTC"))

    assert window is not None
    assert window.from_time == datetime(2026, 2, 28, tzinfo=UTC)


def test_calendar_grain_and_comparison_are_chosen_on_the_page_and_kept_in_the_address(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    app = open_app("costs")

    app.segmented_control(key="costs_period").set_value("calendar").run()
    app.selectbox(key="costs_calendar").set_value("last_month").run()
    app.radio(key="costs_compare").set_value("year").run()
    app.radio(key="costs_grain").set_value("week").run()

    assert address(app) == {"period": ["last_month"], "compare": ["year"], "grain": ["week"]}
    asked: list[Any] = [arguments for name, arguments in fake.calls if name == "get_costs"]
    assert {one["from_time"][:4] for one in asked[-2:]} in ({"2026", "2025"}, {"2027", "2026"})
    assert all(one["filters"]["bucket"] == "week" for one in asked[-2:])
    assert "vs a year earlier" in [metric.proto.delta_description for metric in app.metric]


def test_minutes_are_for_short_periods_and_the_page_says_where_they_do_not_fit(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    app = open_app("performance", period="hour", grain="minute")
    assert "too long for that" not in " ".join(one.value for one in app.caption)

    app.segmented_control(key="performance_period").set_value("week").run()

    assert "too long for that" in " ".join(one.value for one in app.caption)
    asked: list[Any] = [arguments for name, arguments in fake.calls if name == "get_performance"]
    assert [asked[0]["filters"].get("bucket"), asked[-1]["filters"].get("bucket")] == ["minute", "day"]


def test_a_click_on_a_bar_shows_the_time_of_that_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a chart, 10:00 of the viewer's clock stands as 10:00 UTC.
    at, until = (datetime(2026, 11, 23, hour, tzinfo=UTC).timestamp() * 1000 for hour in (10, 11))
    state: dict[str, Any] = {"chart": {"selection": {PICK: [{"at": at, "until": until}]}}}
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(st, "query_params", QueryParams())

    narrow.take_bucket("chart", BERLIN)

    assert state["selection"].frozen == (datetime(2026, 11, 23, 9, tzinfo=UTC), datetime(2026, 11, 23, 10, tzinfo=UTC))
    assert state["selection"].to_query() == {
        "period": "custom",
        "from": "2026-11-23T09:00:00Z",
        "to": "2026-11-23T10:00:00Z",
    }
    before = state["selection"]
    state["chart"] = {"selection": {PICK: []}}
    narrow.take_bucket("chart", BERLIN)
    assert state["selection"] is before


def test_a_name_of_a_legend_leads_to_the_page_restricted_to_it(open_app: OpenApp) -> None:
    shown = texts(open_app("costs", period="day"))

    assert '<a href="costs?period=day&amp;model=gpt-4o" target="_self">gpt-4o</a>' in shown


def test_a_chosen_row_narrows_the_page_and_a_chip_widens_it_again(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_draw", lambda *_, **__: 0)
    app = open_app("costs")

    app.button(key="costs_only").click().run()
    assert address(app) == {"model": ["gpt-4o"]}
    assert app.pills(key="costs_chips").options == ["model\\: gpt\\-4o"]
    app.pills(key="costs_chips").set_value([]).run()

    assert address(app) == {}


def test_a_link_can_keep_the_times_of_now(open_app: OpenApp) -> None:
    app = open_app("costs", period="day", model="gpt-4o")

    app.toggle(key="costs_link_frozen").set_value(True).run()

    (link,) = [code.value for code in app.code if "period=" in code.value]
    assert "period=custom&from=" in link
    assert "model=gpt-4o" in link


@pytest.mark.parametrize("page", FIGURES)
def test_a_link_from_where_it_is_tomorrow_opens_where_it_is_not(open_app: OpenApp, page: str) -> None:
    today = datetime.now(UTC).date()
    first, last = (str(today + timedelta(days=days)) for days in (-1, 2))
    app = open_app(page, **{"period": "custom", "from": first, "to": last})
    assert not app.exception
    assert address(app) == {"period": ["custom"], "from": [first], "to": [last]}
