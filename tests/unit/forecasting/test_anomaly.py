from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.forecasting.anomaly import Sensitivity, Verdict, fill_gaps, judge

START = datetime(2026, 8, 3, tzinfo=UTC)  # a Monday
HOUR_S = 3600
QUICK = Sensitivity(memory_s=5 * 86_400, proof_s=2 * 86_400)

Points = list[tuple[datetime, float]]


def hourly(values: list[float], start: datetime = START) -> Points:
    return [(start + timedelta(hours=number), value) for number, value in enumerate(values)]


def week_shaped(weeks: int, seed: int = 7) -> list[float]:
    """Dollars an hour: busy in office hours, quiet at night and at weekends, with noise of some 10 percent."""
    rng = random.Random(seed)
    values = []
    for hour in range(weeks * 168):
        day, of_day = hour // 24 % 7, hour % 24
        level = (2.0 if 9 <= of_day < 18 else 0.2) * (0.3 if day >= 5 else 1.0)
        values.append(level * rng.lognormvariate(0, 0.1))
    return values


def verdicts(points: Points, sensitivity: Sensitivity | None = None) -> list[Verdict]:
    return judge(points, step_s=HOUR_S, timezone=UTC, sensitivity=sensitivity)


amounts = st.floats(0, 1e6, allow_nan=False, allow_subnormal=False)


@settings(max_examples=25, deadline=None)
@given(st.lists(amounts, min_size=80, max_size=160), st.integers(60, 79), st.randoms(use_true_random=False))
def test_what_comes_later_changes_no_earlier_verdict(values: list[float], until: int, rng: random.Random) -> None:
    other = values[:until] + [rng.uniform(0, 1e6) for _ in values[until:]]
    assert verdicts(hourly(values), QUICK)[:until] == verdicts(hourly(other), QUICK)[:until]


@settings(max_examples=25, deadline=None)
@given(st.lists(amounts, min_size=80, max_size=160), st.sampled_from([2.0**-20, 0.5, 4.0, 2.0**20]))
def test_another_unit_gives_the_same_verdicts(values: list[float], unit: float) -> None:
    plain = verdicts(hourly(values), QUICK)
    scaled = verdicts(hourly([value * unit for value in values]), QUICK)
    assert [one.state for one in plain] == [one.state for one in scaled]
    assert [one.score for one in plain] == pytest.approx([one.score for one in scaled])


@settings(max_examples=25, deadline=None)
@given(st.floats(-1e6, 1e6, allow_nan=False), st.integers(60, 200))
def test_a_constant_series_raises_nothing(value: float, length: int) -> None:
    assert not any(verdict.is_unusual for verdict in verdicts(hourly([value] * length), QUICK))


def test_a_spike_at_a_quiet_hour_is_found_though_the_day_goes_higher() -> None:
    values = week_shaped(8)
    night = 7 * 168 + 3  # Monday 03:00
    values[night] = 1.5
    verdict = verdicts(hourly(values))[night]
    assert (verdict.state, verdict.season) == ("above", "hour_of_week")
    assert max(values[:night]) > 1.5


def test_usual_weeks_raise_hardly_an_alarm() -> None:
    weeks = [verdict for seed in range(4) for verdict in verdicts(hourly(week_shaped(8, seed)))[5 * 168 :]]
    assert sum(verdict.is_unusual for verdict in weeks) <= 3  # in twelve weeks


def test_a_verdict_explains_itself() -> None:
    values = week_shaped(8)
    monday = 7 * 168 + 9
    values[monday] = 2.0 * 4.1
    verdict = verdicts(hourly(values))[monday]
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


def test_the_seasons_hours_are_those_of_the_reporting_zone() -> None:
    zone = ZoneInfo("Europe/Berlin")
    # From August to November: the clocks go back in between, the office's hours stay the same on the clock.
    starts = [START + timedelta(hours=number) for number in range(15 * 168)]
    rng = random.Random(3)
    points = []
    for at in starts:
        local = at.astimezone(zone)
        busy = 9 <= local.hour < 18 and local.weekday() < 5
        points.append((at, (2.0 if busy else 0.2) * rng.lognormvariate(0, 0.1)))
    changed = datetime(2026, 10, 25, 1, tzinfo=UTC)
    found = judge(points, step_s=HOUR_S, timezone=zone)
    assert [one.at for one in found if one.is_unusual and changed <= one.at < changed + timedelta(days=5)] == []
    in_utc = judge(points, step_s=HOUR_S, timezone=UTC)
    assert [one.at for one in in_utc if one.is_unusual and changed <= one.at < changed + timedelta(days=5)] != []


def test_an_outlier_does_not_hide_the_next_one() -> None:
    values = week_shaped(8)
    first, second = 6 * 168 + 11, 7 * 168 + 35
    values[first] = 200.0
    values[second] = 12.0
    found = verdicts(hourly(values))
    assert found[first].state == "above"
    assert found[second].state == "above"


def test_a_level_that_has_stayed_for_a_day_is_the_usual() -> None:
    rng = random.Random(5)
    values = [rng.lognormvariate(0, 0.1) * (1.0 if hour < 28 * 24 else 3.0) for hour in range(42 * 24)]
    found = verdicts(hourly(values))
    assert all(verdict.state == "above" for verdict in found[28 * 24 : 28 * 24 + 18])
    assert not any(verdict.is_unusual for verdict in found[30 * 24 :])
    assert found[-1].usual == pytest.approx(3.0, rel=0.1)


def test_a_week_whose_level_moved_keeps_its_shape() -> None:
    values = [(1.0 if hour < 8 * 168 else 4.0) * value for hour, value in enumerate(week_shaped(10))]
    night = 9 * 168 + 3  # Monday 03:00, where 0.8 is the usual now
    values[night] = 6.0
    found = verdicts(hourly(values))
    assert found[8 * 168 + 10].state == "above"
    assert (found[night].state, found[night].season) == ("above", "hour_of_week")
    others = found[8 * 168 + 72 : night] + found[night + 4 :]
    assert sum(verdict.is_unusual for verdict in others) <= 2


def test_a_modest_rise_that_lasts_is_found() -> None:
    rng = random.Random(5)
    values = [10 * rng.lognormvariate(0, 0.2) for _ in range(28 * 24)]
    values += [17.0] * 3
    found = verdicts(hourly(values))
    assert not found[-3].is_unusual
    assert found[-1].state == "above"
    assert "over 3 hours" in found[-1].explain()


def test_less_than_usual_is_unusual_too() -> None:
    rng = random.Random(5)
    values = [10 * rng.lognormvariate(0, 0.05) for _ in range(14 * 24)] + [1.0]
    last = verdicts(hourly(values))[-1]
    assert last.state == "below"
    assert last.explain().startswith("0.1")


def test_a_young_series_gets_no_verdict() -> None:
    found = verdicts(hourly([1.0] * 47 + [100.0]))
    assert {verdict.state for verdict in found} == {"learning"}
    assert found[-1].explain() == "not enough history to say what is usual"


def test_after_nothing_but_zeros_there_is_no_usual() -> None:
    assert verdicts(hourly([0.0] * 100 + [5.0]))[-1].state == "learning"


def test_spend_where_mostly_nothing_is_spent_is_judged_from_above() -> None:
    rng = random.Random(5)
    values = [rng.choice([0.0, 0.0, 0.0, 1.0, 2.0]) for _ in range(28 * 24)] + [0.0, 40.0]
    found = verdicts(hourly(values))
    assert (found[-2].state, found[-1].state) == ("usual", "above")
    assert found[-1].explain("$").startswith("$40.00 instead of $0.00, the recent level")
    assert not any(verdict.state == "below" for verdict in found)


def test_an_office_that_is_quiet_most_hours_has_its_season() -> None:
    rng = random.Random(5)
    busy = [9 <= hour % 24 < 18 and hour // 24 % 7 < 5 for hour in range(8 * 168)]
    values = [(2.0 if one else 0.2) * rng.lognormvariate(0, 0.1) for one in busy]
    assert {verdict.season for verdict in verdicts(hourly(values))[6 * 168 :]} == {"hour_of_week"}


def test_an_hour_that_is_always_the_same_is_judged_by_the_whole() -> None:
    values = [0.0 if hour % 24 < 12 else 1.0 + hour % 5 for hour in range(8 * 168)]
    values[-24 + 3] = 50.0  # at night, where nothing ever was
    assert verdicts(hourly(values))[-24 + 3].state == "above"


def test_a_gap_is_neither_judged_nor_learned() -> None:
    values = [1.0 + number % 3 for number in range(100)]
    with_gaps = [*values[:60], math.nan, *values[60:]]
    points = hourly(with_gaps)
    found = verdicts(points)
    assert found[60].state == "learning"
    assert [one.score for one in found[61:]] == [one.score for one in verdicts(points[:60] + points[61:])[60:]]


def test_a_metric_that_goes_below_zero_is_told_by_its_amounts() -> None:
    rng = random.Random(5)
    values = [rng.gauss(0, 1) for _ in range(100)] + [50.0]
    last = verdicts(hourly(values))[-1]
    assert last.is_unusual
    assert last.low is not None
    assert last.low < 0
    last_text = Verdict(START, -5.0, "below", 2.0, -1.0, -2.0, 0.0).explain("$")
    assert last_text == "-$5.00 instead of -$1.00, the recent level, expected -$2.00 to $0.00"


def test_absent_steps_are_filled_in() -> None:
    known = {START: 1.0, START + timedelta(hours=2): 3.0}
    filled = fill_gaps(known, START, START + timedelta(hours=4), HOUR_S, gap=0.0)
    assert [value for _, value in filled] == [1.0, 0.0, 3.0, 0.0]
