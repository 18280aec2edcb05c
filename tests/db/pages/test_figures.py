"""Every figure of every document equals one independent query of the raw rows, for any filters, period and time zone.

The calls are as hostile as real ones and have gone through all that the pipeline does to them, once for the module.
`TREERING_PROPERTY_EXAMPLES=2000` asks that many random questions of each kind in place of a few that are always the
same; a question that fails is made as small as possible and printed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.database import parse
from ingest.documents.calls import Calls
from ingest.documents.drivers import DriverCells
from ingest.documents.month import Hours
from ingest.documents.pages import Costs, Overview, Performance, Usage
from tests.support.doors import Door
from tests.support.hostile_calls import FEATURES, METADATA, MODELS, TENANTS, USERS, ZONES, HostileCalls, edges_of, fill
from tests.support.page_figures import (
    COUNTS,
    check_percentiles,
    check_routes,
    check_rows,
    check_series,
    check_speed_series,
    check_totals,
    differ,
    label,
)
from tests.support.raw_truth import QUARTER, Question, RawTruth, bucket_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.database import Database
    from tests.support.lending import Lender
    from tests.support.servers import TestDatabase

EXAMPLES = int(os.environ.get("TREERING_PROPERTY_EXAMPLES", "0"))
SEED = 16
# The clocks change in Berlin and Lord Howe, in St John's, New York and Havana; and an ordinary month before.
BEGIN, END = datetime(2026, 8, 3, tzinfo=UTC), datetime(2026, 11, 5, tzinfo=UTC)
EDGE_DAYS = [datetime(2026, 10, day, tzinfo=UTC) for day in (4, 25, 26, 31)] + [datetime(2026, 11, 1, tzinfo=UTC)]
EDGES = edges_of(EDGE_DAYS)
DIMENSIONS = ("model", "feature", "provider", "environment", "operation", "status")
ATTRIBUTED = ("user_id", "tenant_id", "tags.plan", "tags.team")
SERIES = (*COUNTS, "reasoning_tokens", "cost")
SLOW = {"latency_": "latency_ms", "time_to_first_token_": "time_to_first_token_ms"}


def repeated(usual: int) -> settings:
    slow = [HealthCheck.too_slow]
    chosen = {"max_examples": EXAMPLES or usual, "derandomize": not EXAMPLES, "print_blob": bool(EXAMPLES)}
    return settings(**chosen, deadline=None, database=None, suppress_health_check=slow)  # type: ignore[arg-type]


def some(values: Any) -> st.SearchStrategy[list[str]]:
    names = sorted({value or "" for value in values})
    return st.lists(st.sampled_from([*names, "nobody's"]), min_size=1, max_size=3, unique=True)


FILTERS = {
    "model": some(model for _, model in MODELS),
    "provider": some(provider for provider, _ in MODELS),
    "feature": some(FEATURES),
    "environment": some(["production", "staging"]),
    "operation": some(["chat", "embedding"]),
    "status": some(["ok", "error", "cancelled"]),
    "user_id": some([*USERS, "(forgotten)"]),
    "tenant_id": some(TENANTS),
    "tags": st.fixed_dictionaries(
        {}, optional={"plan": some(["pro", "free", None]), "team": some(["search", "it's", None])}
    ),
    "metadata": st.sampled_from([one for one in METADATA if one] + [{"seats": 5}, {"seats": "5"}, {"beta": True}]),
}
moments = st.one_of(
    st.sampled_from([edge for edge in EDGES if BEGIN <= edge <= END]),
    st.datetimes(BEGIN.replace(tzinfo=None), END.replace(tzinfo=None), timezones=st.just(UTC)),
    st.integers(0, 94 * 24).map(lambda hours: BEGIN + timedelta(hours=hours)),
    st.integers(0, 94 * 96).map(lambda quarters: BEGIN + quarters * QUARTER),
)
spans = st.one_of(
    st.sampled_from([timedelta(hours=1), timedelta(hours=3), timedelta(days=1), timedelta(days=7), timedelta(days=30)]),
    st.integers(1, 45 * 1440).map(lambda minutes: timedelta(minutes=minutes)),
    st.just(timedelta(microseconds=1)),
)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    names = draw(st.lists(st.sampled_from(sorted(FILTERS)), max_size=3, unique=True))
    filters: dict[str, Any] = {name: draw(FILTERS[name]) for name in names}
    start, span = draw(moments), draw(spans)
    if "metadata" in filters:
        span = min(span, timedelta(days=7) - timedelta(minutes=15))
    if bucket := draw(st.sampled_from([None, None, "15 minutes", "hour", "day", "week", "month"])):
        filters["bucket"] = bucket
        span = min(span, timedelta(days=20)) if bucket == "15 minutes" else span
    return Question(start, start + span, draw(st.sampled_from(ZONES)), filters)


@pytest.fixture(scope="module")
def shared_database(lender: Lender) -> Iterator[TestDatabase]:
    """With hostile calls in it."""
    made = HostileCalls(SEED)
    span = (END - BEGIN) / timedelta(microseconds=1)
    at = [BEGIN + timedelta(microseconds=made.random.randrange(round(span))) for _ in range(1200)]
    # Some days are dense, so that a short period has calls to count.
    at += [day + timedelta(seconds=made.random.randrange(86400)) for day in EDGE_DAYS for _ in range(160)]
    at += [edge for edge in EDGES if made.random.random() < 0.5]
    calls = [made.call(moment) for moment in at]
    requests = [made.request(moment) for moment in at[::3]]
    with lender.lend() as database:
        door = Door("postgres", database)
        fill(door.service(), calls, requests, seed=SEED)
        door.close()
        yield database


@pytest.fixture(scope="module")
def truth(shared_database: TestDatabase) -> Iterator[RawTruth]:
    found = RawTruth(shared_database.superuser_url)
    yield found
    found.close()


@pytest.fixture(scope="module")
def doors(shared_database: TestDatabase, lender: Lender) -> Iterator[dict[str, Database]]:
    """The database through each door."""
    opened = {name: Door(name, shared_database, lender.api) for name in ("postgres", "postgrest")}
    yield {name: door.service() for name, door in opened.items()}
    for door in opened.values():
        door.close()


FORMS: dict[str, Any] = {
    "get_overview": Overview,
    "get_usage": Usage,
    "get_costs": Costs,
    "get_performance": Performance,
    "get_events": Calls,
    "get_hours": Hours,
    "get_cost_drivers": DriverCells,
}
through = st.sampled_from(["postgres", "postgrest"])

# What was wrong once. A range that cuts quarters of an hour, by which people are told apart; hours that begin twice, on
# the half hour; an hour that seems to begin in the one before.
CUT = Question(datetime(2026, 10, 25, 10, 7, tzinfo=UTC), datetime(2026, 10, 25, 11, 9, tzinfo=UTC), "UTC", {})
TWICE = Question(
    datetime(2026, 10, 31, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC), "America/St_Johns", {"bucket": "hour"}
)
HALF = Question(datetime(2026, 9, 4, tzinfo=UTC), datetime(2026, 10, 4, tzinfo=UTC), "Australia/Lord_Howe", {})


def read(database: Database, function: str, asked: Question, **more: Any) -> dict[str, Any]:
    document: Any = database.call(
        function, from_time=asked.from_time, to_time=asked.to_time, filters=asked.document(**more)
    )
    if function in FORMS:
        parse(FORMS[function], document, function)  # the app can read it
    assert isinstance(document, dict)
    return document


def check_head(document: dict[str, Any], truth: RawTruth, asked: Question) -> list[str]:
    """Totals of the period and of the one before, with the users of both where they are counted."""
    found = []
    outward = asked.outward()
    for name, question in (("totals", outward), ("previous", outward.before())):
        found += check_totals(name, document[name], truth, question)
        if "users" in document[name]:
            true = truth.totals(question)["users"]
            found += differ(name, document[name], {"users": true}, ["users"])
    edges = [datetime.fromisoformat(document[name]) for name in ("from_time", "to_time")]
    if edges != [outward.from_time, outward.to_time]:
        found.append(f"the range is said to be {edges}")
    return found


@repeated(20)
@example(asked=CUT, door="postgres")
@given(asked=questions(), door=through)
def test_the_overview_shows_what_the_raw_rows_say(
    truth: RawTruth, doors: dict[str, Database], asked: Question, door: str
) -> None:
    document = read(doors[door], "get_overview", asked, limit=5)
    found = check_head(document, truth, asked)
    outward = asked.outward()
    assert document["bucket"] == asked.bucket()
    found += check_series("series", document, truth, outward, None, ("requests", "errors", "total_tokens", "cost"))
    found += check_speed_series("series", document, truth, outward, {"latency_": "latency_ms"})
    for name, by in (("top_models", "model"), ("top_features", "feature"), ("top_users", "user_id")):
        found += check_rows(name, document[name], truth, outward, by, 5)
    assert found == []


@repeated(20)
@example(asked=CUT, door="postgres", by="user_id", limit=50)
@example(asked=CUT, door="postgrest", by="tags.plan", limit=8)
@example(asked=TWICE, door="postgres", by="model", limit=50)
@given(
    asked=questions(), door=through, by=st.sampled_from([*DIMENSIONS, *ATTRIBUTED]), limit=st.sampled_from([3, 8, 50])
)
@pytest.mark.parametrize("page", ["get_usage", "get_costs"])
def test_usage_and_costs_show_what_the_raw_rows_say(
    truth: RawTruth, doors: dict[str, Database], page: str, asked: Question, door: str, by: str, limit: int
) -> None:
    document = read(doors[door], page, asked, group_by=by, limit=limit)
    outward = asked.outward()
    measure = "total_tokens" if page == "get_usage" else "cost"
    found = check_head(document, truth, asked)
    found += check_series("series", document, truth, outward, by, SERIES, limit, measure)
    rows = {f"by_{name}": name for name in DIMENSIONS if f"by_{name}" in document}
    rows |= {"by_user": "user_id", "by_tenant": "tenant_id"}
    for name, column in rows.items():
        found += check_rows(name, document[name], truth, outward, column, limit, measure)
    for tag, shown in document["by_tag"].items():
        found += check_rows(f"by_tag.{tag}", shown, truth, outward, f"tags.{tag}", limit, measure)
    if page == "get_costs":
        true = truth.token_kinds(outward)
        shown_kinds = {(row["provider"], row["model"]): row for row in document["token_kinds"]}
        assert shown_kinds.keys() == true.keys()
        for key, row in true.items():
            names = [name for name in shown_kinds[key] if name not in ("provider", "model")]
            found += differ(f"token_kinds{key}", shown_kinds[key], row, names)
    assert found == []


@repeated(20)
@given(asked=questions(), door=through, limit=st.sampled_from([3, 50]))
def test_performance_shows_what_the_raw_rows_say(
    truth: RawTruth, doors: dict[str, Database], asked: Question, door: str, limit: int
) -> None:
    document = read(doors[door], "get_performance", asked, limit=limit)
    outward = asked.outward()
    found = check_head(document, truth, asked)
    found += check_series("series", document, truth, outward, None, ("requests", "errors", "total_tokens", "cost"))
    found += check_speed_series("series", document, truth, outward, SLOW)
    for name, column in (("by_model", "m.model"), ("by_feature", "coalesce(m.feature, '')")):
        sums = truth.grouped(outward, name.removeprefix("by_"))
        assert len(document[name]) == min(limit, len(sums))
        exact = {prefix: truth.percentiles(outward, figure, column) for prefix, figure in SLOW.items()}
        for row in document[name]:
            found += differ(f"{name}[{row['key']}]", row, sums[row["key"]], ("requests", "errors"))
            for prefix, of in exact.items():
                found += check_percentiles(f"{name}[{row['key']}]", row, of[row["key"]], prefix, "_ms")
    assert {row["error_type"]: row["requests"] for row in document["errors_by_type"]} == truth.errors_by_type(outward)
    assert found == []


@repeated(15)
@given(asked=questions(), door=through)
def test_the_routes_show_what_the_raw_requests_say(
    truth: RawTruth, doors: dict[str, Database], asked: Question, door: str
) -> None:
    document = read(doors[door], "get_performance", asked, limit=50)
    routes, outward = document["routes"], asked.outward()
    found = []
    for row in truth.routes(outward).values():
        found += check_routes("routes", {**routes, **routes["latency_ms"]}, row, "", "")
    assert truth.routes(outward) or (routes["requests"], routes["errors"]) == (0, 0)
    by_route = truth.routes(outward, "p.method || ' ' || p.route")
    shown = {f"{row['method']} {row['key']}": row for row in routes["by_route"]}
    assert shown.keys() == by_route.keys()
    for name, row in by_route.items():
        found += check_routes(name, shown[name], row)
    series = truth.routes(outward, bucket_of(document["bucket"]).replace("m.created_at", "p.created_at"))
    points = {label(point["bucket_start"], document["bucket"], asked): point for point in routes["series"]}
    assert points.keys() == series.keys()
    for place, row in series.items():
        found += check_routes(str(place), points[place], row)
    assert found == []


@repeated(20)
@example(asked=CUT, door="postgres", by="user_id")
@example(asked=TWICE, door="postgres", by=None)
@example(asked=HALF, door="postgres", by=None)
@given(asked=questions(), door=through, by=st.sampled_from([None, *DIMENSIONS, *ATTRIBUTED]))
def test_a_series_and_the_hours_of_the_week_show_what_the_raw_rows_say(
    truth: RawTruth, doors: dict[str, Database], asked: Question, door: str, by: str | None
) -> None:
    outward = asked.outward()
    document = read(doors[door], "get_series", asked, **({"group_by": by} if by else {}))
    found = check_series("series", document, truth, outward, by, SERIES)
    hours = read(doors[door], "get_hours", asked)["hours"]
    true = truth.hours(outward)
    assert {(row["weekday"], row["hour"]) for row in hours} == true.keys()
    for row in hours:
        place = (row["weekday"], row["hour"])
        found += differ(f"hours{place}", row, true[place], ("requests", "cost"))
    assert found == []


@repeated(15)
@given(asked=questions(), door=through, by=st.sampled_from([*DIMENSIONS, *ATTRIBUTED]), limit=st.sampled_from([3, 50]))
def test_a_breakdown_and_the_reasons_of_a_change_show_what_the_raw_rows_say(
    truth: RawTruth, doors: dict[str, Database], asked: Question, door: str, by: str, limit: int
) -> None:
    document: Any = doors[door].call(
        "get_cost_breakdown",
        from_time=asked.from_time,
        to_time=asked.to_time,
        group_by=by,
        filters=asked.document(limit=limit),
    )
    outward = asked.outward(QUARTER if by in ATTRIBUTED else None)
    found = check_totals("totals", document["totals"], truth, outward)
    found += check_rows("rows", document["rows"] or [], truth, outward, by, limit)
    outward = asked.outward()
    cells = {
        (cell["provider"], cell["model"], cell["feature"]): cell
        for cell in read(doors[door], "get_cost_drivers", asked)["cells"]
    }
    for part, question in (("now", outward), ("before", outward.before())):
        true = truth.drivers(question)
        assert {key for key, cell in cells.items() if cell[part]} == true.keys()
        for key, row in true.items():
            shown = cells[key][part] | {"cost": cells[key][part]["cost"]}
            sure = row | {"uncertain_requests": row["requests"] - row["sure_requests"], "cost": row["cost"] or 0}
            found += differ(f"{part}{key}", shown, sure, [*shown])
    assert found == []


@repeated(20)
@given(
    asked=questions(), door=through, of=st.sampled_from(["user_id", "tenant_id"]), name=st.sampled_from(sorted(USERS))
)
def test_the_days_of_a_user_or_tenant_cost_what_the_raw_rows_say(
    truth: RawTruth, doors: dict[str, Database], asked: Question, door: str, of: str, name: str
) -> None:
    name = "acme" if of == "tenant_id" and name != "user_ada" else name
    outward = Question(asked.from_time, asked.to_time, asked.timezone, {of: name}).outward(QUARTER)
    document: Any = doors[door].call(
        "get_daily_cost", from_time=asked.from_time, to_time=asked.to_time, timezone=asked.timezone, **{of: name}
    )
    totals = truth.totals(outward)
    if not totals["requests"]:
        totals["cost"] = None
    found = differ("daily", document, totals, ("requests", "cost", "fallback_cost", "unpriced_requests"))
    true = {str(day): row for (day, _), row in truth.series(outward, "day").items()}
    assert {row["day"] for row in document["days"]} == true.keys()
    for row in document["days"]:
        found += differ(row["day"], row, true[row["day"]], ("requests", "prompt_tokens", "completion_tokens", "cost"))
    assert found == []


@repeated(20)
@given(
    asked=questions(),
    door=through,
    order=st.sampled_from(["newest", "cost", "latency", "tokens"]),
    size=st.sampled_from([7, 100, 1000]),
    least=st.fixed_dictionaries(
        {},
        optional={
            "min_cost": st.sampled_from(["0", "0.00000015", "0.05", "3"]),
            "min_latency_ms": st.sampled_from(["0", "700", "999999.5"]),
            "min_tokens": st.sampled_from(["0", "1", "2000"]),
            "session_id": some(["s1", "it's s3"]),
            "error_type": some(["Timeout", None]),
        },
    ),
)
def test_the_calls_are_those_of_the_raw_rows_in_their_order(
    truth: RawTruth,
    doors: dict[str, Database],
    asked: Question,
    door: str,
    order: str,
    size: int,
    least: dict[str, Any],
) -> None:
    filters = {name: value for name, value in asked.filters.items() if name != "bucket"} | least
    asked = Question(asked.from_time, min(asked.to_time, asked.from_time + size * timedelta(hours=1)), "UTC", filters)
    true = truth.calls(asked, order)
    shown: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while len(shown) < 60 * size:
        page = read(doors[door], "get_events", asked, order=order, limit=size, **cursor)
        shown += page["events"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert [call["event_id"] for call in shown] == [str(call["event_id"]) for call in true]
    found = []
    for left, right in zip(shown, true, strict=True):
        found += differ(
            left["event_id"], left, right, ("estimated_cost", "prompt_tokens", "completion_tokens", "latency_ms")
        )
    assert found == []
