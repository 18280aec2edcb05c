"""Period, filters and their address."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.filters import DIMENSIONS, GROUPS, PERIODS, QUERY_KEYS, Selection, parse_query, viewer_zone

NOW = datetime(2026, 11, 23, 20, 14, 7, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
KATHMANDU = ZoneInfo("Asia/Kathmandu")

NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1), max_size=4, unique=True)
DAYS = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    period = draw(st.sampled_from(list(PERIODS)))
    first = last = None
    if period == "custom":
        first = draw(DAYS)
        last = first + timedelta(days=draw(st.integers(0, 365)))
    names = {name: tuple(draw(NAMES)) for name in DIMENSIONS}
    return Selection(
        period=period,
        first_day=first,
        last_day=last,
        model=names["model"],
        feature=names["feature"],
        provider=names["provider"],
        environment=names["environment"],
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
    )
    assert ("group_by", "feature") not in chosen.window(NOW, BERLIN).filters


def test_a_past_period_is_not_live() -> None:
    past = Selection(period="custom", first_day=date(2026, 11, 1), last_day=date(2026, 11, 22))
    present = Selection(period="custom", first_day=date(2026, 11, 1), last_day=date(2026, 11, 23))

    assert not past.is_live(NOW, BERLIN)
    assert present.is_live(NOW, BERLIN)
    assert Selection().is_live(NOW, BERLIN)


def test_a_period_is_named_by_its_length() -> None:
    one = Selection(period="custom", first_day=date(2026, 11, 1), last_day=date(2026, 11, 1))
    ten = Selection(period="custom", first_day=date(2026, 11, 1), last_day=date(2026, 11, 10))

    assert (one.phrase, one.short) == ("day", "1d")
    assert (ten.phrase, ten.short) == ("10 days", "10d")
    assert (Selection().phrase, Selection().short) == ("7 days", "7d")


@pytest.mark.parametrize("browser_zone", [None, "", "Mars/Olympus", "../etc/passwd", "x\x00"])
def test_an_unknown_browser_zone_falls_back_to_the_reporting_zone(browser_zone: str | None) -> None:
    assert viewer_zone(browser_zone, "Europe/Berlin", is_reporting_zone=False) == BERLIN


def test_the_reporting_zone_can_be_chosen() -> None:
    assert viewer_zone("Asia/Kathmandu", "Europe/Berlin", is_reporting_zone=True) == BERLIN
    assert viewer_zone("Asia/Kathmandu", "Europe/Berlin", is_reporting_zone=False) == KATHMANDU
