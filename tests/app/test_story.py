"""The Overview's first screen: the headline, the month, what changed, what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from dashboard.figures import headline
from dashboard.figures.month_chart import AHEAD, LAST, THIS, growth_of, month_chart
from dashboard.figures.waterfall import is_cut, steps_of, waterfall
from dashboard.selection.filters import Selection
from ingest.documents.drivers import DriverCell, PeriodSums
from ingest.documents.month import SpentBudget
from ingest.forecasting.forecast import MonthForecast
from ingest.savings.drivers import explain_difference
from pricing import PriceBook
from tests.app.test_pages import texts

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from ingest.savings.drivers import CostDrivers
    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 10, 12, tzinfo=BERLIN)
FORECAST = MonthForecast(date(2026, 11, 1), 95.0, 330.0, 300.0, 360.0, 310.0, "seasonal")


def drivers(now: str, before: str, calls: tuple[int, int] = (150, 100)) -> CostDrivers:
    sums = [
        PeriodSums(requests=count, cost=Decimal(cost), prompt_tokens=count * 100, completion_tokens=count)
        for count, cost in zip(calls, (now, before), strict=True)
    ]
    cell = DriverCell(provider="openai", model="gpt-4o", feature="chat<b>", now=sums[0], before=sums[1])
    return explain_difference([cell], PriceBook.default(), at=NOW)


def test_a_month_grows_day_by_day_beside_the_last_one() -> None:
    first = datetime(2026, 10, 1, tzinfo=BERLIN)
    spend = {
        first + timedelta(days=number): 10.0 for number in range(41)
    }  # ten days of November, the last of them half

    growth = growth_of(spend, NOW, FORECAST)

    this, last, ahead = (growth.lines[growth.lines["series"] == name] for name in (THIS, LAST, AHEAD))
    assert list(this["sum"]) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert list(this["day"])[-2:] == [9, 9.5]
    assert (growth.days, growth.last_total, list(last["sum"])[-1]) == (30, 310, 310)
    assert list(last["day"])[-1] == 30, "the 31st of October stands on the last day of November"
    assert list(zip(ahead["day"], ahead["sum"], strict=True)) == [(9.5, 95), (30, 330)]
    assert list(growth.fan["high"]) == [95, 360]
    assert [layer["mark"]["type"] for layer in month_chart(growth, 400.0).to_dict()["layer"]] == [
        "area",
        "line",
        "rule",
    ]


def test_a_last_month_that_data_do_not_cover_is_not_drawn() -> None:
    growth = growth_of({datetime(2026, 10, 20, tzinfo=BERLIN): 5.0}, NOW, None)

    assert growth.last_total is None
    assert set(growth.lines["series"]) == {THIS}


def test_the_steps_lead_from_the_cost_before_to_the_cost_now() -> None:
    steps = steps_of(drivers("15", "10"))

    assert list(steps["name"]) == ["Before", "Volume", "Mix", "Errors", "Tokens per call", "Cache", "Price", "Now"]
    assert list(steps["end"])[:2] == [10, 15]
    assert list(steps["text"])[:2] == ["$10.00", "+$5.00"]
    assert not is_cut(drivers("100", "10", (1000, 100)))
    assert is_cut(drivers("11", "10", (110, 100)))
    assert len(waterfall(drivers("15", "10")).layer) == 2


@pytest.mark.parametrize(("cost", "axis"), [("0.00074", "$,.6~f"), ("15", "$,.2~f"), ("0.3", "$,.3~f")])
def test_the_axis_of_a_small_sum_has_the_decimals_of_its_amounts(cost: str, axis: str) -> None:
    layer = waterfall(drivers(cost, "0")).to_dict()["layer"][0]
    assert layer["encoding"]["x"]["axis"]["format"] == axis


def test_the_headline_says_how_much_against_what_and_why() -> None:
    month = headline.month_sentence("November", Decimal(95), FORECAST, ("October", 300.0), Selection(model=("gpt-4o",)))
    why = headline.drivers_sentence(drivers("15", "10"), Selection())

    assert '<a href="costs?model=gpt-4o&amp;period=this_month" target="_self">$95.00</a> spent in November' in month
    plain = re.sub("<[^>]*>", "", month)
    assert plain.endswith("10.0% more than in October ($300.00).")
    assert month.count("<a href") == len(re.findall(r"[$][0-9.]+|[0-9.]+%", plain)), "every number is a link"
    assert '<a href="costs" target="_self">$5.00</a> more than the one before, mostly because of more calls (' in why
    assert "more calls (+$5.00)" in re.sub("<[^>]*>", "", why)
    assert "chat&lt;b&gt; with gpt-4o" in why
    assert "cost about as much" in headline.drivers_sentence(drivers("10.01", "10"), Selection())
    cheaper = re.sub("<[^>]*>", "", headline.drivers_sentence(drivers("5", "10", (50, 100)), Selection()))
    assert "less than the one before, mostly because of fewer calls (\N{MINUS SIGN}$5.00)" in cheaper


@pytest.mark.parametrize(
    ("spent", "forecast", "last", "text"),
    [
        (None, None, None, "What this month has cost is not known."),
        (Decimal(1), None, None, "spent in May."),
        (Decimal(1), FORECAST, ("April", 330.0), "as much as in April"),
        (Decimal(1), FORECAST, None, "expected by its end."),
    ],
)
def test_a_headline_leaves_out_what_is_not_known(
    spent: Decimal | None, forecast: MonthForecast | None, last: tuple[str, float] | None, text: str
) -> None:
    assert text in headline.month_sentence("May", spent, forecast, last, Selection())
    assert headline.drivers_sentence(None, Selection()) == ""
    assert headline.alerts_sentence(0) == ""
    assert headline.budget_sentence([]) == ""


def test_the_fullest_budget_is_in_the_headline() -> None:
    budgets = [
        SpentBudget(budget_id=1, name="A", amount=Decimal(10), spent=Decimal(9)),
        SpentBudget(budget_id=2, name="<B>", amount=Decimal(10), spent=Decimal(2), forecast=Decimal("1.2")),
    ]

    assert headline.budget_sentence(budgets).startswith('Budget &lt;B&gt;: <a href="settings?tab=budgets"')
    assert re.sub("<[^>]*>", "", headline.budget_sentence(budgets)).endswith("20.0% used, 120.0% expected.")


def test_all_other_budgets_that_are_over_are_named_and_those_that_will_be_are_counted() -> None:
    budgets = [
        SpentBudget(budget_id=number, name=name, amount=Decimal(10), spent=Decimal(spent), forecast=Decimal(ahead))
        for number, (name, spent, ahead) in enumerate(
            [("Most", "30", "4"), ("<B>", "12", "2"), ("Soon", "9", "1.3"), ("Calm", "1", "0.2")]
        )
    ]

    told = headline.budget_sentence(budgets)

    assert re.sub("<[^>]*>", "", told) == (
        "Budget Most: 300.0% used, 400.0% expected. "
        "Also over budget: &lt;B&gt; (120.0%). 1 more is expected to go over."
    )
    assert told.count('<a href="settings?tab=budgets"') == 2


@pytest.mark.parametrize(
    ("selection", "text"),
    [
        (Selection(), "This period cost {} more than the one before, "),
        (Selection(period="this_week"), "This week cost {} more than the week before up to the same time, "),
        (Selection(period="last_month"), "Last month cost {} more than the month before, "),
        (Selection(compare="weekdays"), "This period cost {} more than the same weekdays before, "),
        (Selection(period="today", compare="year"), "Today cost {} more than a year earlier, "),
    ],
)
def test_the_headline_names_what_the_period_is_compared_with(selection: Selection, text: str) -> None:
    told = re.sub("<[^>]*>", "", headline.drivers_sentence(drivers("15", "10"), selection))

    assert told.startswith(text.format("$5.00"))


@pytest.mark.dated
def test_the_reasons_are_those_against_the_period_that_is_compared_with(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app(period="this_month", compare="year")

    assert "What changed</div>" in texts(app)
    assert "against a year earlier; " in texts(app)
    read = {name: [one for asked, one in fake.calls if asked == name] for name in ("get_overview", "get_cost_drivers")}
    years = {name: {str(one["from_time"])[:4] for one in asked} for name, asked in read.items()}
    assert len(years["get_cost_drivers"]) == 2
    assert years["get_cost_drivers"] == years["get_overview"]

    app.radio(key="overview_compare").set_value("none").run()
    assert "Nothing is chosen to compare with." in texts(app)
    assert "This month cost" not in texts(app)


@pytest.mark.dated
def test_the_first_screen_tells_and_says_what_to_do(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.firing = 2

    shown = texts(open_app())

    assert "spent in" in shown
    assert "mostly because of more calls (+$5.00)" in re.sub("<[^>]*>", "", shown)
    assert '<a href="alerts" target="_self">2 alerts are firing</a>' in shown
    assert "Budget Everything" in shown
    assert "What changed" in shown
    assert "Look at the alerts that are firing" in shown
    assert 'href="settings?tab=prices"' in shown


def test_without_anything_to_do_or_to_compare_the_page_says_so(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access, fake.firing, fake.is_sure = "member", 0, True
    fake.data_begin_at = datetime.now(BERLIN) - timedelta(days=8)

    app = open_app()

    assert "Nothing to compare with yet." in texts(app)
    assert any(caption.value.startswith("Nothing: no alert is firing") for caption in app.caption)
