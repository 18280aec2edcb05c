"""The page of one session: its sentence, figures, charts and turns, and what stands in the address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.figures.kinds import resent_cost
from dashboard.figures.session_chart import context_chart, cost_chart, point_frame
from dashboard.figures.session_words import describe_missing, describe_session, session_facts
from dashboard.panels.session_links import session_address
from ingest.documents.sessions import Session, SessionKinds, SessionPoint, SessionTotals
from ingest.errors import DatabaseError, DatabaseUnavailableError
from pricing import PriceBook
from tests.app.conftest import APP, TIMEOUT_S
from tests.app.session_documents import ABSENT
from tests.app.test_pages import OpenApp, address, last_call, metrics, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.app.fake_database import FakeDatabase

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOSTILE = "<b>x</b>&turn=9\n\u202e*y*"


def totals(**fields: Any) -> SessionTotals:
    """Twelve turns in 34 minutes for 0.43 $, whose prompt grew from 1,200 to 48,000 tokens."""
    known = {
        "turns": 12, "first_at": NOON, "last_at": NOON + timedelta(minutes=34), "cost": "0.43", "priced_turns": 12,
        "first_prompt_tokens": 1200, "last_prompt_tokens": 48_000, "late_turns": 3, "late_cost": "0.2623",
    }  # fmt: skip
    return SessionTotals.model_validate(known | fields)


def point(number: int, cost: str | None = "0.01", width: int = 1) -> SessionPoint:
    first = (number - 1) * width + 1
    return SessionPoint.model_validate(
        {
            "first_turn": first, "last_turn": first + width - 1, "first_at": NOON, "last_at": NOON,
            "prompt_tokens": 100, "cached_tokens": 40, "cost": cost,
            "cumulative_cost": cost and str(Decimal(cost) * number),
        }
    )  # fmt: skip


# -- sentences and figures -------------------------------------------------------------------------------------------


IN_ALL = "12 turns in 34.0 min cost $0.43"
GREW = "the prompt grew from 1,200 to 48,000 tokens: the last three turns are 61.0% of the cost."
STAYED = "the prompt stayed near 1,300 tokens."
FEW = {"late_cost": "0.1", "first_prompt_tokens": None}
FALLBACK = {"fallback_cost": "0.02", "fallback_turns": 2}


@pytest.mark.parametrize(
    ("fields", "resent", "sentence"),
    [
        ({}, None, f"{IN_ALL}; {GREW}"),
        ({}, "0.3", f"{IN_ALL}; {GREW} About 70% of the cost is context that had been sent before."),
        ({"turns": 1, "late_turns": 1, "late_cost": "0.43"}, None, "One turn cost $0.43."),
        ({"turns": 1, "late_turns": 1, "late_cost": "0.43"}, "0", "One turn cost $0.43."),
        ({}, "0.001", f"{IN_ALL}; {GREW} Less than 1% of the cost is context that had been sent before."),
        ({"last_at": NOON}, None, f"12 turns cost $0.43; {GREW}"),
        (
            {"late_cost": "0.1", "last_prompt_tokens": 1300},
            "0.429",
            f"{IN_ALL}; {STAYED} Almost all of the cost is context that had been sent before.",
        ),
        (
            {"last_prompt_tokens": 300, "late_cost": None, "cost": None, "unpriced_turns": 12},
            None,
            "12 turns in 34.0 min have no price; the prompt shrank from 1,200 to 300 tokens.",
        ),
        (
            {**FEW, **FALLBACK, "cost": None, "late_cost": None, "unpriced_turns": 10},
            None,
            "12 turns in 34.0 min cost $0.02 at the fallback price, 10 without a price.",
        ),
        ({**FEW, **FALLBACK}, None, f"{IN_ALL} and $0.02 at the fallback price."),
    ],
)
def test_a_session_is_told_in_a_sentence(fields: dict[str, Any], resent: str | None, sentence: str) -> None:
    assert describe_session(totals(**fields), None if resent is None else Decimal(resent)) == sentence


def test_what_may_be_missing_is_said_where_a_session_begins_near_the_archive() -> None:
    def missing(until: datetime | None, **fields: Any) -> str:
        document = {"access": "ops", "session_id": "s", "archived_until": until, "totals": totals(**fields)}
        return describe_missing(Session.model_validate(document), ZoneInfo("UTC"))

    assert missing(None) == ""
    assert missing(NOON - timedelta(days=8)) == ""
    assert missing(NOON - timedelta(days=6)).startswith("Calls from before 28 April 2026 are in the archive.")
    assert "are in the archive" in missing(NOON - timedelta(days=60), turns=0, first_at=None, last_at=None)


def test_facts_name_whom_and_what_a_session_was_about() -> None:
    facts = session_facts(
        totals(users=["a", "b"], user_count=9, tenants=["acme"], tags={"plan": ["pro"]}, errors=2, cancelled=1),
        ZoneInfo("Asia/Kolkata"),
    )
    assert facts == [
        ("9 users", "a, b and 7 more"),
        ("Tenant", "acme"),
        ("Tag plan", "pro"),
        ("Time", "4 May 2026, 17:30:00 to 18:04:00 (Asia/Kolkata)"),
        ("Not answered", "2 failed, 1 cancelled"),
    ]


def test_context_sent_again_is_priced_as_cached_and_uncached_input() -> None:
    # At 2.50, 1.25 and 10 dollars a million: 6,000 + 4,000 cached + 1,000 tokens are 0.015 + 0.005 + 0.010 $. Sent
    # again are the cached ones and 3,000 others: 0.005 + 0.0075 $, twice as much where twice the price was charged.
    usage = {"provider": "openai", "model": "gpt-4o", "requests": 1, "prompt_tokens": 10_000, "cached_tokens": 4_000}
    usage |= {"completion_tokens": 1_000, "resent_cached_tokens": 4_000, "resent_uncached_tokens": 3_000}
    book = PriceBook.default()

    def priced(cost: str, **fields: Any) -> Decimal | None:
        return resent_cost([SessionKinds.model_validate({**usage, "cost": cost, **fields})], book, NOON)

    assert priced("0.03") == Decimal("0.0125")
    assert priced("0.06") == Decimal("0.025")
    assert priced("0.03", model="our-own-7b", provider="self-hosted") is None
    assert resent_cost([], book, NOON) is None


def test_charts_draw_each_turn_alone_or_a_stretch_of_them() -> None:
    few = point_frame([point(1), point(2, None), point(3)])
    many = point_frame([point(number, width=50) for number in range(1, 201)])

    assert list(few["when"]) == ["Turn 1", "Turn 2", "Turn 3"]
    assert list(few["cost_text"]) == ["$0.01", "—", "$0.01"]
    assert few["cost"].isna().tolist() == [False, True, False]
    assert list(many["when"][:2]) == ["Turns 1 to 50", "Turns 51 to 100"]
    assert (many["start"][0], many["end"][199]) == (0.5, 10_000.5)
    for points in ([point(1)], [point(1, None)], [point(number) for number in range(1, 30)]):
        assert context_chart(points).to_dict()["layer"]
        assert cost_chart(points).to_dict()["resolve"] == {"scale": {"y": "independent"}}


@pytest.fixture
def open_session(fake: FakeDatabase) -> Callable[..., AppTest]:
    """Open the page at an address, `open_session(session_id="s", turn="7")`."""
    del fake

    def open_page(**query: str) -> AppTest:
        app = AppTest.from_file(str(APP), default_timeout=TIMEOUT_S)
        app.context["timezone"] = "Europe/Berlin"
        app.switch_page("app_pages/session.py")
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return open_page


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_tells_a_session(open_session: OpenApp, fake: FakeDatabase) -> None:
    app = open_session(session_id="sess_0001")

    assert not app.exception
    assert "12 turns in 7.3 min cost $0.5903; the prompt grew from 1,200 to 48,005 tokens" in texts(app)
    shown = metrics(app)
    # The prompts are 295,230 tokens, 147,012 of them cached, and the answers 3,600: 0.370545 + 0.183765 + 0.036 $.
    assert (shown["Cost"], shown["Cost per turn"], shown["Cached input"]) == ("$0.5903", "$0.04919", "49.8%")
    # Again: the cached ones, and 247,225 of the turns before with their answers of 3,300, less these: 0.4425475 $.
    assert shown["Context sent again"] == "75.0%"
    frame = app.dataframe[0].value
    assert list(frame["turn"]) == list(range(1, 13))
    assert "user_id" not in frame
    assert "10 · gpt-4o · 39,495 tokens" in texts(app)
    assert last_call(fake, "get_session") == {
        "session_id": "sess_0001",
        "filters": {"first_turn": 1, "limit": 50},
    }


def test_a_session_id_is_never_read_as_anything_else(open_session: OpenApp, fake: FakeDatabase) -> None:
    app = open_session(session_id=HOSTILE)

    assert not app.exception
    assert last_call(fake, "get_session")["session_id"] == HOSTILE
    assert "&lt;b&gt;x&lt;/b&gt;&amp;turn=9⟨U+000A⟩⟨U+202E⟩*y*" in texts(app)
    assert parse_qs(session_address(HOSTILE).partition("?")[2]) == {"session_id": [HOSTILE]}
    query = session_address(HOSTILE, user_id="a&b", turn=3).partition("?")[2]
    assert parse_qs(query) == {"session_id": [HOSTILE], "user_id": ["a&b"], "turn": ["3"]}
    as_calls = next(link.proto for link in app.get("page_link") if link.proto.label == "As calls")
    assert parse_qs(as_calls.query_string)["session_id"] == [HOSTILE]


@pytest.mark.parametrize("name", ["\x00", "a" * 201])
def test_a_name_that_no_call_can_have_never_reaches_the_database(
    open_session: OpenApp, fake: FakeDatabase, name: str
) -> None:
    for query in ({"session_id": name}, {"session_id": "s", "user_id": name}):
        assert "No turn of this session" in texts(open_session(**query))
    assert not [call for call in fake.calls if call[0] == "get_session"]


def test_a_turn_opens_the_record_of_its_call(open_session: OpenApp) -> None:
    app = open_session(session_id="sess_0001", turn="7")

    assert "Turn 7" in [caption.value for caption in app.caption]
    assert "<dt>Prompt</dt><dd>26,730</dd>" in texts(app)
    assert "in its session" not in texts(app)
    assert {link.proto.label for link in app.get("page_link")} == {"As calls", "All calls by this user"}

    app.button(key="calls_close").click().run()

    assert "tr-list" not in texts(app)
    assert address(app) == {"session_id": ["sess_0001"], "first": ["1"]}


def test_a_long_session_has_pages_and_a_link_to_a_turn_opens_its_page(
    open_session: OpenApp, fake: FakeDatabase
) -> None:
    fake.session_length = 420
    app = open_session(session_id="long")

    assert list(app.dataframe[0].value["turn"]) == list(range(1, 51))
    assert app.button(key="session_earlier").disabled
    assert "a bar is the largest prompt of 3 turns" in texts(app)
    app.button(key="session_later").click().run()
    assert address(app) == {"session_id": ["long"], "first": ["51"]}
    assert list(app.dataframe[0].value["turn"]) == list(range(51, 101))

    linked = open_session(session_id="long", turn="417")
    assert list(linked.dataframe[0].value["turn"]) == list(range(401, 421))
    assert linked.button(key="session_later").disabled
    assert "Turn 417" in [caption.value for caption in linked.caption]
    beyond = open_session(session_id="long", turn="1000")
    assert list(beyond.dataframe[0].value["turn"]) == list(range(401, 421))
    assert not open_session(session_id="long", turn="-1", first="x").exception


def test_users_who_share_an_id_can_be_seen_alone(open_session: OpenApp, fake: FakeDatabase) -> None:
    fake.session_users = ("user_a", "user_b")
    app = open_session(session_id="1")

    assert "Several users have calls with this session id. See one alone:" in [one.value for one in app.caption]
    assert set(app.dataframe[0].value["user_id"]) == {"user_a", "user_b"}
    links = {link.proto.label: link.proto.query_string for link in app.get("page_link")}
    assert parse_qs(links["user\\_b"]) == {"session_id": ["1"], "user_id": ["user_b"]}

    alone = open_session(session_id="1", user_id="user_b")
    assert len(alone.dataframe[0].value) == 6
    assert "Turns of user\\_b alone." in [one.value for one in alone.caption]


@pytest.mark.parametrize("access", ["member", "tenant"])
def test_who_sees_a_part_of_the_calls_is_told_so_and_gets_no_prices(
    open_session: OpenApp, fake: FakeDatabase, access: str
) -> None:
    fake.access = access
    app = open_session(session_id="sess_0001")

    assert not app.exception
    # 250,525 of 295,230 prompt tokens.
    assert metrics(app)["Context sent again"] == "84.9%"
    assert "get_prices" not in [name for name, _ in fake.calls]


def test_turns_without_a_price_have_no_cost(open_session: OpenApp, fake: FakeDatabase) -> None:
    fake.has_session_prices = False
    app = open_session(session_id="sess_0001")

    assert not app.exception
    assert (metrics(app)["Cost"], metrics(app)["Cost per turn"]) == ("—", "—")
    assert "No turn has a price of its own." in [one.value for one in app.caption]
    assert "12 unpriced" in texts(app)


def test_a_page_without_turns_says_why(open_session: OpenApp, fake: FakeDatabase) -> None:
    assert "No session is chosen" in texts(open_session())
    assert "No call of it is recorded, or none that you may see." in texts(open_session(session_id=ABSENT))
    reads = len(fake.calls)
    assert "No turn of this session" in texts(open_session(session_id="x" * 201))
    assert [name for name, _ in fake.calls[reads:] if name == "get_session"] == []
    fake.session_archived_until = datetime.now(UTC)
    assert "are in the archive" in texts(open_session(session_id="gone", user_id="nobody"))
    fake.errors["get_session"] = DatabaseError("too many", sqlstate="54000")
    endless = open_session(session_id="endless")
    assert "This session is too long" in texts(endless)
    assert "session_id=endless" in endless.get("page_link")[-1].proto.query_string
    fake.errors["get_session"] = DatabaseUnavailableError("gone")
    assert "The database cannot be reached" in texts(open_session(session_id="down"))


def test_the_choices_of_other_pages_are_kept(open_app: OpenApp) -> None:
    app = open_app("costs", period="day", model="gpt-4o")
    app.switch_page("app_pages/session.py")
    app.query_params["session_id"] = "sess_0001"
    app.run()

    app.switch_page("app_pages/costs.py").run()

    assert app.session_state["selection"].model == ("gpt-4o",)
    assert app.session_state["selection"].session_id == ()
