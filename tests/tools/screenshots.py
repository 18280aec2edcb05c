"""Makes the pictures of docs/tour.md from the demo: `uv run python -m tests.tools.screenshots`.

Starts `treering up --demo` in a folder of its own, adds a channel, budgets and rules, and takes each page at 1440 and
390 pixels, light and dark, into docs/tour. The demo's calls depend on the hour alone, and the clock is turned to the
same moment before each picture, so that pictures change only when the app has changed. Needs Linux, a C compiler and
Chromium, and takes three minutes on two cores.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests.support import clock
from tests.support.browser import TIMEOUT_MS, field, fill, press, press_key, settled, tab_to, visit, watch
from tests.support.leftovers import make_folder
from tests.support.servers import free_port
from tests.support.webhook_server import WebhookServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

FOLDER = Path(__file__).parents[2] / "docs" / "tour"
# UTC; a Wednesday in the middle of a month: there is a forecast, and days of all kinds are behind it. The pictures are
# taken later than anything that was set up: what is yet to come would be missing.
MOMENT = "2026-11-18 15:20:00"
MOMENT_OF_PICTURES = "2026-11-18 15:35:00"
SIZES: Final = {1440: 900, 390: 844}
THEMES: Final = ("light", "dark")
PAGES: Final = {
    "overview": "",
    "usage": "usage",
    "costs": "costs",
    "performance": "performance",
    "calls": "calls?order=cost",
    "alerts": "alerts",
    "settings": "settings?tab=budgets",
}
LARGEST_BYTES = 150_000

_TREERING = [sys.executable, "-m", "ingest.cli"]
_INSIDE = "--on-its-clock"
_MESSAGES = 2  # of the budget that is half used, and of today's spend
_ALERTS = """
version: 1
budgets:
- {name: All of November, amount: 220, steps: [0.5, 0.8, 1], channels: [On call]}
- {name: Tutor, amount: 60, scope: {feature: [tutor]}, channels: [On call]}
rules:
- {name: Daily spend, metric: spend, period: day, threshold: 3, critical_threshold: 10, channels: [On call]}
- {name: Errors, metric: error_rate, window_s: 3600, threshold: 0.5, minimum_sample: 20, channels: [On call]}
"""


def main() -> int:
    """Take all pictures; returns the exit code."""
    if _INSIDE in sys.argv:
        clock.start()
        try:
            take_all()
        finally:
            clock.stop()
        return 0
    with clock.environment([MOMENT]) as variables:
        command = [sys.executable, "-m", "tests.tools.screenshots", _INSIDE]
        return subprocess.run(command, env={**os.environ, **variables}, check=False).returncode


def take_all() -> None:
    """Take the pictures of a demo that this starts and ends."""
    FOLDER.mkdir(exist_ok=True)
    plain: dict[str, str | float | bool] = {name: one for name, one in os.environ.items() if name != "LD_PRELOAD"}
    expect.set_options(timeout=TIMEOUT_MS)
    with _make_home() as home, _demo(home) as address, WebhookServer() as receiver, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"], env=plain)
        first = _open(browser, max(SIZES), "light")
        _add_alerts(first, address, receiver, home)
        clock.turn_to(MOMENT_OF_PICTURES)
        pages = PAGES | {"session": _find_session(first, address)}
        for path in pages.values():  # meanwhile the worker reports that it is alive, at the new time
            visit(first, f"{address}/{path}")
        first.close()
        for width, theme in itertools.product(SIZES, THEMES):
            page = _open(browser, width, theme)
            for name, path in pages.items():
                clock.turn_to(MOMENT_OF_PICTURES)
                visit(page, f"{address}/{path}")
                _prepare(page, name)
                _save(page.screenshot(), FOLDER / f"{name}-{width}-{theme}.webp")
            page.close()
        browser.close()


@contextmanager
def _make_home() -> Iterator[Path]:
    """A folder that everything finds in the environment, which names no other database."""
    for name in [*os.environ]:
        if name.startswith(("SUPABASE_", "TREERING_")):
            del os.environ[name]
    folder = make_folder()
    os.environ |= {"TREERING_HOME": str(folder / "home"), "TREERING_UPDATE_PRICES": "false"}
    os.environ["TREERING_ALLOW_PRIVATE_WEBHOOKS"] = "true"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _demo(folder: Path) -> Iterator[str]:
    """Everything on this machine with the demo's data; the app's address."""
    command = [*_TREERING, "up", "--demo", "--port", str(free_port())]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as up,
    ):
        assert up.stdout is not None
        said = ""
        for line in up.stdout:
            said += line
            if line.startswith("demo data:"):
                break
        address = re.search(r"http://\S+", said)
        assert address is not None, said
        try:
            yield address.group()
        finally:
            up.send_signal(signal.SIGINT)
            up.communicate()


def _add_alerts(page: Page, address: str, receiver: WebhookServer, folder: Path) -> None:
    """Save a channel as a person does, then what tells through it; wait until a message has gone out."""
    visit(page, f"{address}/settings?tab=channels")
    fill(field(page, "Name"), "On call")
    fill(field(page, "Address"), receiver.url)
    press(page.get_by_role("button", name="Save").locator("visible=true"))
    expect(page.get_by_text("Signing secret of the channel")).to_be_visible()
    (folder / "alerts.yaml").write_text(_ALERTS, encoding="utf-8")
    subprocess.run([*_TREERING, "alerts", "apply", str(folder / "alerts.yaml")], check=True)
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while len(receiver.deliveries) < _MESSAGES:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(receiver.deliveries)} of {_MESSAGES} messages arrived")
        receiver.wait(0.2)


def _open(browser: Browser, width: int, theme: str) -> Page:
    page = browser.new_page(
        viewport={"width": width, "height": SIZES[width]},
        color_scheme="dark" if theme == "dark" else "light",
        timezone_id="UTC",
        reduced_motion="reduce",
    )
    page.set_default_timeout(TIMEOUT_MS)
    watch(page)
    return page


def _prepare(page: Page, name: str) -> None:
    """Open the dearest call where there is room beside the table, and leave nothing under the mouse."""
    size = page.viewport_size
    assert size is not None
    if name == "calls" and size["width"] == max(SIZES):
        _open_first_call(page)
    page.mouse.move(size["width"] - 1, size["height"] - 1)
    settled(page)


def _find_session(page: Page, address: str) -> str:
    """Return the address of the session of the dearest call of a chat."""
    visit(page, f"{address}/calls?order=cost&feature=chat")
    _open_first_call(page)
    link = page.get_by_role("link", name="Whole session").get_attribute("href")
    assert link is not None
    return f"session?{urlsplit(link).query}"


def _open_first_call(page: Page) -> None:
    tab_to(page.get_by_test_id("data-grid-canvas").first)
    reason = page.get_by_text("Why this price")
    for _ in range(3):  # the table may miss a key while it takes the focus
        press_key(page, "Shift+Space")
        if reason.is_visible():
            break
    expect(reason).to_be_visible()


def _save(picture: bytes, path: Path) -> None:
    Image.open(io.BytesIO(picture)).convert("RGB").save(path, lossless=True, quality=100, method=6)
    size = path.stat().st_size
    print(f"{path.relative_to(FOLDER.parents[1])} {size // 1000} kB", flush=True)
    if size > LARGEST_BYTES:
        raise ValueError(f"{path.name} is larger than {LARGEST_BYTES // 1000} kB")


if __name__ == "__main__":
    sys.exit(main())
