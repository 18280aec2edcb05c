"""When a page in Chromium has drawn what it shows: measured by the browser's own clock, without the driver's delays."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.support.browser import TIMEOUT_MS, settled, watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

# The frame after the last change to the page's contents. What happens outside of them, such as the sign that the
# script runs, does not count. Time zero is the navigation, or the click.
_CLOCK = """
(() => {
  let clickedAt = 0, drawnAt = 0, sentAt = 0;
  window.WebSocket = class extends WebSocket {
    send(data) { sentAt = performance.now(); super.send(data); }
  };
  window.addEventListener("click", () => { clickedAt = drawnAt = performance.now(); }, true);
  new MutationObserver((changes) => {
    const main = document.querySelector("[data-testid=stMain]");
    if (!main || !changes.some(({ target }) => main.contains(target))) return;
    requestAnimationFrame(() => { drawnAt = performance.now(); });
  }).observe(document, { attributes: true, characterData: true, childList: true, subtree: true });
  window.hasAsked = () => sentAt > clickedAt;
  window.drawnAfter = () => drawnAt - clickedAt;
})()
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def new_page(browser: Browser) -> Iterator[Page]:
    """Open a page with a cache of its own, 1440 by 900, that measures itself."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, timezone_id="UTC")
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    watch(page)
    page.add_init_script(_CLOCK)
    try:
        yield page
    finally:
        context.close()


def load(page: Page, address: str) -> float:
    """Open an address; milliseconds from the navigation to the last change of what the page shows."""
    page.goto(address)
    return drawn(page)


def click(what: Locator) -> float:
    """Click once all stands; milliseconds from the click to the last change of what the page shows."""
    settled(what.page)
    what.click()
    # What a press looks like changes at once; the app is asked some frames later.
    what.page.wait_for_function("() => window.hasAsked()")
    return drawn(what.page)


def drawn(page: Page) -> float:
    """Wait until the app has settled; milliseconds from the navigation or the click to the last change."""
    settled(page)
    return float(page.evaluate("() => window.drawnAfter()"))
