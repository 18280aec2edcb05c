"""What is clicked on each page: periods, filters, tables, tabs."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.bench._page_times import click
from tests.support.browser import press, press_key

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


def _filter(page: Page) -> float:
    """Choose a model; opening the list is not counted."""
    press(page.get_by_role("button", name=re.compile("^Filters|filter_list")).first)
    press(page.get_by_role("combobox", name=re.compile("Models")))
    took = click(page.get_by_role("option").filter(has_text=re.compile("^gpt-4o$")))
    for _ in range(2):
        press_key(page, "Escape")
    return took


def _unfilter(page: Page) -> float:
    """Take the filter away by its chip."""
    return click(page.get_by_role("button", name="model: gpt-4o", exact=True))


def _turn(name: str, page: Page) -> float:
    return click(page.get_by_role("button", name=name, exact=True))


def _tab(name: str, page: Page) -> float:
    return click(page.get_by_role("tab", name=name))


def _segments(*names: str) -> list[Callable[[Page], float]]:
    return [partial(_segment, name) for name in names]


_NARROW: Final[list[Callable[[Page], float]]] = [_filter, *_segments("24h"), _unfilter, *_segments("90d", "7d")]

CLICKS: Final[dict[str, list[Callable[[Page], float]]]] = {
    "Overview": [*_segments("24h", "Requests", "30d", "Tokens", "7d", "Spend"), *_NARROW],
    "Usage": [*_segments("24h", "Requests", "30d", "Tokens", "7d", "Feature", "User", "Model"), *_NARROW],
    "Costs": [*_segments("24h", "With tokens", "30d", "Spend over time", "7d", "Feature", "User", "Model"), *_NARROW],
    "Performance": [*_segments("24h", "Routes", "30d", "Model calls", "7d", "Feature", "Model"), *_NARROW],
    "Calls": [*_segments("24h"), *(partial(_turn, name) for name in ("Older", "Older", "Newer", "Newest")), *_NARROW],
    "Alerts": _segments("1h", "24h", "30d", "7d", "90d", "24h", "30d", "7d", "90d", "7d"),
    "Settings": [
        partial(_tab, name)
        for name in ("Budgets", "On call", "Channels", "Reports", "Members", "Prices", "Alert rules", "Budgets")
    ],
}
"""For each page at least ten clicks in the rounds of the benchmark."""
