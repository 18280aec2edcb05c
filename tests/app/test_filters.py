"""Period, filters and their address."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.selection.filters import (
    CALL_FILTERS,
    FILTERS,
    GROUPS,
    QUERY_KEYS,
    STATUSES,
    Selection,
    parse_query,
    viewer_zone,
)
from dashboard.selection.metadata import tidy_pair, tidy_pairs, to_object
from dashboard.selection.periods import PERIODS

NOW = datetime(2026, 11, 23, 20, 14, 7, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
KATHMANDU = ZoneInfo("Asia/Kathmandu")

NAME = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=200
)  # as long as an address holds
NAMES = st.lists(NAME, max_size=4, unique=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20)
VALUES = TEXTS | st.integers(-(10**20), 10**20) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
DAYS = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    period = draw(st.sampled_from(list(PERIODS)))
    first = last = None
    if period == "custom":
        first = draw(DAYS)
        last = first + timedelta(days=draw(st.integers(0, 365)))
    names: dict[str, Any] = {name: tuple(draw(NAMES)) for name in (*FILTERS, *CALL_FILTERS)}
    names["status"] = tuple(draw(st.lists(st.sampled_from(STATUSES), unique=True)))
    names["tags"] = tuple(f"plan={value[:190]}" for value in names["tags"][:1])
    pairs = draw(st.dictionaries(TEXTS, VALUES, max_size=3))
    return Selection(
        period=period,
        first_day=first,
        last_day=last,
        **names,
        metadata=tidy_pairs(f"{key}={json.dumps(value)}" for key, value in pairs.items()),
        group=draw(st.sampled_from(list(GROUPS))),
        is_reporting_zone=draw(st.booleans()),
    )


@given(selections())
def test_an_address_gives_back_the_selection_it_was_made_from(selection: Selection) -> None:
    query = {key: [value] if isinstance(value, str) else value for key, value in selection.to_query().items()}

    assert query.keys() <= set(QUERY_KEYS)
    assert parse_query(query) == selection


@pytest.mark.parametrize(
    "query",
    [
        {"period": ["decade"]},
        {"period": ["custom"], "from": ["2026-11-10"], "to": ["2026-11-01"]},
        {"period": ["custom"], "from": ["2020-01-01"], "to": ["2026-11-01"]},
        {"period": ["custom"], "from": ["yesterday"], "to": ["2026-11-01"]},
        {"period": ["custom"], "from": ["0001-01-01"], "to": ["0001-01-02"]},
        {"group": ["password"]},
        {"zone": ["Mars"]},
        {"model": ["a\x00b", "", "x" * 201]},
        {"select": ["1"]},
        {"status": ["ok'; drop table", "OK"]},
        {"metadata": ["plan", "=pro", "plan=", 'plan="pro', "plan=[1]", "plan={}", "a\x00=1", "a=" + "x" * 201]},
        {"period": []},
    ],
)
def test_what_an_address_should_not_say_is_left_out(query: dict[str, list[str]]) -> None:
    assert parse_query(query) == Selection()


def test_the_default_selection_leaves_the_address_empty() -> None:
    assert Selection().to_query() == {}


def test_a_custom_period_is_whole_local_days() -> None:
    chosen = Selection(period="custom", first_day=date(2026, 10, 25), last_day=date(2026, 10, 25))

    window = chosen.window(NOW, BERLIN)

    assert window.from_time == datetime(2026, 10, 24, 22, tzinfo=UTC)
    assert window.to_time == datetime(2026, 10, 25, 23, tzinfo=UTC), "the day of the change to winter time has 25 hours"


@pytest.mark.dated
def test_a_month_begins_at_local_midnight() -> None:
    window = Selection(period="month").window(NOW, KATHMANDU)

    assert window.from_time.astimezone(KATHMANDU).isoformat() == "2026-10-26T00:00:00+05:45"


@pytest.mark.parametrize(
    ("period", "start"),
    [
        ("hour", datetime(2026, 11, 23, 19, 14, tzinfo=UTC)),
        ("day", datetime(2026, 11, 22, 20, 0, tzinfo=UTC)),
        ("week", datetime(2026, 11, 16, 20, 0, tzinfo=UTC)),
        ("quarter", datetime(2026, 8, 25, 22, 0, tzinfo=UTC)),
    ],
)
def test_a_sliding_period_begins_at_a_full_bucket(period: str, start: datetime) -> None:
    assert Selection(period=period).window(NOW, BERLIN).from_time == start


@pytest.mark.dated
def test_reads_within_a_step_share_one_window_that_holds_the_present() -> None:
    first = Selection().window(NOW, BERLIN)
    second = Selection().window(NOW + timedelta(seconds=2), BERLIN)

    assert first == second
    assert first.to_time == datetime(2026, 11, 23, 20, 14, 10, tzinfo=UTC)


def test_a_window_asks_for_the_chosen_filters_and_the_zone() -> None:
    chosen = Selection(model=("gpt-4o",), group="feature")

    assert chosen.window(NOW, BERLIN, is_grouped=True).filters == (
        ("model", ("gpt-4o",)),
        ("timezone", "Europe/Berlin"),
        ("group_by", "feature"),
        ("bucket", "day"),
    )
    assert ("group_by", "feature") not in chosen.window(NOW, BERLIN).filters


@pytest.mark.parametrize(
    ("selection", "grain"),
    [
        (Selection(), "day"),
        (Selection(grain="hour"), "hour"),
        (Selection(period="day"), None),
        (Selection(period="month"), None),
        (Selection(period="custom", first_day=date(2026, 11, 1), last_day=date(2026, 11, 3)), None),
        (Selection(period="custom", first_day=date(2026, 11, 1), last_day=date(2026, 11, 4)), "day"),
    ],
)
def test_a_week_is_drawn_by_day_unless_hours_are_chosen(selection: Selection, grain: str | None) -> None:
    assert selection.window(NOW, BERLIN).document().get("bucket") == grain
    assert "bucket" not in selection.calls_window(NOW, BERLIN).document()


@pytest.mark.dated
def test_a_past_period_is_not_live() -> None:
    past = Selection(period="custom", first_day=date(2026, 11, 1), last_day=date(2026, 11, 22))
    present = Selection(period="custom", first_day=date(2026, 11, 1), last_day=date(2026, 11, 23))

    assert not past.is_live(NOW, BERLIN)
    assert present.is_live(NOW, BERLIN)
    assert Selection().is_live(NOW, BERLIN)


def test_a_period_is_named_by_its_length() -> None:
    one = Selection(period="custom", first_day=date(2026, 11, 1), last_day=date(2026, 11, 1))
    ten = Selection(period="custom", first_day=date(2026, 11, 1), last_day=date(2026, 11, 10))

    assert (one.phrase, one.before) == ("day", "vs 1d before")
    assert (ten.phrase, ten.before) == ("10 days", "vs 10d before")
    assert (Selection().phrase, Selection().before) == ("7 days", "vs 7d before")


@pytest.mark.parametrize("browser_zone", [None, "", "Mars/Olympus", "../etc/passwd", "x\x00"])
def test_an_unknown_browser_zone_falls_back_to_the_reporting_zone(browser_zone: str | None) -> None:
    assert viewer_zone(browser_zone, "Europe/Berlin", is_reporting_zone=False) == BERLIN


def test_the_reporting_zone_can_be_chosen() -> None:
    assert viewer_zone("Asia/Kathmandu", "Europe/Berlin", is_reporting_zone=True) == BERLIN
    assert viewer_zone("Asia/Kathmandu", "Europe/Berlin", is_reporting_zone=False) == KATHMANDU


@pytest.mark.parametrize(
    ("typed", "tidied", "value"),
    [
        ("plan=pro", "plan=pro", "pro"),
        (" plan = pro plus ", "plan=pro plus", "pro plus"),
        ("seats=5", "seats=5", 5),
        ("ratio=0.50", "ratio=0.5", 0.5),
        ("beta=true", "beta=true", True),
        ("beta=True", "beta=True", "True"),
        ('order="17"', 'order="17"', "17"),
        ('plan="pro"', "plan=pro", "pro"),
        ('note=""', 'note=""', ""),
        ("query=a=b", "query=a=b", "a=b"),
        ("gone=null", "gone=null", "null"),
        ("huge=1e999", "huge=1e999", "1e999"),
        ("none=NaN", "none=NaN", "NaN"),
        ('space=" x"', 'space=" x"', " x"),
    ],
)
def test_a_metadata_value_is_what_it_reads_as(typed: str, tidied: str, value: object) -> None:
    pair = tidy_pair(typed)

    assert pair == tidied
    (found,) = to_object([pair]).values()
    assert (found, type(found)) == (value, type(value))


@given(TEXTS.map(str.strip).filter(lambda key: key and "=" not in key), VALUES)
def test_every_metadata_value_can_be_written(key: str, value: str | float | bool) -> None:
    pair = tidy_pair(f"{key}={json.dumps(value)}")

    assert pair is not None
    assert tidy_pair(pair) == pair
    assert to_object([pair]) == {key: value}


def test_of_two_values_of_a_key_the_later_counts() -> None:
    assert tidy_pairs(["plan=free", "x", "seats=5", "plan=pro"]) == ("plan=pro", "seats=5")


def test_a_window_asks_for_metadata_as_an_object_and_for_a_page() -> None:
    chosen = Selection(user_id=("user_a",), metadata=("plan=pro", "seats=5"))

    page = chosen.window(NOW, BERLIN).with_page(50, "2026|x")

    assert page.document() == {
        "user_id": ["user_a"],
        "metadata": {"plan": "pro", "seats": 5},
        "timezone": "Europe/Berlin",
        "bucket": "day",
        "limit": "50",
        "cursor": "2026|x",
    }
    assert "cursor" not in chosen.window(NOW, BERLIN).with_page(50, None).document()


def test_a_week_of_metadata_is_no_longer_than_the_database_reads() -> None:
    window = Selection(metadata=("plan=pro",)).window(NOW, BERLIN)

    assert timedelta(days=6, hours=23) < window.to_time - window.from_time <= timedelta(days=7)


@pytest.mark.parametrize(
    ("period", "shorter"), [("quarter", "week"), ("month", "week"), ("week", "day"), ("day", "hour"), ("hour", None)]
)
def test_a_shorter_period_is_the_next_that_metadata_may_have(period: str, shorter: str | None) -> None:
    found = Selection(period=period, model=("gpt-4o",)).shorter(BERLIN)

    assert found == (Selection(period=shorter, model=("gpt-4o",)) if shorter else None)


@pytest.mark.parametrize(
    ("first", "last", "shorter"),
    [
        (date(2026, 11, 1), date(2026, 11, 30), date(2026, 11, 24)),
        (date(2026, 10, 1), date(2026, 10, 27), date(2026, 10, 22)),  # the seven days would hold one of 25 hours
        (date(2026, 11, 24), date(2026, 11, 30), date(2026, 11, 30)),
        (date(2026, 11, 30), date(2026, 11, 30), None),
    ],
)
def test_shorter_days_are_the_last_ones(first: date, last: date, shorter: date | None) -> None:
    chosen = Selection(period="custom", first_day=first, last_day=last)

    found = chosen.shorter(BERLIN)

    assert (found.first_day if found else None) == shorter
    if found:
        window = found.window(NOW, BERLIN)
        assert window.to_time - window.from_time <= timedelta(days=7)


def test_each_filter_and_each_pair_counts() -> None:
    chosen = Selection(model=("a", "b"), user_id=("u",), error_type=("timeout",), metadata=("a=1", "b=2"))

    assert chosen.filter_count == 5
    assert chosen.without_call_filters().filter_count == 4
    assert chosen.without_filters() == Selection()
