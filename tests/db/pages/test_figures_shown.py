"""What a page shows is what the raw calls say: the app over a real database, for any filters, period and time zone.

The app runs as it does for ops. The moments that it asks for are those that the address and the clock give; every
figure is then read from the page and compared with one query of the raw rows, at the digits that are shown.
`TREERING_PROPERTY_EXAMPLES=20` opens that many random pages of each kind.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
import streamlit as st
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as strategies
from streamlit.testing.v1 import AppTest

from dashboard.reads import connection
from dashboard.reads import viewer as identity
from tests.app.conftest import APP, TIMEOUT_S
from tests.support.doors import Door
from tests.support.hostile_calls import FEATURES, MODELS, TENANTS, USERS, HostileCalls, fill
from tests.support.raw_truth import MINUTE, Question, RawTruth
from tests.support.shown_figures import DASH, bars, change, charts, is_change_shown, is_shown, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.database import Argument, Database
    from tests.support.lending import Lender
    from tests.support.servers import TestDatabase

EXAMPLES = int(os.environ.get("TREERING_PROPERTY_EXAMPLES", "0"))
SEED = 61
VIEWER = "local-ops"
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati")
READS = {"overview": "get_overview", "usage": "get_usage", "costs": "get_costs", "performance": "get_performance"}
Address = dict[str, Any]


def repeated(usual: int) -> settings:
    return settings(
        max_examples=EXAMPLES or usual,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        print_blob=bool(EXAMPLES),
        # A page takes a second: what fails is not made smaller.
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )


class Watched:
    """A database that remembers what it was asked."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, function: str, /, **arguments: Argument) -> Any:
        self.asked.append((function, dict(arguments)))
        return self.database.call(function, **arguments)

    def close(self) -> None:
        """It is closed by who opened it."""


@pytest.fixture(scope="module")
def shared_database(lender: Lender) -> Iterator[TestDatabase]:
    """With hostile calls of the last hundred days, most of them of the last."""
    made = HostileCalls(SEED)
    now = datetime.now(UTC)
    ages = [made.random.uniform(0, 100 * 86400) for _ in range(700)]
    ages += [made.random.uniform(0, 86400 * days) for days in (0.04, 1, 2, 7, 35) for _ in range(110)]
    at = [now - timedelta(seconds=age) for age in ages]
    with lender.lend() as database:
        door = Door("postgres", database)
        door.service().call("add_member", user_id=VIEWER, role="ops")
        fill(door.service(), [made.call(moment) for moment in at], [made.request(one) for one in at[::3]], seed=SEED)
        door.close()
        yield database


@pytest.fixture(scope="module")
def truth(shared_database: TestDatabase) -> Iterator[RawTruth]:
    found = RawTruth(shared_database.superuser_url)
    yield found
    found.close()


@pytest.fixture(scope="module")
def watched(shared_database: TestDatabase) -> Iterator[Watched]:
    door = Door("postgres", shared_database)
    seen = Watched(door.viewer(VIEWER))
    patch = pytest.MonkeyPatch()
    patch.setattr(connection, "open_viewer_database", lambda *_, **__: seen)
    patch.setenv(identity.LOCAL_VIEWER_VARIABLE, VIEWER)
    yield seen
    patch.undo()
    door.close()


def open_page(watched: Watched, page: str, zone: str, address: Address) -> AppTest:
    st.cache_data.clear()
    st.cache_resource.clear()
    watched.asked.clear()
    app = AppTest.from_file(str(APP), default_timeout=TIMEOUT_S)
    app.context["timezone"] = zone
    for name, value in address.items():
        app.query_params[name] = value
    app.switch_page(f"app_pages/{page}.py").run()
    assert not app.exception
    return app


def some(values: Any) -> Any:
    return strategies.lists(
        strategies.sampled_from(sorted({one for one in values if one})), min_size=1, max_size=2, unique=True
    )


FILTERS = {
    "model": some(model for _, model in MODELS),
    "provider": some(provider for provider, _ in MODELS),
    "feature": some(FEATURES),
    "environment": some(["production", "staging"]),
    "status": some(["ok", "error", "cancelled"]),
    "user_id": some(USERS),
    "tenant_id": some(TENANTS),
    "tags": some(["plan=pro", "plan=free", "plan=", "team=search"]),
    "metadata": some(["plan=pro", "seats=5", "beta=true"]),
}
PERIODS = (
    *("hour", "day", "week", "month", "quarter", "today", "yesterday", "this_week", "last_week", "this_month"),
    *("last_month", "this_quarter", "last_quarter"),
)


@strategies.composite
def addresses(draw: strategies.DrawFn) -> Address:
    names = draw(strategies.lists(strategies.sampled_from(sorted(FILTERS)), max_size=2, unique=True))
    found: Address = {name: draw(FILTERS[name]) for name in names}
    kind = draw(strategies.sampled_from(["period", "period", "days", "moments"]))
    if kind == "period":
        found["period"] = draw(strategies.sampled_from(PERIODS))
    else:
        last, length = draw(strategies.integers(0, 90)), draw(strategies.sampled_from([0, 1, 6, 30]))
        found |= {"period": "custom", "last": last, "length": length, "is_exact": kind == "moments"}
    compare = draw(strategies.sampled_from(["before", "before", "weekdays", "month", "year", "none"]))
    return found | {
        "compare": compare,
        "group": draw(strategies.sampled_from(["model", "feature", "user_id", "tenant_id"])),
    }


def spelled(address: Address) -> Address:
    """The address as the browser has it: days and moments are counted back from today."""
    found = {name: value for name, value in address.items() if name not in ("last", "length", "is_exact")}
    if "last" in address:
        last = datetime.now(UTC) - timedelta(days=address["last"])
        first = last - timedelta(days=address["length"])
        if address["is_exact"]:
            found |= {"from": f"{first - timedelta(hours=5, minutes=17):%Y-%m-%dT%H:%M:%SZ}"}
            found |= {"to": f"{last:%Y-%m-%dT%H:%M:%SZ}"}
        else:
            found |= {"from": f"{first:%Y-%m-%d}", "to": f"{last:%Y-%m-%d}"}
    return found


def asked_of(watched: Watched, function: str) -> list[Question]:
    """What the page asked a function, in the order in which it asked first."""
    found: list[Question] = []
    for name, arguments in watched.asked:
        if name == function and "timezone" in arguments["filters"]:  # others look for the newest call of all
            filters = dict(arguments["filters"])
            zone = filters.pop("timezone")
            for shape in ("group_by", "limit", "cursor", "order", "bucket"):
                filters.pop(shape, None)
            start, end = (datetime.fromisoformat(arguments[name]) for name in ("from_time", "to_time"))
            question = Question(start, end, zone, filters)
            if question not in found:
                found.append(question)
    return found


def expected_filters(address: Address) -> dict[str, Any]:
    """The filters of an address as the truth takes them."""
    found = {name: value for name, value in address.items() if name in FILTERS}
    if "tags" in found:
        tags: dict[str, list[str]] = {}
        for pair in found["tags"]:
            tags.setdefault(pair.split("=")[0], []).append(pair.split("=")[1])
        found["tags"] = tags
    if "metadata" in found:
        known = {"plan=pro": ("plan", "pro"), "seats=5": ("seats", 5), "beta=true": ("beta", True)}
        found["metadata"] = dict(known[pair] for pair in found["metadata"])
    return found


def cost_per_call(totals: dict[str, Any]) -> Decimal | None:
    if totals["cost"] is None or not totals["sure_requests"]:
        return None
    return Decimal(totals["cost"]) / Decimal(totals["sure_requests"])


def rate(part: str, whole: str, times: int = 100) -> Callable[[dict[str, Any]], Any]:
    return lambda totals: Decimal(totals[part]) / Decimal(totals[whole]) * times if totals[whole] else None


CARDS: dict[str, dict[str, Callable[[dict[str, Any]], Any]]] = {
    "overview": {
        "Requests": lambda totals: totals["requests"],
        "Tokens": lambda totals: totals["total_tokens"],
        "Error rate": rate("errors", "requests"),
    },
    "usage": {
        "Requests": lambda totals: totals["requests"],
        "Prompt tokens": lambda totals: totals["prompt_tokens"],
        "Completion tokens": lambda totals: totals["completion_tokens"],
        "Users": lambda totals: totals["users"],
    },
    "costs": {
        "Spend": lambda totals: totals["cost"],
        "Cost per request": cost_per_call,
        "Cost per million tokens": rate("wholly_priced_cost", "wholly_priced_tokens", 10**6),
    },
    "performance": {"Error rate": rate("errors", "requests")},
}
# A share of failed calls changes by points, and what has no earlier figure by nothing.
CHANGES = {name for cards in CARDS.values() for name in cards} - {"Error rate"}


@repeated(10)
@given(
    page=strategies.sampled_from(sorted(READS)),
    zone=strategies.sampled_from(ZONES),
    address=addresses(),
)
def test_the_cards_show_what_the_raw_calls_say(
    watched: Watched, truth: RawTruth, page: str, zone: str, address: Address
) -> None:
    app = open_page(watched, page, zone, spelled(address))
    questions = asked_of(watched, READS[page])
    assert questions, "the page asked nothing"
    now = questions[0].outward()
    assert dict(now.filters) == expected_filters(address)
    assert now.timezone == zone
    metrics = {metric.label: metric for metric in app.metric}
    totals = truth.totals(now)
    if not metrics:
        is_refused = "metadata" in address and questions[0].to_time - questions[0].from_time > timedelta(days=7)
        assert is_refused or totals["requests"] == 0, words(app)
        return
    before = (questions[1].outward() if len(questions) > 1 else now.before()) if address["compare"] != "none" else None
    earlier = truth.totals(before) if before is not None and begin_of(truth) <= before.from_time else None
    found = []
    for label, figure in CARDS[page].items():
        shown, true = metrics[label], figure(totals)
        if not is_shown(shown.value, true):
            found.append(f"{label}: {shown.value} is shown, {true} is true")
        was = figure(earlier) if earlier is not None else None
        if label in CHANGES and not is_change_shown(shown.delta, change(true, was)):
            found.append(f"{label}: {shown.delta} is shown, from {was} to {true} is true")
    spend = [metric for label, metric in metrics.items() if label.startswith("Spend, ")]
    found += [
        f"Spend: {one.value}, {totals['cost']} is true" for one in spend if not is_shown(one.value, totals["cost"])
    ]
    assert found == []


def begin_of(truth: RawTruth) -> datetime:
    (row,) = truth.connection.execute("select min(created_at) as at from observability_internal.ai_usage_metrics")
    at: datetime = row["at"]
    return at - (at - datetime(2020, 1, 1, tzinfo=UTC)) % MINUTE


@repeated(6)
@given(
    page=strategies.sampled_from(["usage", "costs"]),
    by=strategies.sampled_from(["model", "feature", "user", "tenant", "tag:-plan"]),
    zone=strategies.sampled_from(ZONES),
    address=addresses(),
)
def test_the_tables_and_what_costs_is_made_of_show_what_the_raw_calls_say(
    watched: Watched, truth: RawTruth, page: str, by: str, zone: str, address: Address
) -> None:
    app = open_page(watched, page, zone, spelled(address) | {"table": by})
    questions = asked_of(watched, READS[page])
    now = questions[0].outward()
    if not app.metric:
        return  # the cards' test says when
    columns = {"user": "user_id", "tenant": "tenant_id", "tag:-plan": "tags.plan"}
    true = truth.grouped(now, columns.get(by, by))
    (table,) = [one.value for one in app.dataframe if {"name", "requests", "share"} <= set(one.value.columns)]
    rows = {row["name"]: row for row in table.to_dict("records") if not str(row["name"]).startswith("Other (")}
    if by == "tag:-plan" and not ({"pro", "free", DASH} & rows.keys()):
        return  # a tag that no call has is no choice of the page
    found = []
    for key, row in true.items():
        if (shown := rows.get(key or DASH)) is None:
            continue
        names = ("requests", "cost") if page == "costs" else ("requests", "prompt_tokens", "completion_tokens")
        for name in names:
            value = None if pd.isna(shown[name]) else Decimal(str(shown[name]))
            exact: Decimal | None = None if row[name] is None else Decimal(row[name])
            size, apart = abs(exact or Decimal(1)), abs((value or Decimal(0)) - (exact or Decimal(0)))
            if (value is None) != (exact is None) or apart > Decimal("1e-9") * size:
                found.append(f"{key}.{name}: {value} is shown, {exact} is true")
    assert len(rows) == min(10, len(true)), (list(rows), list(true))
    if page == "costs":
        found += check_shape(app, truth, now)
    assert found == []


def check_shape(app: AppTest, truth: RawTruth, asked: Question) -> list[str]:
    """The cost by kind of token comes to the whole one, and each hour of the week is that of its calls."""
    found = []
    cost = truth.totals(asked)["cost"] or Decimal(0)
    kinds = [lines for lines in bars(app) if {name for name, _ in lines} & {"Input", "Output", "Not split"}]
    amounts = [value for lines in kinds[:1] for _, value in lines if "<" not in value]
    whole = sum((Decimal(one.replace("\u2212", "-").replace("$", "").replace(",", "")) for one in amounts), Decimal(0))
    if amounts and abs(whole - cost) > Decimal("0.01") * len(amounts) + Decimal("0.005"):
        found.append(f"kinds: {whole} in {amounts}, {cost} is true")
    weekdays = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    true = {(weekdays[day - 1], hour): row["cost"] or 0 for (day, hour), row in truth.hours(asked).items()}
    for frame in charts(app):
        if {"day", "hour", "cost"} <= set(frame.columns):
            shown = {(row["day"], int(row["hour"])): row["cost"] for row in frame.to_dict("records")}
            assert true.keys() <= shown.keys()
            found += [
                f"{place}: {value} is shown, {true.get(place, 0)} is true"
                for place, value in shown.items()
                if abs(Decimal(str(value)) - Decimal(true.get(place, 0))) > Decimal("1e-9")
            ]
    return found


@repeated(4)
@given(
    zone=strategies.sampled_from(ZONES),
    address=addresses(),
    order=strategies.sampled_from(["newest", "cost", "latency", "tokens"]),
)
def test_the_calls_page_shows_the_raw_calls_in_their_order(
    watched: Watched, truth: RawTruth, zone: str, address: Address, order: str
) -> None:
    app = open_page(watched, "calls", zone, spelled(address) | {"order": order})
    asked = asked_of(watched, "get_events")[0]
    asked = Question(asked.from_time, asked.to_time, zone, expected_filters(address))
    if "metadata" in address and asked.to_time - asked.from_time > timedelta(days=7):
        assert not app.dataframe, words(app)
        return
    true = truth.calls(asked, order)[:50]
    tables = [one.value for one in app.dataframe if "estimated_cost" in one.value.columns]
    assert bool(tables) == bool(true), words(app)
    if not true:
        return
    table = tables[0]
    assert [moment.to_pydatetime() for moment in table["created_at"]] == [call["created_at"] for call in true]
    for name in ("prompt_tokens", "completion_tokens"):
        assert list(table[name]) == [call[name] for call in true]
    for name in ("estimated_cost", "latency_ms"):
        shown = [None if pd.isna(value) else value for value in table[name]]
        assert shown == [None if call[name] is None else float(call[name]) for call in true]


@repeated(4)
@given(zone=strategies.sampled_from(ZONES), address=addresses())
def test_today_and_the_month_are_those_of_the_raw_calls(
    watched: Watched, truth: RawTruth, zone: str, address: Address
) -> None:
    def spent(now: datetime) -> tuple[Any, Any]:
        local = now.astimezone(ZoneInfo(zone))
        today = local.replace(hour=0, minute=0, second=0, microsecond=0)
        starts = (today.astimezone(UTC), today.replace(day=1).astimezone(UTC))
        end = now + timedelta(minutes=1)
        return tuple(truth.totals(Question(start, end, zone, expected_filters(address)))["cost"] for start in starts)

    before = spent(datetime.now(UTC))
    app = open_page(watched, "overview", zone, spelled(address))
    if "metadata" in address or not app.metric:
        return  # the cards' test says when
    text = words(app)
    today, month = re.search(r"(\S+) today", text), re.search(r"(\S+)\s+spent in", text)
    assert today
    shown = (today[1], month[1] if month else DASH)
    assert month or "What this month has cost is not known." in text
    # A day or a month may have begun while the page was drawn.
    assert any(
        all(is_shown(one, true) for one, true in zip(shown, sums, strict=True))
        for sums in (before, spent(datetime.now(UTC)))
    ), (shown, before)
