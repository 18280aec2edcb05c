"""`treering up` with a database of its own, and a browser to look at it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.support.browser import TIMEOUT_MS, watch
from tests.support.leftovers import make_folder
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

TREERING = [sys.executable, "-m", "ingest.cli"]


@contextmanager
def empty_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for `treering up`, and an environment that names no other database."""
    for name in os.environ:
        if name.startswith(("SUPABASE_", "TREERING_")):
            monkeypatch.delenv(name)
    folder = make_folder()  # pytest's own are closed to the account that Postgres runs as
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(home: Path) -> Iterator[str]:
    """Everything running on this machine, with an empty database; the app's address."""
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
        assert up.wait(timeout=120) == 0


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser whose expectations have the time that a busy machine needs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        expect.set_options(timeout=TIMEOUT_MS)  # not the five seconds it has else
        yield browser
        browser.close()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with empty_home(monkeypatch) as folder:
        yield folder


@pytest.fixture
def address(home: Path) -> Iterator[str]:
    with running(home) as found:
        yield found


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900}, timezone_id="UTC")
        page.set_default_timeout(TIMEOUT_MS)
        watch(page)
        yield page
