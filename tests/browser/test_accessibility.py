"""Every page in both themes before axe-core."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.support import toolchain
from tests.support.browser import settled, visit
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
PAGES = (
    *("", "usage", "costs", "customers", "performance", "calls", "session?session_id=sess_0001&turn=7", "alerts"),
    *("settings", "settings?tab=reports"),
)
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

# What Streamlit draws and gives nobody a way to change: the rule, where, and why.
STREAMLITS_OWN: Final = {
    ("list", "[data-testid=stSidebarNavItems]"): "the sections of its navigation are div elements inside the ul",
    ("listitem", "[data-testid=stSidebarNavItems]"): "so their li elements have no list as a parent",
}

# Without the charts: axe-core cannot tell the background of a text in an SVG, and takes half a minute to say so.
# Streamlit's line in a metric has no text and holds an empty group without a name.
FIND_VIOLATIONS: Final = """
async (known) => {
  const what = { exclude: [["[data-testid=stVegaLiteChart]"], ["[data-testid=stMetricChart]"]] };
  const { violations } = await axe.run(what, { elementRef: true, resultTypes: ["violations"] });
  const used = [], found = [];
  for (const { id, nodes } of violations) {
    for (const { element, html, failureSummary } of nodes) {
      const match = known.find(([rule, place]) => rule === id && element.closest(place));
      if (match) used.push(match); else found.push(`${id}: ${html} ${failureSummary}`);
    }
  }
  return { found, used };
}
"""

# Contrast by WCAG 2.2 (relative luminance) of each text in a chart against the first opaque background behind it.
FIND_PALE_TEXTS: Final = """
() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const luminance = (colour) => {
    const [red, green, blue] = colour.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const found = [];
  for (const text of document.querySelectorAll("[data-testid=stVegaLiteChart] svg text")) {
    if (!text.textContent.trim()) continue;
    let opacity = 1, background = null;
    for (let element = text; element && !background; element = element.parentElement) {
      opacity *= Number(getComputedStyle(element).opacity);
      const [red, green, blue, alpha = 1] = parse(getComputedStyle(element).backgroundColor);
      if (alpha === 1) background = [red, green, blue];
    }
    const [red, green, blue, alpha = 1] = parse(getComputedStyle(text).fill);
    const share = alpha * opacity;
    const seen = [red, green, blue].map((value, at) => value * share + background[at] * (1 - share));
    const [darker, lighter] = [luminance(seen), luminance(background)].sort((one, other) => one - other);
    const contrast = (lighter + 0.05) / (darker + 0.05);
    if (contrast < 4.5) found.push(`${text.textContent}: ${contrast.toFixed(2)}`);
  }
  return found;
}
"""


@pytest.fixture(scope="module")
def preview() -> Iterator[str]:
    """The app on figures from memory, with something in every panel; its address."""
    port = free_port()
    options = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.baseUrlPath=app"]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "tests" / "app" / "preview.py"), *options]
    environment = {**os.environ, "TREERING_LOCAL_VIEWER": "local-ops", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        assert any("URL:" in line for line in app.stdout)
        yield f"http://127.0.0.1:{port}/app"
        app.terminate()
        app.communicate()  # it does not end before somebody has read its last words


def test_no_page_violates_a_rule_of_axe_core_in_either_theme(preview: str, page: Page) -> None:
    axe = toolchain.package_file("axe-core", "axe.min.js")
    found: dict[str, list[str]] = {}
    used: set[tuple[str, str]] = set()
    for name in PAGES:
        visit(page, f"{preview}/{name}")
        page.add_script_tag(path=axe)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            settled(page)
            result = page.evaluate(FIND_VIOLATIONS, [list(one) for one in STREAMLITS_OWN])
            used |= {(rule, place) for rule, place in result["used"]}
            found[f"{name} {theme}"] = [*result["found"], *page.evaluate(FIND_PALE_TEXTS)]
        page.emulate_media(color_scheme="light")
    assert {name: faults for name, faults in found.items() if faults} == {}
    assert used == set(STREAMLITS_OWN), "what Streamlit has mended since is not excused any more"
