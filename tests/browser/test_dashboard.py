"""The whole way in a real browser: `treering up`, a replay of a real trace, and the totals read off the page."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import TREERING
from tests.support.browser import visit
from tests.support.cli import shared_trace

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page


def card(page: Page, label: str) -> str:
    """The value that the card with this label shows."""
    metric = page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True)).first
    return metric.get_by_test_id("stMetricValue").inner_text()


@pytest.mark.browser
@pytest.mark.timeout(600)
def test_the_page_shows_what_the_replayed_trace_cost(home: Path, address: str, page: Page) -> None:
    replay = subprocess.run(
        [*TREERING, "replay", shared_trace("azure_llm_conv_2023.csv.gz"), "--format", "azure", "--model", "gpt-4o"],
        env={**os.environ, "TREERING_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert replay.returncode == 0, replay.stderr

    period = "period=custom&from=2023-11-16&to=2023-11-17"
    visit(page, f"{address}/?{period}")
    expect(page.get_by_text("19,366", exact=True)).to_be_visible()
    assert card(page, "Requests") == "19,366"
    assert card(page, "Spend, 2 days") == "$96.79"
    assert card(page, "Tokens") == "26,450,535"

    visit(page, f"{address}/usage?{period}")
    expect(page.get_by_text("22,361,870", exact=True)).to_be_visible()
    assert card(page, "Prompt tokens") == "22,361,870"
    assert card(page, "Completion tokens") == "4,088,665"
