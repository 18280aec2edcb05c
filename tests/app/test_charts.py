"""Time lines and charts."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import altair as alt
import pandas as pd
import pytest

from dashboard.figures import charts, colours, frames
from ingest.documents.pages import Page
from ingest.documents.series import Point

START = datetime(2026, 11, 23, 10, tzinfo=UTC)


def page(bucket: str = "hour", start: datetime = START, hours: float = 4, zone: str = "UTC") -> Page:
    end = start + timedelta(hours=hours)
    return Page(access="ops", from_time=start, to_time=end, bucket=bucket, timezone=zone, generated_at=end)


def point(hours: float, key: str | None = "gpt-4o", **values: object) -> Point:
    return Point.model_validate({"bucket_start": START + timedelta(hours=hours), "key": key, **values})


def data_of(chart: alt.LayerChart, layer: int = 0) -> pd.DataFrame:
    data = chart.layer[layer].data
    assert isinstance(data, pd.DataFrame)
    return data


def test_an_hour_without_a_call_is_a_zero_in_a_sum() -> None:
    line = frames.groups_over_time(page(), [point(0, requests=3), point(2, requests=5)], frames.REQUESTS)

    assert list(line.frame["value"]) == [3, 0, 5, 0]
    assert list(line.frame["text"]) == ["3", "0", "5", "0"]


def test_an_hour_without_a_call_is_a_gap_in_a_percentile() -> None:
    measure = frames.duration_of(lambda p: p.latency_p50_ms)

    line = frames.measures_over_time(page(hours=3), [point(1, latency_p50_ms=250.0)], {"p50": measure})

    assert [math.isnan(value) for value in line.frame["value"]] == [True, False, True]
    assert list(line.frame["text"]) == ["—", "250 ms", "—"]


def test_calls_without_a_price_are_a_gap_and_never_a_zero() -> None:
    line = frames.groups_over_time(page(hours=1), [point(0, requests=3, cost=None)], frames.COST)

    assert math.isnan(line.frame["value"][0])
    assert list(line.frame["text"]) == ["—"]


def test_buckets_keep_the_offset_of_a_zone_with_half_hours() -> None:
    start = START - timedelta(minutes=14)
    first = Point(bucket_start=datetime(2026, 11, 23, 10, 30, tzinfo=UTC))

    starts = frames.bucket_starts(page(start=start, zone="Asia/Kolkata"), [first])

    assert starts[0] == datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    assert all(after - before == timedelta(hours=1) for before, after in pairwise(starts))


def test_local_days_have_23_hours_where_summer_time_begins() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 3, 28, tzinfo=berlin).astimezone(UTC)

    starts = frames.bucket_starts(page("day", start, hours=71, zone="Europe/Berlin"), [])

    assert [(after - before).total_seconds() / 3600 for before, after in pairwise(starts)] == [24, 23]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    weeks = frames.bucket_starts(page("week", hours=24 * 10), [])
    months = frames.bucket_starts(page("month", hours=24 * 40), [])

    assert [day.isoformat()[:10] for day in weeks] == ["2026-11-23", "2026-11-30"]
    assert [day.isoformat()[:10] for day in months] == ["2026-11-01", "2026-12-01", "2027-01-01"]


@pytest.mark.parametrize(
    ("bucket", "words"),
    [("hour", "Mon 23 Nov, 10:00"), ("day", "Mon 23 Nov"), ("week", "Week of Mon 23 Nov"), ("month", "November 2026")],
)
def test_a_bucket_reads_in_words(bucket: str, words: str) -> None:
    measures = {"Requests": frames.REQUESTS}

    line = frames.measures_over_time(page(bucket, hours=1), [], measures)

    assert line.frame["when"][0] == words


def test_the_largest_series_comes_first_and_the_rest_last() -> None:
    points = [
        point(0, "small", cost="1"),
        point(0, None, cost="9"),
        point(0, "large", cost="5"),
        point(1, "", cost="0"),
    ]

    line = frames.groups_over_time(page(), points, frames.COST)

    assert line.series == ("large", "small", "—", "Other")
    assert frames.totals_by_series(line) == {"large": 5, "small": 1, "—": 0, "Other": 9}
    assert colours.colours_of(line.series)[-1] == colours.OTHER_COLOUR


def test_sums_of_a_legend_are_exact() -> None:
    points = [point(0, cost="0.1"), point(1, cost="0.2"), point(2, cost=None), point(0, "new", cost=None)]

    assert frames.costs_by_key(points) == {"gpt-4o": Decimal("0.3"), "new": None}


def test_tokens_of_a_group_are_prompt_and_completion() -> None:
    line = frames.groups_over_time(page(hours=1), [point(0, prompt_tokens=3, completion_tokens=4)], frames.TOKENS)

    assert list(line.frame["value"]) == [7]


def test_bars_stand_on_each_other() -> None:
    line = frames.groups_over_time(
        page(hours=1), [point(0, "a", requests=5), point(0, "b", requests=3)], frames.REQUESTS
    )

    bars = data_of(charts.stacked_bars(line, "requests"))

    assert list(bars["low"]) == [0, 5]
    assert list(bars["high"]) == [5, 8]
    assert all(bars["edge"] < line.frame["until"].max())


def test_many_bars_stand_without_gaps() -> None:
    line = frames.groups_over_time(page("minute", hours=3), [point(0, requests=1)], frames.REQUESTS)

    bars = data_of(charts.stacked_bars(line, "requests"))

    assert list(bars["edge"]) == [line.frame["until"].min()]  # and nothing is drawn where nothing was counted


def test_a_single_value_between_gaps_is_drawn_as_a_point() -> None:
    measure = {"p50": frames.duration_of(lambda p: p.latency_p50_ms)}
    alone = frames.measures_over_time(page(), [point(1, latency_p50_ms=9.5, requests=20)], measure)
    many = [point(hour, latency_p50_ms=9.5, requests=20) for hour in range(4)]
    together = frames.measures_over_time(page(), many, measure)

    assert [layer.mark.type for layer in charts.lines(alone, "ms").layer] == ["line", "point", "rect"]
    assert [layer.mark.type for layer in charts.lines(together, "ms").layer] == ["line", "rect"]


def test_percentiles_of_few_calls_are_faint_and_no_line_is_smoothed() -> None:
    measure = {"p50": frames.duration_of(lambda p: p.latency_p50_ms)}
    counts = (50, 19, 20, 400)
    points = [point(hour, latency_p50_ms=100.0 + hour, requests=count) for hour, count in enumerate(counts)]

    chart = charts.lines(frames.measures_over_time(page(), points, measure), "ms")
    faint, strong, *_ = chart.layer

    assert (faint.mark.opacity, strong.mark.opacity) == (charts.FAINT, alt.Undefined)
    assert [math.isnan(value) for value in data_of(chart, 1)["value"]] == [False, True, False, False]
    assert faint.mark.interpolate is alt.Undefined


def test_a_tooltip_says_of_how_many_calls_a_figure_is() -> None:
    measures = {name: frames.duration_of(lambda p: p.latency_p50_ms) for name in ("p50", "p99")}
    points = [point(0, latency_p50_ms=9.0, requests=1_234)]

    shared = charts.lines(frames.measures_over_time(page(hours=1), points, measures), "ms")
    groups = frames.groups_over_time(
        page(hours=1), [point(0, "a", requests=2), point(0, "b", requests=3)], frames.REQUESTS
    )

    assert list(data_of(shared, -1)["calls"]) == ["1,234"]
    assert list(data_of(charts.stacked_bars(groups, "requests"), -1)["calls"]) == ["5"]


def test_a_bar_that_is_not_complete_is_striped_and_says_so() -> None:
    today = page("day", START.replace(hour=0), hours=30)
    points = [point(-10, "a", requests=10), point(14, "a", requests=9)]

    chart = charts.stacked_bars(frames.groups_over_time(today, points, frames.REQUESTS), "requests")

    bars = data_of(chart)
    first, second = (bars[bars["at"] == at] for at in sorted(set(bars["at"])))
    assert list(first["strength"]) == [1.0]
    assert set(second["strength"]) == {1.0, charts.FAINT}
    assert (second["high"] - second["low"]).sum() == pytest.approx(9)
    assert list(data_of(chart, -1)["when"]) == ["Mon 23 Nov", "Tue 24 Nov, not complete"]


def test_a_name_keeps_its_colour_whatever_its_rank_and_company() -> None:
    known = [f"model-{number}" for number in range(8)]

    alone = colours.colours_of(["model-3"], known)
    ranked = colours.colours_of(["model-5", "model-3", "Other", "model-0"], known)

    assert alone == [ranked[1]]
    assert len({*colours.colours_of(known, known)}) == 8, "while there are colours, no two names share one"
    assert len({*colours.colours_of(known, [f"m{number}" for number in range(40)])}) == 8


def test_an_earlier_period_stands_behind_bucket_by_bucket() -> None:
    line = frames.groups_over_time(page(hours=2), [point(0, "a", cost="1"), point(1, "b", cost="2")], frames.COST)
    before = [point(-2, "a", cost="4"), point(-2, "b", cost="0.5"), point(-1, "a", cost=None)]

    drawn = frames.with_ghost(line, page(start=START - timedelta(hours=2), hours=2), before, frames.COST)

    assert drawn.ghost is not None
    assert list(drawn.ghost["value"]) == [4.5]
    chart = charts.stacked_bars(drawn, "usd")
    assert [layer.mark.type for layer in chart.layer] == ["rect", "rule", "rect"]
    assert list(data_of(chart, -1)["earlier"]) == ["$4.50 (Mon 23 Nov, 08:00)", "—"]


@pytest.mark.parametrize(
    ("unit", "title"),
    [
        ("usd", "US$ per hour"),
        ("tokens", "Tokens per hour"),
        ("requests", "Requests per hour"),
        ("ms", "Milliseconds"),
        ("percent", "Percent"),
    ],
)
def test_the_unit_stands_on_the_axis(unit: charts.Unit, title: str) -> None:
    line = frames.groups_over_time(page(), [point(0, requests=3)], frames.REQUESTS)

    chart = charts.stacked_bars(line, unit).to_dict()

    assert chart["layer"][0]["encoding"]["y"]["axis"]["title"] == title


@pytest.mark.parametrize(
    ("cost", "labels"),
    [("0.00002", "$,.6f"), ("0.05", "$,.3f"), ("0.4", "$,.2f"), ("19", "$,.2f"), ("250", "$,.0f"), ("0", "$,.2f")],
)
def test_small_sums_have_labels_that_differ(cost: str, labels: str) -> None:
    line = frames.groups_over_time(page(), [point(0, cost=cost)], frames.COST)

    axis = charts.stacked_bars(line, "usd").to_dict()["layer"][0]["encoding"]["y"]["axis"]

    assert axis["format"] == labels


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("usd", 5000, "replace("),
        ("ms", 2, ",.1f"),
        ("ms", 20, ",.0f"),
        ("ms", 20_000, "/ 1000"),
        ("percent", 8, ".0f"),
        ("percent", 1, ".2~f"),
    ],
)
def test_labels_suit_the_size_of_the_figures(unit: charts.Unit, value: float, expected: str) -> None:
    measure = frames.Measure(lambda p: float(p.requests) * value, lambda _: "")
    line = frames.measures_over_time(page(), [point(0, requests=1)], {"x": measure})

    axis = charts.lines(line, unit).to_dict()["layer"][0]["encoding"]["y"]["axis"]

    assert expected in (axis.get("format") or axis["labelExpr"])


def test_where_all_is_zero_the_axis_still_begins_at_zero() -> None:
    line = frames.groups_over_time(page(), [point(0, requests=0)], frames.REQUESTS)

    scale = charts.stacked_bars(line, "requests").to_dict()["layer"][0]["encoding"]["y"]["scale"]

    assert scale == {"domain": [0, 1]}


@pytest.mark.parametrize(("hours", "label"), [(24, "%H:%M"), (24 * 7, "%a %-d"), (24 * 30, "%-d %b")])
def test_the_time_axis_suits_the_length_of_the_period(hours: int, label: str) -> None:
    line = frames.groups_over_time(page(hours=hours), [point(0, requests=1)], frames.REQUESTS)

    axis = charts.stacked_bars(line, "requests").to_dict()["layer"][0]["encoding"]["x"]["axis"]

    assert label in axis["labelExpr"]


def test_a_chart_of_nothing_can_be_drawn() -> None:
    line = frames.groups_over_time(page(), [], frames.COST)

    assert line.series == ()
    assert charts.stacked_bars(line, "usd").to_dict()["layer"]


def test_names_with_dots_and_brackets_are_safe_in_a_tooltip() -> None:
    line = frames.groups_over_time(page(hours=1), [point(0, "gpt-4.1[x].y", cost="1")], frames.COST)

    tooltip = charts.stacked_bars(line, "usd").to_dict()["layer"][-1]["encoding"]["tooltip"]

    assert tooltip[1] == {"field": "t0", "title": "gpt-4.1[x].y", "type": "nominal"}


def luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [*colours.PALETTE, colours.OTHER_COLOUR, colours.ERROR_COLOUR])
@pytest.mark.parametrize("background", ["#ffffff", "#111514"])
def test_every_colour_has_a_contrast_of_three_on_both_themes(colour: str, background: str) -> None:
    dark, light = sorted([luminance(colour), luminance(background)])

    assert (light + 0.05) / (dark + 0.05) >= 3


# Machado, Oliveira and Fernandes (2009), severity 1.0, linear RGB.
DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))
PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))


def lab(colour: str, matrix: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    red, green, blue = (
        min(max(sum(weight * part for weight, part in zip(row, linear, strict=True)), 0), 1) for row in matrix
    )
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    f = [t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z)]
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


@pytest.mark.parametrize("matrix", [DEUTERANOPIA, PROTANOPIA], ids=["deuteranopia", "protanopia"])
def test_neighbouring_colours_stay_apart_for_the_colour_blind(matrix: tuple[tuple[float, ...], ...]) -> None:
    for first, second in pairwise(colours.PALETTE):
        assert math.dist(lab(first, matrix), lab(second, matrix)) >= 12, (first, second)


def test_spend_and_tokens_have_an_axis_each_and_one_pointer() -> None:
    points = [point(hour, None, cost=str(hour), prompt_tokens=100 * hour, requests=1) for hour in range(4)]
    cost, tokens = (
        frames.measures_over_time(page(), points, {name: measure})
        for name, measure in (("Spend", frames.COST), ("Tokens", frames.TOKENS))
    )

    chart = charts.cost_and_tokens(cost, tokens).to_dict()

    assert [layer["mark"]["type"] for layer in chart["layer"]] == ["rect", "line", "rect"]
    assert [chart["layer"][index]["encoding"]["y"]["axis"]["title"] for index in (0, 1)] == [
        "US$ per hour",
        "Tokens per hour",
    ]
    assert chart["layer"][1]["encoding"]["y"]["axis"]["orient"] == "right"
    assert chart["resolve"] == {"scale": {"y": "independent"}}
    assert {param["name"] for param in chart["params"]} == {"hover", "pick"}
