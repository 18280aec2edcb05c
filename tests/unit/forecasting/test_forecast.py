from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.forecasting.forecast import FEWEST_DAYS, forecast_month, next_days
from ingest.forecasting.holt_winters import holt_winters

FIRST = date(2026, 7, 1)
NOW = datetime(2026, 9, 11, tzinfo=UTC)


def daily(count: int, cost: float = 10.0, weekend: float = 1.0) -> dict[date, float]:
    days = [FIRST + timedelta(days=number) for number in range(count)]
    return {day: cost * (weekend if day.weekday() >= 5 else 1.0) for day in days}


def test_steady_spend_is_carried_on() -> None:
    forecast = forecast_month(daily(72), NOW)
    assert forecast is not None
    assert forecast.basis == "seasonal"
    assert forecast.spent == pytest.approx(100)
    assert forecast.expected == pytest.approx(300)
    assert [forecast.low, forecast.high] == pytest.approx([300, 300])


def test_quiet_weekends_are_expected_to_come_again() -> None:
    # From the 11th, a Friday, September has 14 weekdays and 6 days of weekends left; the straight line sees 2 of 10.
    forecast = forecast_month(daily(72, weekend=0.2), NOW)
    assert forecast is not None
    assert forecast.spent == pytest.approx(84)
    assert forecast.expected == pytest.approx(84 + 14 * 10 + 6 * 2)
    assert forecast.run_rate == pytest.approx(84 * 3)


def test_a_costly_day_raises_the_total_but_not_the_level() -> None:
    spend = daily(72)
    spend[date(2026, 9, 5)] = 310.0
    forecast = forecast_month(spend, NOW)
    assert forecast is not None
    assert forecast.spent == pytest.approx(400)
    # 300 $ above the usual in 72 days, less what counts as usual spread, for 20 days.
    assert 600 < forecast.expected < 600 + 300 / 72 * 20 + 5
    assert forecast.run_rate == pytest.approx(1200)


def test_a_part_of_the_trend_is_carried_on() -> None:
    growth = np.exp(0.02 * np.arange(70))
    expected = next_days(growth, 10)
    assert growth[-21:].mean() < expected.mean() < np.exp(0.02 * np.arange(70, 80)).mean()


def test_a_lasting_drop_is_believed_after_four_days() -> None:
    days = np.full(60, 10.0)
    for count, expected in ((3, 10.0), (4, 4.0), (9, 4.0)):
        days[-count:] = 4.0
        forecast = next_days(days, 7)
        if count > 3:
            assert forecast == pytest.approx(np.full(7, expected), rel=0.01)
        else:
            assert forecast.mean() > 7
        days[:] = 10.0


def test_smoothing_follows_level_and_weekdays_and_lets_a_trend_die_away() -> None:
    week = np.array([1.2, 1.2, 1.2, 1.2, 1.2, 0.5, 0.5])
    steady = holt_winters(10 * np.tile(week, 8), week, 14)
    assert steady == pytest.approx(10 * np.tile(week, 2))
    weeks = np.diff(holt_winters(np.linspace(10, 15.5, 56), np.ones(7), 56).reshape(8, 7).mean(axis=1))
    assert 0 <= weeks[-1] < weeks[0] < 0.7


def test_of_today_only_the_rest_is_to_come() -> None:
    spend = daily(72)
    spend[NOW.date()] = 4.0
    forecast = forecast_month(spend, NOW + timedelta(hours=12))
    assert forecast is not None
    assert forecast.spent == pytest.approx(104)
    assert forecast.expected == pytest.approx(104 + 5 + 190)


def test_a_short_history_goes_by_the_straight_line_and_says_so() -> None:
    spend = {date(2026, 9, day): 5.0 for day in range(1, 8)}
    forecast = forecast_month(spend, datetime(2026, 9, 8, tzinfo=UTC))
    assert forecast is not None
    assert forecast.basis == "run_rate"
    assert forecast.expected == pytest.approx(150)
    assert [forecast.low, forecast.high] == pytest.approx([35 + 57.5, 35 + 172.5])


def test_the_line_begins_with_the_first_day_of_use_not_of_the_month() -> None:
    spend = {date(2026, 9, day): 5.0 for day in range(6, 11)}
    forecast = forecast_month(spend, NOW)
    assert forecast is not None
    assert forecast.run_rate == pytest.approx(125)


def test_at_the_first_instant_of_a_month_history_alone_speaks() -> None:
    forecast = forecast_month(daily(62), datetime(2026, 9, 1, tzinfo=UTC))
    assert forecast is not None
    assert (forecast.spent, forecast.run_rate) == (0.0, None)
    assert forecast.expected == pytest.approx(300)


def test_days_are_those_of_the_reporting_zone() -> None:
    forecast = forecast_month(daily(72), NOW.astimezone(ZoneInfo("Asia/Kolkata")))
    assert forecast is not None
    assert forecast.expected == pytest.approx(100 + 10 * (20 - 5.5 / 24))


@pytest.mark.parametrize("spend", [{}, {FIRST: 0.0}, {date(2027, 1, 1): 5.0}])
def test_without_spend_there_is_no_forecast(spend: dict[date, float]) -> None:
    assert forecast_month(spend, NOW) is None


def test_most_months_end_inside_the_interval() -> None:
    inside = 0
    for seed in range(40):
        rng = random.Random(seed)
        spend = {day: cost * rng.lognormvariate(0, 0.3) for day, cost in daily(92, weekend=0.4).items()}
        known = {day: cost for day, cost in spend.items() if day < NOW.date()}
        forecast = forecast_month(known, NOW)
        assert forecast is not None
        inside += forecast.low <= sum(cost for day, cost in spend.items() if day.month == 9) <= forecast.high
    assert inside >= 30


costs = st.floats(0, 1e4, allow_nan=False, allow_subnormal=False)


@settings(max_examples=40, deadline=None)
@given(st.lists(costs, min_size=1, max_size=110), st.integers(0, 23))
def test_a_forecast_lies_in_its_interval_and_above_what_was_spent(history: list[float], hour: int) -> None:
    spend = {FIRST + timedelta(days=number): cost for number, cost in enumerate(history)}
    forecast = forecast_month(spend, NOW + timedelta(hours=hour))
    if forecast is not None:
        assert forecast.spent <= forecast.low <= forecast.expected <= forecast.high
        assert np.isfinite(forecast.high)


@settings(max_examples=40, deadline=None)
@given(st.lists(costs, min_size=FEWEST_DAYS, max_size=90), st.lists(costs, max_size=30))
def test_later_days_change_no_forecast(history: list[float], later: list[float]) -> None:
    spend = {FIRST + timedelta(days=number): cost for number, cost in enumerate(history)}
    now = datetime.combine(FIRST + timedelta(days=len(history)), datetime.min.time(), UTC)
    future = {now.date() + timedelta(days=number + 1): cost for number, cost in enumerate(later)}
    assert forecast_month(spend, now) == forecast_month(spend | future, now)


def test_days_of_refunds_are_no_days_to_come() -> None:
    # By turns 2 $ back and 2 $ spent, whose median is nothing, then 14 days of 5 $: at no level to scale from.
    days = [-2.0, 2.0] * 14 + [0.0] + [5.0] * 14
    spend = {date(2026, 10, 1) + timedelta(days=number): amount for number, amount in enumerate(days)}

    found = forecast_month(spend, datetime(2026, 11, 13, 12, tzinfo=UTC))

    assert found is not None
    assert found.spent <= found.expected < found.spent + 6 * 18
