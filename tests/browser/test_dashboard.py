"""The whole way in a real browser: `treering up`, a replay of a real trace, and the totals read off the page."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.support.cli import shared_trace
from tests.support.leftovers import make_folder
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

TREERING = [sys.executable, "-m", "ingest.cli"]
TIMEOUT_MS = 60_000


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in os.environ:
        if name.startswith(("SUPABASE_", "TREERING_")):
            monkeypatch.delenv(name)
    folder = make_folder()  # pytest's own are closed to the account that Postgres runs as
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def address(home: Path) -> Iterator[str]:
    """Everything running on this machine, with an empty database."""
    port = free_port()
    with subprocess.Popen(
        [*TREERING, "up", "--home", str(home), "--port", str(port)], stdout=subprocess.PIPE, text=True
    ) as up:
        assert up.stdout is not None
        said = ""
        for line in up.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        found = re.search(r"http://\S+", said)
        assert found is not None, said
        yield found.group()
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=60) == 0


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900}, timezone_id="UTC")
        page.set_default_timeout(TIMEOUT_MS)
        yield page
        browser.close()


def card(page: Page, label: str) -> str:
    """The value that the card with this label shows."""
    metric = page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True)).first
    return metric.get_by_test_id("stMetricValue").inner_text()


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_the_page_shows_what_the_replayed_trace_cost(home: Path, address: str, page: Page) -> None:
    replay = subprocess.run(
        [*TREERING, "replay", shared_trace("azure_llm_conv_2023.csv.gz"), "--format", "azure", "--model", "gpt-4o"],
        env={**os.environ, "TREERING_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert replay.returncode == 0, replay.stderr

    period = "period=custom&from=2023-11-16&to=2023-11-17"
    page.goto(f"{address}/?{period}")
    expect(page.get_by_text("19,366", exact=True)).to_be_visible(timeout=TIMEOUT_MS)
    assert card(page, "Requests") == "19,366"
    assert card(page, "Spend, 2 days") == "$96.79"
    assert card(page, "Tokens") == "26,450,535"

    page.goto(f"{address}/usage?{period}")
    expect(page.get_by_text("22,361,870", exact=True)).to_be_visible(timeout=TIMEOUT_MS)
    assert card(page, "Prompt tokens") == "22,361,870"
    assert card(page, "Completion tokens") == "4,088,665"
