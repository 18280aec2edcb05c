from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.forecasting.anomaly import Sensitivity, Verdict, fill_gaps, judge
from ingest.forecasting.newcomers import judge_newcomer

START = datetime(2026, 8, 3, tzinfo=UTC)  # a Monday
DAY, WEEK = 24, 168

Points = list[tuple[datetime, float]]


def hourly(values: list[float], start: datetime = START) -> Points:
    return [(start + timedelta(hours=number), value) for number, value in enumerate(values)]


def week_shaped(weeks: int, seed: int = 7) -> list[float]:
    """Dollars an hour: busy in office hours, quiet at night and at weekends, with noise of some 10 percent."""
    rng = random.Random(seed)
    values = []
    for hour in range(weeks * WEEK):
        day, of_day = hour // DAY % 7, hour % DAY
        level = (2.0 if 9 <= of_day < 18 else 0.2) * (0.3 if day >= 5 else 1.0)
        values.append(level * rng.lognormvariate(0, 0.1))
    return values


def verdicts(values: list[float]) -> list[Verdict]:
    return judge(hourly(values), timezone=UTC)


amounts = st.floats(0, 1e6, allow_nan=False, allow_subnormal=False)


@settings(max_examples=25, deadline=None)
@given(st.lists(amounts, min_size=80, max_size=160), st.integers(60, 79), st.randoms(use_true_random=False))
def test_what_comes_later_changes_no_earlier_verdict(values: list[float], until: int, rng: random.Random) -> None:
    other = values[:until] + [rng.uniform(0, 1e6) for _ in values[until:]]
    assert verdicts(values)[:until] == verdicts(other)[:until]


def test_what_comes_later_changes_no_verdict_of_earlier_weeks() -> None:
    values = [value * (1 if hour < 7 * WEEK else 4) for hour, value in enumerate(week_shaped(10))]
    assert verdicts(values)[: 8 * WEEK] == verdicts(values[: 8 * WEEK])


@settings(max_examples=25, deadline=None)
@given(st.lists(amounts, min_size=80, max_size=160), st.sampled_from([2.0**-20, 0.5, 4.0, 2.0**20]))
def test_another_unit_gives_the_same_verdicts(values: list[float], unit: float) -> None:
    plain, scaled = verdicts(values), verdicts([value * unit for value in values])
    assert [one.state for one in plain] == [one.state for one in scaled]
    assert [one.score for one in plain] == pytest.approx([one.score for one in scaled])


@settings(max_examples=25, deadline=None)
@given(st.floats(-1e6, 1e6, allow_nan=False), st.integers(60, 700))
def test_a_constant_series_raises_nothing(value: float, length: int) -> None:
    assert not any(verdict.is_unusual for verdict in verdicts([value] * length))


def test_a_spike_at_a_quiet_hour_is_found_though_the_day_goes_higher() -> None:
    values = week_shaped(8)
    night = 7 * WEEK + 3  # Monday 03:00
    values[night] = 1.5
    verdict = verdicts(values)[night]
    assert (verdict.state, verdict.season) == ("above", "hour_of_week")
    assert max(values[:night]) > 1.5


def test_usual_weeks_raise_hardly_an_alarm() -> None:
    weeks = [verdict for seed in range(4) for verdict in verdicts(week_shaped(8, seed))[4 * WEEK :]]
    assert sum(verdict.is_unusual for verdict in weeks) <= 3  # in sixteen weeks


def test_a_verdict_explains_itself() -> None:
    values = week_shaped(8)
    monday = 7 * WEEK + 9
    values[monday] = 2.0 * 4.1
    verdict = verdicts(values)[monday]
    assert verdict.is_unusual
    assert verdict.usual is not None
    assert verdict.low is not None
    assert verdict.high is not None
    times = f"{verdict.value / verdict.usual:.1f}"
    assert verdict.explain("$") == (
        f"{times} \N{MULTIPLICATION SIGN} the usual for Monday 09:00,"
        f" expected ${verdict.low:.2f} to ${verdict.high:.2f}"
    )
    assert 3.5 < float(times) < 4.7
    assert "Monday 05:00" in verdict.explain("$", ZoneInfo("America/New_York"))


def test_an_hour_is_judged_by_the_median_of_its_weeks() -> None:
    # 9, 10, 11 and 10: the median is 10, the deviation from it 0.5 x 1.4826, and an alarm six of these away.
    values = [10.0 + (hour // WEEK in (0, 2)) * ((hour // WEEK) - 1) for hour in range(4 * WEEK)] + [12.0]
    verdict = verdicts(values)[-1]
    assert verdict.usual == pytest.approx(10)
    assert verdict.score == pytest.approx(2 / (6 * 0.5 * 1.4826))
    assert verdict.high == pytest.approx(10 + 3 * 0.5 * 1.4826)


def test_the_seasons_hours_are_those_of_the_reporting_zone() -> None:
    zone = ZoneInfo("Europe/Berlin")
    # From August to November: the clocks go back in between, the office's hours stay the same on the clock.
    starts = [START + timedelta(hours=number) for number in range(15 * WEEK)]
    rng = random.Random(3)
    points = []
    for at in starts:
        local = at.astimezone(zone)
        busy = 9 <= local.hour < 18 and local.weekday() < 5
        points.append((at, (2.0 if busy else 0.2) * rng.lognormvariate(0, 0.1)))
    changed = datetime(2026, 10, 25, 1, tzinfo=UTC)
    found = judge(points, timezone=zone)
    assert [one.at for one in found if one.is_unusual and changed <= one.at < changed + timedelta(days=5)] == []
    in_utc = judge(points, timezone=UTC)
    assert [one.at for one in in_utc if one.is_unusual and changed <= one.at < changed + timedelta(days=5)] != []


def test_an_outlier_does_not_hide_the_next_one() -> None:
    values = week_shaped(8)
    first, second = 6 * WEEK + 11, 7 * WEEK + 35
    values[first] = 200.0
    values[second] = 12.0
    found = verdicts(values)
    assert found[first].state == "above"
    assert found[second].state == "above"


def test_a_level_that_has_stayed_for_a_day_is_the_usual() -> None:
    rng = random.Random(5)
    values = [rng.lognormvariate(0, 0.1) * (1.0 if hour < 28 * DAY else 3.0) for hour in range(42 * DAY)]
    found = verdicts(values)
    assert all(verdict.state == "above" for verdict in found[28 * DAY : 28 * DAY + 18])
    # The mean of days tells it for three days.
    assert not any(verdict.is_unusual for verdict in found[32 * DAY :])
    assert found[-1].usual == pytest.approx(3.0, rel=0.15)


def test_a_week_whose_level_moved_keeps_its_shape() -> None:
    values = [(1.0 if hour < 8 * WEEK else 4.0) * value for hour, value in enumerate(week_shaped(10))]
    night = 9 * WEEK + 3  # Monday 03:00, where 0.8 is the usual now
    values[night] = 6.0
    found = verdicts(values)
    assert found[8 * WEEK + 10].state == "above"
    assert (found[night].state, found[night].season) == ("above", "hour_of_week")
    others = found[8 * WEEK + 5 * DAY : night] + found[night + 1 :]
    assert sum(verdict.is_unusual for verdict in others) <= 2


def test_a_level_that_goes_back_is_judged_by_what_was_before() -> None:
    values = [value * (3.0 if 6 * WEEK <= hour < 6 * WEEK + 60 else 1.0) for hour, value in enumerate(week_shaped(8))]
    values[7 * WEEK + 10] = 6.0  # three times the usual of before, and the usual of the level that has gone
    found = verdicts(values)
    assert found[6 * WEEK + 10].state == "above"
    assert found[7 * WEEK + 10].state == "above"


@pytest.mark.parametrize("seed", range(3))
def test_a_leak_of_100_percent_in_14_days_is_told_within_3_days(seed: int) -> None:
    start = 6 * WEEK
    values = [value * (1 + max(0, hour - start) / (14 * DAY)) for hour, value in enumerate(week_shaped(8, seed))]
    found = verdicts(values)
    told = [number for number, verdict in enumerate(found) if number >= start and verdict.state == "above"]
    assert 0 < told[0] - start <= 3 * DAY
    first = found[told[0]]
    assert first.season == "weeks"
    assert "\N{MULTIPLICATION SIGN} the level of the weeks before over" in first.explain("$")


def test_growth_that_goes_on_as_before_is_no_leak() -> None:
    values = [value * 1.05 ** (hour / WEEK) for hour, value in enumerate(week_shaped(12))]
    assert sum(verdict.is_unusual for verdict in verdicts(values)[6 * WEEK :]) <= 2


def test_less_than_usual_is_unusual_too() -> None:
    rng = random.Random(5)
    for days in (14, 35):  # by the recent level, by the hour of the week
        values = [10 * rng.lognormvariate(0, 0.05) for _ in range(days * DAY)] + [1.0]
        last = verdicts(values)[-1]
        assert last.state == "below"
        assert last.explain().startswith("0.1")


def test_a_young_series_gets_no_verdict() -> None:
    found = verdicts([1.0] * 47 + [100.0])
    assert {verdict.state for verdict in found} == {"learning"}
    assert found[-1].explain() == "not enough history to say what is usual"


def test_after_nothing_but_zeros_there_is_no_usual() -> None:
    assert verdicts([0.0] * 100 + [5.0])[-1].state == "learning"


def test_where_most_hours_are_empty_19_of_20_hours_or_the_highest_say_what_is_unusual() -> None:
    # Of 100 hours 60 are empty, 35 of a dollar, 4 of two and one of nine: 95 of them come to a dollar or less.
    values = [0.0] * 60 + [1.0] * 35 + [2.0] * 4 + [9.0]
    random.Random(5).shuffle(values)
    mean = 52 / 100
    quiet, usual, costly = (verdicts([*values, value])[-1] for value in (0.0, 2.9, 4.0))
    assert (quiet.state, usual.state, costly.state) == ("usual", "usual", "above")
    assert costly.score == pytest.approx((4.0 - mean) / (3 * 1.0 - mean))
    assert costly.explain("$").startswith(f"{4.0 / mean:.1f} \N{MULTIPLICATION SIGN} the mean hour, expected $0.000 to")
    one_of_many = judge(hourly([*values, 19.0]), timezone=UTC, sensitivity=Sensitivity(is_one_of_many=True))
    assert one_of_many[-1].score == pytest.approx((19.0 - mean) / (2 * 9.0 - mean))


def test_a_gap_is_neither_judged_nor_learned() -> None:
    values = [1.0 + number % 3 for number in range(5 * WEEK)]
    gap = 4 * WEEK + 30
    found = verdicts([*values[:gap], math.nan, *values[gap + 1 :]])
    assert found[gap].state == "learning"
    assert not any(one.is_unusual for one in found)
    assert [one.usual for one in found[gap + 1 :]] == pytest.approx([one.usual for one in verdicts(values)[gap + 1 :]])


def test_a_metric_that_goes_below_zero_is_told_by_its_amounts() -> None:
    rng = random.Random(5)
    last = verdicts([rng.gauss(0, 1) for _ in range(100)] + [50.0])[-1]
    assert last.is_unusual
    assert last.low is not None
    assert last.low < 0
    last_text = Verdict(START, -5.0, "below", 2.0, -1.0, -2.0, 0.0).explain("$")
    assert (
        last_text
        == "\N{MINUS SIGN}$5.00 instead of \N{MINUS SIGN}$1.00, the recent level, expected \N{MINUS SIGN}$2.00 to $0.00"
    )


def test_the_change_is_that_of_all_hours_judged() -> None:
    assert Verdict(START, 3.0, "above", 2.0, 1.0, 0.5, 1.5, "weeks", 24).change == pytest.approx(48)


def test_a_newcomer_is_judged_by_the_days_of_others() -> None:
    unusual = judge_newcomer(START, 9.0, 4.0)
    assert unusual.state == "above"
    assert unusual.score == pytest.approx(1.25)  # an alarm begins at twice 4
    assert unusual.explain("$") == (
        "2.2 \N{MULTIPLICATION SIGN} what 99 of 100 users come to in a day, expected $0.00 to $4.00"
    )
    assert judge_newcomer(START, 7.9, 4.0).state == "usual"
    assert judge_newcomer(START, 9.0, None).state == "learning"


def test_absent_hours_are_filled_in() -> None:
    known = {START: 1.0, START + timedelta(hours=2): 3.0}
    filled = fill_gaps(known, START, START + timedelta(hours=4), gap=0.0)
    assert [value for _, value in filled] == [1.0, 0.0, 3.0, 0.0]


def test_no_warning_comes_of_a_series_with_a_long_gap() -> None:
    values = np.array(week_shaped(8))
    values[2 * WEEK : 5 * WEEK] = math.nan
    assert len(verdicts(values.tolist())) == 8 * WEEK
