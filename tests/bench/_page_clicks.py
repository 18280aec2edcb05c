"""What is clicked on each page: periods, tables, tabs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from tests.bench._page_times import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

PAGES: Final = {
    "Overview": "",
    "Usage": "usage",
    "Costs": "costs",
    "Performance": "performance",
    "Calls": "calls",
    "Alerts": "alerts",
    "Settings": "settings",
}


def _segment(name: str, page: Page) -> float:
    return click(page.get_by_role("radio", name=name, exact=True).first)


def _turn(name: str, page: Page) -> float:
    return click(page.get_by_role("button", name=name, exact=True))


def _tab(name: str, page: Page) -> float:
    return click(page.get_by_role("tab", name=name))


def _segments(*names: str) -> list[Callable[[Page], float]]:
    return [partial(_segment, name) for name in names]


_PERIODS: Final = _segments("24h", "90d", "7d")

CLICKS: Final[dict[str, list[Callable[[Page], float]]]] = {
    "Overview": [*_segments("24h", "Requests", "30d", "Tokens", "7d", "Spend"), *_PERIODS],
    "Usage": [*_segments("24h", "Requests", "30d", "Tokens", "7d", "Feature", "User", "Model"), *_PERIODS],
    "Costs": [*_segments("24h", "With tokens", "30d", "Spend over time", "7d", "Feature", "User", "Model"), *_PERIODS],
    "Performance": [*_segments("24h", "Routes", "30d", "Model calls", "7d", "Feature", "Model"), *_PERIODS],
    "Calls": [*_segments("24h"), *(partial(_turn, name) for name in ("Older", "Older", "Newer", "Newest")), *_PERIODS],
    "Alerts": _segments("1h", "24h", "30d", "7d", "90d", "24h", "30d", "7d", "90d", "7d"),
    "Settings": [
        partial(_tab, name)
        for name in ("Budgets", "On call", "Channels", "Reports", "Members", "Prices", "Alert rules")
    ],
}
"""For each page at least ten clicks in the rounds of the benchmark."""
