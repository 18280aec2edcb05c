"""What the twelve jobs of an analyst are walked on: nine weeks of calls with causes planted in them, and their rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
from pydantic import SecretStr

from ingest.alerts.channels import ChannelTarget
from ingest.alerts.sealing import SecretBox
from ingest.database import EMBEDDED_URI_FILE, open_database
from ingest.settings import load_settings
from pricing import calculate_cost
from tests.support.browser import TIMEOUT_MS, choose, fill, open_tab, press
from tests.support.events import usage_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Locator, Page, Position
    from pydantic import JsonValue

    from ingest.database import Database

WEEKS: Final = 9  # the whole month before this one is among them
DEAREST_CALL: Final = "00000000-0000-4000-8000-00000000dea7"
PROMPT: Final = 40_000
LONGER_PROMPT: Final = 120_000
"""Of the tutor's calls in the last seven days: what made these dearer."""
SLOW_MODEL: Final = "gpt-4.1"
LATENCIES: Final = {8: range(300, 1500, 100), 17: range(900, 9000, 800), 31: range(250, 650, 50)}
"""Milliseconds of the slow model's calls, by how many minutes ago they began."""
BUDGETS: Final[tuple[dict[str, JsonValue], ...]] = (
    {"name": "Everything", "amount": "0.1", "steps": ["1"], "forecast_step": None, "channels": []},
    {
        "name": "Chat alone",
        "amount": "5000",
        "steps": ["1"],
        "forecast_step": None,
        "channels": [],
        "scope": {"feature": "chat"},
    },
)


@dataclass(frozen=True)
class Stage:
    """The app with the planted calls.

    Attributes:
        address: Of the app.
        home: Folder of its database.
    """

    address: str
    home: Path

    def row(self, query: str) -> tuple[Any, ...]:
        """Return the first row of a question to the raw calls."""
        return self.rows(query)[0]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return all rows of a question to the raw calls, which are its table `calls`, all times in UTC."""
        uri = (self.home / EMBEDDED_URI_FILE).read_text().strip()
        with psycopg.connect(uri) as connection:
            connection.execute("set role service_role")
            connection.execute("set timezone to 'UTC'")
            connection.execute(
                "create temporary view calls as select *, estimated_cost as cost "
                "from observability_internal.ai_usage_metrics"
            )
            return connection.execute(query.encode()).fetchall()


class Walk:
    """Does on a page what `tests.support.browser` does, and counts the clicks: a choice in a list is two."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0

    def take(self, what: Locator, position: Position | None = None) -> None:
        press(what, position)
        self.clicks += 1

    def choose(self, box: Locator, option: str) -> None:
        choose(box, option)
        self.clicks += 2

    def write(self, box: Locator, text: str) -> None:
        fill(box, text)
        self.clicks += 1

    def open_tab(self, name: str) -> None:
        open_tab(self.page, name)
        self.clicks += 1

    def open_page(self, name: str) -> None:
        """Choose a page in the navigation."""
        self.take(self.page.get_by_test_id("stSidebarNavLink").filter(has_text=name))


def plant(home: Path, receiver: str) -> None:
    """Record calls and budgets, add a channel to a receiver, and wait until all calls are counted and judged."""
    now = datetime.now(UTC)
    database = open_database(load_settings(home=home))
    try:
        events = list(_events(now))
        assert database.call("record_usage", events=list(events)) == len(events)
        for budget in BUDGETS:
            database.call("save_budget", budget=budget)
        database.call("save_notification_channel", channel={"name": "pager", **_sealed(home, receiver)})
        _wait(lambda: _roll_up(database) == 0)
        _wait(lambda: _judge(database) == 0)
    finally:
        database.close()


def _sealed(home: Path, address: str) -> dict[str, JsonValue]:
    box = SecretBox(SecretStr((home / "secret.key").read_text(encoding="ascii")))
    return ChannelTarget(url=SecretStr(address)).seal(box)


def _roll_up(database: Database) -> int:
    answer: Any = database.call("roll_up")
    return int(answer["pending_batches"])


def _judge(database: Database) -> int:
    answer: Any = database.call("judge_savings")
    return int(answer["waiting"])


def _wait(is_done: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not is_done():
        assert time.monotonic() < deadline


def _events(now: datetime) -> Iterator[dict[str, JsonValue]]:
    """Each week has the same calls as the one before, but that the tutor's prompts of the last one are longer.

    No call lies within hours of where seven days begin, so that it does not matter when exactly a page is read.
    """
    for week in range(WEEKS):
        end = now - timedelta(weeks=week)
        for day in range(7):
            for hour in (4, 8, 12, 16, 20):
                moment = end - timedelta(days=day, hours=hour)
                yield from _regular_calls(moment, f"{week}_{day}", hour, PROMPT if week else LONGER_PROMPT)
        # Seven days before the last hour would be where seven days begin.
        recent = end - timedelta(hours=3) if week else end
        for minutes, latencies in LATENCIES.items():
            for latency in latencies:
                moment = (recent - timedelta(minutes=minutes)).replace(second=7)
                yield _call(moment, "search", SLOW_MODEL, "user_5", 900, 60, latency_ms=latency)
        yield _call(recent - timedelta(seconds=1), "import", "gpt-4o", "user_6", 60_000, 100)
        named = {} if week else {"event_id": DEAREST_CALL}
        yield _call(end - timedelta(hours=30), "report", "gpt-4o", "user_9", 125_000, 4000, **named)


def _regular_calls(moment: datetime, name: str, hour: int, prompt: int) -> Iterator[dict[str, JsonValue]]:
    user = f"user_{hour // 4}"
    yield _call(moment, "chat", "gpt-4o-mini", user, 2000, 300, session_id=f"chat_{name}_{hour}")
    if hour in (8, 16):
        yield _call(moment, "tutor", "gpt-4o", "user_maria", prompt, 500, session_id=f"tutor_{name}")
    else:
        yield _call(moment, "summarize", "gpt-4o-2024-05-13", user, 20_000, 400)


def _call(
    moment: datetime, feature: str, model: str, user: str, prompt: int, completion: int, **fields: JsonValue
) -> dict[str, JsonValue]:
    return usage_event(
        created_at=moment,
        feature=feature,
        model=model,
        user_id=user,
        prompt_tokens=prompt,
        completion_tokens=completion,
        estimated_cost=f"{calculate_cost(model, prompt, completion).total:f}",
        **fields,
    )
