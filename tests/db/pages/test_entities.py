"""Rows by tenant, user, tag and session: each figure against sums made in Python, and who may see which rows."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.support.events import condense_all, roll_up_all, usage_event

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door
    from tests.support.lending import Lender
    from tests.support.servers import TestDatabase

START = datetime(2026, 3, 20, tzinfo=UTC)  # Berlin changes its clock on the 29th
DAYS = 24
END = START + timedelta(days=DAYS)
QUARTER = timedelta(minutes=15)
Event = dict[str, Any]
TAGS: list[JsonValue] = [None, {"plan": "pro"}, {"plan": "free", "team": "a b"}]
SOURCES = ["priced", "priced", "priced", "provider", "fallback", "unpriced"]
BY = ("tenant_id", "user_id", "tags.plan", "session_id")


def some_events(count: int = 700) -> list[Event]:
    """Calls with every source of a cost; `ann` works for two tenants, `cyn` for none, and `eve` has no price at all."""
    rng = random.Random(5)
    events = []
    for _ in range(count):
        people = [("ann", "acme"), ("ann", "bolt"), ("bob", "acme"), ("cyn", None), ("dan", "100%_off"), ("eve", "eff")]
        user, tenant = rng.choice(people)
        source = "unpriced" if user == "eve" else rng.choice(SOURCES)
        moment = START + timedelta(seconds=rng.randrange(DAYS * 86400))
        events.append(
            usage_event(
                created_at=moment,
                user_id=user,
                tenant_id=tenant,
                tags=rng.choice(TAGS),
                session_id=rng.choice([None, f"{user}-{moment:%d}", f"{user}-{moment:%d}"]),
                feature=rng.choice(["chat", "search"]),
                model=rng.choice(["gpt-4o", "o4-mini"]),
                estimated_cost=None if source == "unpriced" else str(Decimal(rng.randrange(1, 10**9)) / 10**10),
                cost_source=source,
                status=rng.choice(["ok", "ok", "error"]),
            )
        )
    return events


EVENTS = some_events()


@pytest.fixture(scope="module")
def shared_database(shared_database: TestDatabase, lender: Lender) -> TestDatabase:
    from tests.support.doors import Door

    door = Door("postgres", shared_database, lender.api)
    service = door.service()
    assert service.call("record_usage", events=EVENTS) == len(EVENTS)
    roll_up_all(service)
    condense_all(service)
    service.call("add_member", user_id="olga", role="analyst")
    service.call("add_member", user_id="tess", role="tenant", tenant_id="acme")
    door.close()
    return shared_database


def read(database: Database, start: datetime = START, end: datetime = END, /, **filters: JsonValue) -> dict[str, Any]:
    document = database.call("get_entities", from_time=start, to_time=end, filters=filters)
    assert isinstance(document, dict)
    return document


def key_of(event: Event, by: str) -> str:
    name = by.removeprefix("tags.")
    source = (event["tags"] or {}) if name != by else event
    return source.get(name) or ""


def at(event: Event) -> datetime:
    return datetime.fromisoformat(event["created_at"])


def certain(events: list[Event]) -> list[Event]:
    return [event for event in events if event["cost_source"] in ("priced", "provider")]


def sum_of(events: list[Event]) -> Decimal:
    return sum((Decimal(event["estimated_cost"]) for event in events), Decimal(0))


def cost_of(events: list[Event]) -> Decimal | None:
    return sum_of(certain(events)) if certain(events) or not events else None


def money(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def grouped(events: list[Event], by: str) -> dict[str, list[Event]]:
    groups: dict[str, list[Event]] = {}
    for event in events:
        groups.setdefault(key_of(event, by), []).append(event)
    return groups


def check_row(row: dict[str, Any], own: list[Event], before: list[Event] | None, zone: ZoneInfo) -> None:
    fallback = [event for event in own if event["cost_source"] == "fallback"]
    assert (row["requests"], row["errors"]) == (len(own), sum(event["status"] == "error" for event in own))
    assert row["total_tokens"] == 200 * len(own)
    assert money(row["cost"]) == cost_of(own)
    assert (row["fallback_requests"], Decimal(row["fallback_cost"])) == (len(fallback), sum_of(fallback))
    assert row["unpriced_requests"] == len(own) - len(certain(own)) - len(fallback)
    assert money(row["previous_cost"]) == (None if before is None else cost_of(before))
    last = max(at(event) for event in own)
    if row["active_days"] is None:  # a session
        assert datetime.fromisoformat(row["last_seen_at"]) == last
        assert datetime.fromisoformat(row["first_seen_at"]) == min(at(event) for event in own)
        users = {event["user_id"] for event in own}
        assert row["user_id"] == (users.pop() if len(users) == 1 else None)
    else:
        assert row["active_days"] == len({at(event).astimezone(zone).date() for event in own})
        assert timedelta(0) <= last - datetime.fromisoformat(row["last_seen_at"]) < QUARTER
        held = [event for event in certain(own) if event["session_id"]]
        assert row["sessions"] == len({event["session_id"] for event in held})
        assert Decimal(row["session_cost"]) == sum_of(held)
    if row["key"] or row["active_days"] is not None:
        known = [Decimal(point) for point in row["points"] if point is not None]
        assert sum(known, Decimal(0)) == sum_of(certain(own))


@pytest.mark.parametrize("seed", range(5))
def test_every_row_and_the_total_are_what_the_calls_add_up_to(shared_door: Door, seed: int) -> None:
    rng = random.Random(seed)
    analyst = shared_door.viewer("olga")
    zone = ZoneInfo(rng.choice(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"]))
    span = timedelta(minutes=rng.choice([DAYS * 1440, rng.randrange(600, 2000), rng.randrange(3000, DAYS * 720)]))
    start = END - span if rng.random() < 0.5 else START + (END - START - span) * rng.random()
    filters: dict[str, JsonValue] = rng.choice(
        [{}, {"feature": "chat"}, {"status": ["ok"], "tenant_id": ["acme", ""]}, {"tags": {"plan": ["", "pro"]}},
         {"user_id": "ann", "model": "gpt-4o"}]
    )  # fmt: skip
    plan = {"": ("", "pro")}.get("" if "tags" in filters else "x")
    matching = [
        event
        for event in EVENTS
        if all(key_of(event, name) in ([one] if isinstance(one, str) else one) for name, one in filters.items()
               if name != "tags" and isinstance(one, str | list))
        and (plan is None or key_of(event, "tags.plan") in plan)
    ]  # fmt: skip
    low = datetime.fromtimestamp(start.timestamp() // 900 * 900, UTC)
    high = datetime.fromtimestamp(-(-(start + span).timestamp() // 900) * 900, UTC)
    present = [event for event in matching if low <= at(event) < high]
    earlier = [event for event in matching if low - (high - low) <= at(event) < low]
    is_covered = min(at(event) for event in EVENTS) < low - (high - low) + timedelta(minutes=1)
    for by in BY:
        document = read(analyst, start, start + span, group_by=by, timezone=zone.key, limit=1000, **filters)
        own, before = grouped(present, by), grouped(earlier, by)
        assert {row["key"] for row in document["rows"]} == own.keys()
        for row in document["rows"]:
            is_compared = is_covered and by != "session_id"
            check_row(row, own[row["key"]], before.get(row["key"], []) if is_compared else None, zone)
        whole = (len(present), cost_of(present))
        for sums in (document["totals"], document["matched"]):
            assert (sums["requests"], money(sums["cost"])) == whole
        assert document["matched"]["rows"] == len(own)


def figure(row: dict[str, Any], order: str) -> Any:
    cost, before = money(row["cost"]), money(row["previous_cost"])
    priced = row["requests"] - row["fallback_requests"] - row["unpriced_requests"]
    if order in ("name", "requests", "last_seen"):
        plain: dict[str, Decimal | str] = {"name": row["key"], "last_seen": row["last_seen_at"]}
        return plain.get(order, Decimal(row["requests"]))
    if order == "duration":
        moments = (datetime.fromisoformat(row[f"{name}_seen_at"]) for name in ("last", "first"))
        return Decimal(str((next(moments) - next(moments)).total_seconds()))
    if order == "cost_per_session":
        return Decimal(row["session_cost"]) / row["sessions"] if row["sessions"] else None
    if cost is None or (order == "change_share" and not before) or (order == "change" and before is None):
        return None
    figures: dict[str, Decimal] = {
        "cost": cost,
        "cost_per_request": cost / max(priced, 1),
        "cost_per_day": cost / (row["active_days"] or 1),
        "change": cost - (before or 0),
        "change_share": (cost - (before or 0)) / (before or 1),
    }
    return figures[order]


ORDERS = ["name", "cost", "requests", "cost_per_request", "cost_per_session", "cost_per_day", "change", "change_share"]


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("by", ["user_id", "session_id"])
def test_the_database_orders_all_rows_by_any_column_and_unknown_ones_last(
    shared_direct: Door, by: str, direction: str
) -> None:
    analyst = shared_direct.viewer("olga")
    middle = START + (END - START) / 2
    for order in [*ORDERS, "last_seen"] if by == "user_id" else ["name", "cost", "requests", "last_seen", "duration"]:
        asked: dict[str, JsonValue] = {"group_by": by, "order": order, "direction": direction}
        rows = read(analyst, middle, END, **asked, limit=1000)["rows"]
        figures = [figure(row, order) for row in rows]
        known = [one for one in figures if one is not None]
        assert known == sorted(known, reverse=direction == "desc")
        assert figures == [*known, *[None] * (len(figures) - len(known))]
        # Equal ones by name, so that pages neither repeat nor leave out a row.
        ties = [(one, row["key"]) for one, row in zip(figures, rows, strict=True)]
        assert all(a[1] < b[1] for a, b in itertools.pairwise(ties) if a[0] == b[0])
        paged = [read(analyst, middle, END, **asked, limit=3, offset=place)["rows"] for place in range(0, len(rows), 3)]
        assert [row for page in paged for row in page] == rows


def test_a_search_looks_for_the_text_as_it_stands_in_any_part_of_the_name(shared_door: Door) -> None:
    analyst = shared_door.viewer("olga")
    for search, found in {"%": {"100%_off"}, "_OFF": {"100%_off"}, "o": {"bolt", "100%_off"}, "\\": set()}.items():
        document = read(analyst, search=search)
        own = [event for event in EVENTS if event["tenant_id"] in found]
        assert {row["key"] for row in document["rows"]} == found
        matched = document["matched"]
        assert (matched["rows"], matched["requests"], money(matched["cost"])) == (len(found), len(own), cost_of(own))
        assert document["totals"]["requests"] == len(EVENTS)  # the share of a row is of everything


def test_rows_are_compared_with_any_earlier_time_in_which_data_had_begun(shared_direct: Door) -> None:
    analyst = shared_direct.viewer("olga")
    now, then = (START + timedelta(days=day) for day in (20, 3))
    earlier = [event for event in EVENTS if then <= at(event) < then + timedelta(days=4)]
    document = read(analyst, now, END, compare=f"{then.isoformat()}/{(then + timedelta(days=4)).isoformat()}")
    assert money(document["previous"]["cost"]) == cost_of(earlier)
    by_tenant = grouped(earlier, "tenant_id")
    assert {row["key"]: money(row["previous_cost"]) for row in document["rows"]} == {
        key: cost_of(by_tenant.get(key, [])) for key in grouped(EVENTS, "tenant_id")
    }
    too_early = f"{(START - timedelta(days=9)).isoformat()}/{now.isoformat()}"
    for compare in ("none", too_early):
        document = read(analyst, now, END, compare=compare)
        assert document["previous"] == {}
        assert {row["previous_cost"] for row in document["rows"]} == {None}


@pytest.mark.parametrize("by", BY)
def test_a_tenant_sees_rows_of_its_own_calls_and_a_member_of_theirs(shared_door: Door, by: str) -> None:
    people = {"tess": ("tenant_id", "acme"), "ann": ("user_id", "ann")}
    for person, (name, value) in people.items():
        document = read(shared_door.viewer(person), group_by=by, limit=1000)
        own = grouped([event for event in EVENTS if event[name] == value], by)
        assert {row["key"]: (row["requests"], money(row["cost"])) for row in document["rows"]} == {
            key: (len(events), cost_of(events)) for key, events in own.items()
        }
        for other in ("bolt", "100%_off"):
            if name == "tenant_id":
                with pytest.raises(PermissionDeniedError):
                    read(shared_door.viewer(person), group_by=by, tenant_id=other)


def test_a_stranger_and_nobody_see_nothing(shared_door: Door) -> None:
    with pytest.raises(PermissionDeniedError):
        read(shared_door.viewer("olga", treering_tenant=""))
    with pytest.raises(PermissionDeniedError):
        read(shared_door.anonymous())


@pytest.mark.parametrize(
    "filters",
    [{"group_by": "model"}, {"group_by": "tags."}, {"order": "share"}, {"direction": "up"}, {"limit": 0},
     {"limit": 20001}, {"offset": -1}, {"offset": "x"}, {"points": "maybe"}, {"search": "x" * 201}, {"compare": "x"},
     {"compare": "2026-05-02/2026-05-01"}, {"group_by": "session_id", "order": "cost_per_day"}, {"tags.plan": "pro"},
     {"order": "duration"}, {"unknown": 1}],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(shared_direct: Door, filters: dict[str, JsonValue]) -> None:
    with pytest.raises(InvalidArgumentError):
        read(shared_direct.viewer("olga"), **filters)


def test_sessions_begin_where_calls_are_not_archived_and_are_not_counted_before(direct: Door) -> None:
    service = direct.service()
    days = [datetime(2026, 3, 30, tzinfo=UTC), datetime(2026, 4, 2, tzinfo=UTC)]
    service.call("record_usage", events=[usage_event(created_at=day, session_id=f"s{day:%m}") for day in days])
    roll_up_all(service)
    direct.database.execute(
        "insert into observability_internal.archived_months (archive_id, kind, month, row_count)"
        " values (gen_random_uuid(), 'usage', '2026-03-01', 1)"
    )
    sessions = read(service, START, END, group_by="session_id")
    assert [row["key"] for row in sessions["rows"]] == ["s04"]
    assert datetime.fromisoformat(sessions["from_time"]) == datetime(2026, 4, 1, tzinfo=UTC)
    assert sessions["totals"]["requests"] == 1
    users = read(service, START, END, group_by="user_id")
    assert [(row["requests"], row["sessions"], row["session_cost"]) for row in users["rows"]] == [(2, None, None)]
    with pytest.raises(InvalidArgumentError, match="none archived"):
        read(service, START, END, group_by="user_id", order="cost_per_session")
    gone = read(service, START, datetime(2026, 3, 31, tzinfo=UTC), group_by="session_id")
    assert (gone["rows"], gone["matched"]["rows"], gone["totals"]["requests"]) == ([], 0, 0)


def test_calls_that_wait_for_their_roll_up_are_in_no_figure_yet(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[usage_event(created_at=START + timedelta(days=1), session_id="s")])
    roll_up_all(service)
    service.call("record_usage", events=[usage_event(created_at=START + timedelta(days=2), session_id="s")])
    for by in ("session_id", "user_id"):
        (row,) = read(service, group_by=by)["rows"]
        assert (row["requests"], row["cost"]) == (1, "0.000875")
    assert read(service, group_by="user_id")["rows"][0]["session_cost"] == "0.000875"
