"""What a page shows is what the raw calls say: the app over a real database, for any filters, period and time zone.

The app runs as it does for ops. The moments that it asks for are those that the address and the clock give; every
figure is then read from the page and compared with one query of the raw rows, at the digits that are shown.
`TREERING_PROPERTY_EXAMPLES=200` opens that many random pages of each kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import streamlit as st
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as strategies
from streamlit.testing.v1 import AppTest

from dashboard.reads import connection
from dashboard.reads import viewer as identity
from tests.app.conftest import APP, TIMEOUT_S
from tests.support.doors import Door
from tests.support.hostile_calls import FEATURES, MODELS, TENANTS, USERS, HostileCalls, fill
from tests.support.raw_truth import MINUTE, Question, RawTruth
from tests.support.shown_figures import bars, change, charts, is_change_shown, is_shown, legends, words

if TYPE_CHECKING:
    from ingest.database import Argument, Database
    from tests.support.lending import Lender
    from tests.support.servers import TestDatabase

EXAMPLES = int(os.environ.get("TREERING_PROPERTY_EXAMPLES", "0"))
SEED = 61
VIEWER = "local-ops"
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati")
READS = {"overview": "get_overview", "usage": "get_usage", "costs": "get_costs", "performance": "get_performance"}
EMPTY = ("No calls", "Nothing")
Address = dict[str, Any]


def repeated(usual: int) -> settings:
    return settings(
        max_examples=EXAMPLES or usual,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        print_blob=bool(EXAMPLES),
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
    return strategies.lists(strategies.sampled_from(sorted({one for one in values if one})), min_size=1, max_size=2, unique=True)


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
    return found | {"compare": compare, "group": draw(strategies.sampled_from(["model", "feature", "user_id", "tenant_id"]))}


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
        if name == function:
            filters = dict(arguments["filters"])
            zone = filters.pop("timezone")
            for shape in ("group_by", "limit", "cursor", "order"):
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


def sure_cost(totals: dict[str, Any], per: str) -> Decimal | None:
    if totals["cost"] is None or not totals[per]:
        return None
    return Decimal(totals["cost"]) / totals[per]


Figures = dict[str, tuple[Callable[[dict[str, Any]], Any], bool]]


def rate(part: str, whole: str, times: int = 100) -> Callable[[dict[str, Any]], Any]:
    return lambda totals: Decimal(totals[part]) / Decimal(totals[whole]) * times if totals[whole] else None


SPEND = (lambda totals: totals["cost"], True)
CARDS: dict[str, dict[str, Callable[[dict[str, Any]], Any]]] = {
    "overview": {
        "Requests": lambda totals: totals["requests"],
        "Tokens": lambda totals: totals["total_tokens"],
        "Error rate": rate("errors", "requests"),
        "Users": lambda totals: totals["users"],
    },
    "usage": {
        "Requests": lambda totals: totals["requests"],
        "Prompt tokens": lambda totals: totals["prompt_tokens"],
        "Completion tokens": lambda totals: totals["completion_tokens"],
        "Users": lambda totals: totals["users"],
    },
    "costs": {
        "Spend": lambda totals: totals["cost"],
        "Cost per request": lambda totals: sure_cost(totals, "sure_requests"),
        "Cost per million tokens": rate("wholly_priced_cost", "wholly_priced_tokens", 10**6),
    },
    "performance": {"Error rate": rate("errors", "requests")},
}
# A share of failed calls changes by points, and what has no earlier figure by nothing.
CHANGES = {name for cards in CARDS.values() for name in cards} - {"Error rate"}
TABLES = {
    "usage": ("usage_by", "prompt_tokens", ["requests", "prompt_tokens", "completion_tokens"]),
    "costs": ("costs_by", "cost_per_request", ["requests", "cost"]),
}
BY = {"Model": "model", "Feature": "feature", "User": "user_id", "Tenant": "tenant_id", "Plan": "tags.plan"}


@repeated(10)
@given(
    page=strategies.sampled_from(sorted(READS)), zone=strategies.sampled_from(ZONES), address=addresses(),
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
    found += [f"Spend: {one.value}, {totals['cost']} is true" for one in spend if not is_shown(one.value, totals["cost"])]
    assert found == []


def begin_of(truth: RawTruth) -> datetime:
    (row,) = truth.connection.execute("select min(created_at) as at from observability_internal.ai_usage_metrics")
    at: datetime = row["at"]
    return at - (at - datetime(2020, 1, 1, tzinfo=UTC)) % MINUTE
