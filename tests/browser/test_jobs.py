"""The jobs of an analyst in a real browser: each finds its answer, which SQL over the raw calls confirms, and in how
many clicks. `docs/tour.md` has the table.
"""

from __future__ import annotations

import re
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from openpyxl import load_workbook
from playwright.sync_api import expect

import ingest
from tests.browser.conftest import chromium, empty_home, running
from tests.browser.jobs_stage import DEAREST_CALL, SLOW_MODEL, Stage, Walk, plant
from tests.support.browser import TIMEOUT_MS, field, press, press_key, settled, tab_to, visit, watch
from tests.support.webhook_server import WebhookServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page, Position

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

MOST_CLICKS = 3
"""Of a job that reads."""
WEEK = "created_at >= date_trunc('hour', now() - interval '7 days')"
FIRST_ROW: Position = {"x": 18, "y": 52}
"""Where the first row of a table is chosen."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[WebhookServer]:
    with WebhookServer() as server:
        yield server


@pytest.fixture(scope="module")
def stage(receiver: WebhookServer) -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as monkeypatch, empty_home(monkeypatch) as home:
        monkeypatch.setenv("TREERING_ALLOW_PRIVATE_WEBHOOKS", "true")
        with running(home) as address:
            plant(home, receiver.url)
            yield Stage(address, home)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = open_page(browser)
    yield page
    page.context.close()


def open_page(browser: Browser) -> Page:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, timezone_id="UTC")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    watch(page)
    return page


def is_shown(text: str, amount: Decimal | float) -> bool:
    """Whether a text says this amount, of US dollars or in percent, with as many digits as it has."""
    shown = Decimal(re.sub("[$,%+]", "", text))
    return shown == Decimal(amount).quantize(shown)


def first_line(page: Page, panel: str) -> Locator:
    """The line at the top of a ranking."""
    return page.locator(f".st-key-{panel} .tr-bars .line").first


def table(page: Page) -> Locator:
    return page.get_by_test_id("stDataFrame").first


def card(page: Page, label: str) -> Locator:
    return page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True)).first


def test_why_the_week_is_dearer_is_said_by_the_first_sentence(stage: Stage, page: Page) -> None:
    feature, model, calls, calls_before, dearer = stage.row(
        f"select feature, model, count(*) filter (where {WEEK}), count(*) filter (where not {WEEK}), "
        f"sum(case when {WEEK} then cost else -cost end) as dearer from calls "
        "where created_at >= now() - interval '14 days' group by 1, 2 order by dearer desc"
    )
    assert (feature, model, calls, calls_before) == ("tutor", "gpt-4o", 14, 14)

    visit(page, stage.address)

    told = page.locator(".tr-headline").inner_text()
    said = re.search(r"This period cost (\S+) more than .* because of (.*) \(\+(\S+)\): (.*) \+(\S+)\.", told)
    assert said is not None, told
    whole, cause, reason, name, most = said.groups()
    assert (cause, name) == ("more tokens per call", "tutor with gpt-4o")
    assert all(is_shown(one, dearer) for one in (whole, reason, most))


@pytest.mark.parametrize(("panel", "column"), [("features", "feature"), ("users", "user_id")])
def test_the_dearest_feature_and_user_stand_on_the_overview(stage: Stage, page: Page, panel: str, column: str) -> None:
    name, cost = stage.row(f"select {column}, sum(cost) from calls where {WEEK} group by 1 order by 2 desc")

    visit(page, stage.address)

    line = first_line(page, f"panel_overview_top_{panel}")
    expect(line.locator(".name")).to_have_text(name)
    assert is_shown(line.locator(".value").inner_text(), cost)


def test_the_one_dearest_call_is_opened_from_the_overview(stage: Stage, page: Page) -> None:
    event_id, cost = stage.row(f"select event_id::text, cost from calls where {WEEK} order by cost desc")
    assert event_id == DEAREST_CALL
    visit(page, stage.address)
    walk = Walk(page)

    walk.take(page.get_by_role("link", name="Most expensive calls"))
    walk.take(table(page), FIRST_ROW)

    details = page.locator(".st-key-panel_calls_details")
    expect(details.get_by_text(event_id)).to_be_visible()
    expect(details.get_by_text(f"${cost.normalize():f}").first).to_be_visible()
    assert walk.clicks == 2 <= MOST_CLICKS


def test_what_to_do_to_save_and_how_much_it_is_stands_on_costs(stage: Stage, page: Page) -> None:
    # gpt-4o of May 2024 is 5 and 15 $ a million tokens, gpt-4o itself 2.5 and 10; a month is 30 average days.
    (saved,) = stage.row(
        "select 30 * sum(case when model = 'gpt-4o-2024-05-13' then prompt_tokens * 2.5e-6 + completion_tokens * 5e-6 "
        "else 0 end)::numeric / count(distinct created_at::date) from calls "
        "where created_at >= (now() - interval '30 days')::date + 1 and created_at < now()::date"
    )
    visit(page, stage.address)
    walk = Walk(page)

    walk.take(page.locator(".st-key-panel_overview_things").get_by_role("link", name="Use gpt-4o instead"))

    panel = page.locator(".st-key-panel_costs_savings")
    line = panel.locator(".line").filter(has_text="Use gpt-4o instead of gpt-4o-2024-05-13")
    expect(page).to_have_url(re.compile("/costs.*#savings$"))
    assert is_shown(line.locator(".value").inner_text(), saved)
    assert walk.clicks == 1 <= MOST_CLICKS


def test_a_statement_is_written_and_saved(stage: Stage, page: Page, tmp_path: Path) -> None:
    (cost,) = stage.row(
        "select sum(cost) from calls where created_at >= date_trunc('month', now()) - interval '1 month' "
        "and created_at < date_trunc('month', now())"
    )
    visit(page, stage.address)
    walk = Walk(page)

    walk.open_page("Costs")
    walk.take(page.get_by_role("button", name="Write the statement"))
    with page.expect_download() as saved:
        walk.take(page.get_by_role("button", name=re.compile("^Save .*xlsx")))

    file = tmp_path / saved.value.suggested_filename
    saved.value.save_as(file)
    lines = load_workbook(file, data_only=True)["Lines"]
    heads = [cell.value for cell in lines[1]]
    place = next(number for number, head in enumerate(heads) if head == "Certain: cost US$")
    total = next(row[place].value for row in lines.iter_rows() if row[0].value == "Total")
    assert Decimal(str(total)) == pytest.approx(cost, rel=Decimal("1e-12"))
    assert walk.clicks == 3


def test_which_budget_is_over_is_said_by_the_headline_and_shown_for_all(stage: Stage, page: Page) -> None:
    (used,) = stage.row("select 100 * sum(cost) / 0.1 from calls where created_at >= date_trunc('month', now())")
    visit(page, stage.address)
    said = re.search(r"Budget Everything: (\S+) used", page.locator(".tr-headline").inner_text())
    assert said is not None
    assert is_shown(said[1], used)
    walk = Walk(page)

    walk.take(page.locator(".tr-headline").get_by_role("link", name="used"))

    budgets = page.locator(".st-key-list_budget").get_by_test_id("stRadioOption")
    over = budgets.filter(has_text=re.compile(r"[\d,]{3,}\.\d% used"))
    expect(over).to_have_count(1)
    expect(over).to_contain_text("Everything")
    expect(budgets).to_have_count(2)
    assert walk.clicks == 1 <= MOST_CLICKS


def test_the_p99_of_one_model_is_drawn_by_the_minute(stage: Stage, page: Page) -> None:
    by_minute = stage.rows(
        "select to_char(created_at, 'HH24:MI'), percentile_cont(0.99) within group (order by latency_ms), count(*) "
        f"from calls where model = '{SLOW_MODEL}' and created_at >= now() - interval '55 minutes' group by 1"
    )
    assert len(by_minute) == 3
    visit(page, stage.address)
    walk = Walk(page)

    walk.open_page("Performance")
    walk.take(page.get_by_role("radio", name="1h"))
    latency = page.locator(".st-key-panel_performance_latency")
    walk.take(latency.get_by_role("link", name=SLOW_MODEL, exact=True))

    expect(page.get_by_text(re.compile("by minute$"))).to_be_visible()
    for minute, p99, calls in by_minute:
        told = latency.locator(f'[aria-label*=", {minute};"]').get_attribute("aria-label") or ""
        said = re.search(r"p99: ([\d,]+) ms; Calls: (\d+)$", told)
        assert said is not None, told
        assert float(said[1].replace(",", "")) == pytest.approx(p99, rel=0.011)
        assert int(said[2]) == calls
    assert walk.clicks == 3 <= MOST_CLICKS


def test_last_week_stands_beside_the_week_before(stage: Stage, page: Page) -> None:
    now, before = stage.row(
        "select sum(cost) filter (where created_at >= date_trunc('week', now()) - interval '7 days'), "
        "sum(cost) filter (where created_at < date_trunc('week', now()) - interval '7 days') from calls "
        "where created_at >= date_trunc('week', now()) - interval '14 days' and created_at < date_trunc('week', now())"
    )
    visit(page, stage.address)
    walk = Walk(page)

    walk.take(page.get_by_role("radio", name="Calendar"))
    walk.choose(page.get_by_role("combobox", name="Calendar"), "Last week")

    shown = card(page, "Spend, last week")
    expect(shown).to_contain_text("vs week before")
    assert is_shown(shown.get_by_test_id("stMetricValue").inner_text(), now)
    change = shown.get_by_test_id("stMetricDelta").inner_text()
    assert is_shown(change, (now / before - 1) * 100)
    told = page.locator(".tr-headline").inner_text()
    said = re.search(r"Last week cost (\S+) (more|less) than the week before", told)
    assert said is not None, told
    assert is_shown(said[1], abs(now - before))
    assert said[2] == ("more" if now > before else "less")
    assert walk.clicks == 3 <= MOST_CLICKS


def test_a_link_opens_the_same_call_for_a_colleague(stage: Stage, page: Page, browser: Browser) -> None:
    visit(page, f"{stage.address}/calls?order=cost&feature=report")
    press(table(page), FIRST_ROW)
    walk = Walk(page)

    walk.take(page.get_by_role("button", name="Link"))
    code = page.get_by_test_id("stPopoverBody").get_by_test_id("stCode")
    code.hover()
    walk.take(code.get_by_role("button", name="Copy"))
    address = page.evaluate("navigator.clipboard.readText()")
    assert address == code.inner_text().strip()
    colleague = open_page(browser)
    visit(colleague, address)

    expect(colleague.get_by_role("combobox", name="Order")).to_have_value("Most expensive")
    expect(colleague.get_by_text("feature: report")).to_be_visible()
    expect(colleague.locator(".st-key-panel_calls_details").get_by_text(DEAREST_CALL)).to_be_visible()
    assert walk.clicks == 2 <= MOST_CLICKS
    colleague.context.close()


def test_on_a_phone_the_dearest_feature_and_call_are_found_and_nothing_is_covered(stage: Stage, page: Page) -> None:
    (feature,) = stage.row(f"select feature from calls where {WEEK} group by 1 order by sum(cost) desc")
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page, stage.address)
    walk = Walk(page)

    name = first_line(page, "panel_overview_top_features").locator(".name")
    expect(name).to_have_text(feature)
    expect_uncovered(name)
    link = page.get_by_role("link", name="Most expensive calls")
    expect_uncovered(link)
    walk.take(link)
    walk.take(page.locator(".st-key-narrow_calls").get_by_role("link").first)

    found = page.locator(".st-key-panel_calls_details").get_by_text(DEAREST_CALL)
    expect_uncovered(found)
    assert walk.clicks == 2 <= MOST_CLICKS


def expect_uncovered(what: Locator) -> None:
    """Expect that a finger on the middle of an element meets it, and that the page is no wider than the screen."""
    what.scroll_into_view_if_needed()
    settled(what.page)
    is_free, is_narrow = what.evaluate(
        """(element) => {
          const { x, y, width, height } = element.getBoundingClientRect();
          const top = document.elementFromPoint(x + width / 2, y + height / 2);
          const main = document.querySelector("[data-testid=stMain]");
          return [element === top || element.contains(top), main.scrollWidth <= window.innerWidth];
        }"""
    )
    assert is_free, f"{what} is covered"
    assert is_narrow


def test_the_keyboard_alone_opens_the_dearest_call(stage: Stage, page: Page) -> None:
    visit(page, stage.address)

    link = page.get_by_role("link", name="Most expensive calls")
    tab_to(link)
    expect(link).to_have_css("outline-style", "solid")
    press_key(page, "Enter")
    expect(page.get_by_text("of all calls of the period")).to_be_visible()
    live = page.get_by_role("switch", name="Live")
    tab_to(live)
    press_key(page, "Space")  # else the table may be replaced while it has the focus
    expect(live).not_to_be_checked()
    tab_to(page.get_by_test_id("data-grid-canvas").first)
    found = page.locator(".st-key-panel_calls_details").get_by_text(DEAREST_CALL)
    for _ in range(3):  # the table may miss a key while it takes the focus, and nothing on the page says that it has it
        press_key(page, "Control+Home")
        press_key(page, "Shift+Space")
        if found.is_visible():
            break
    expect(found).to_be_visible()


def wait_for_message(receiver: WebhookServer, event: str) -> dict[str, Any]:
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while True:
        for one in receiver.deliveries:
            if one.document["event"] == event:
                return one.document
        assert time.monotonic() < deadline, f"no message says {event}"
        receiver.wait(0.2)


def test_a_budget_is_made_fires_is_told_and_is_acknowledged(stage: Stage, receiver: WebhookServer, page: Page) -> None:
    month = "select sum(cost) from calls where created_at >= date_trunc('month', now())"
    amount = round(stage.row(month)[0]) + 200
    visit(page, stage.address)
    walk = Walk(page)

    walk.open_page("Settings")
    walk.open_tab("Budgets")
    walk.take(page.get_by_role("button", name="New budget"))
    walk.write(field(page, "Name"), "Launch")
    walk.write(field(page, "Amount (US$)"), str(amount))
    editor = page.locator(".st-key-panel_settings_budget")
    walk.choose(editor.get_by_test_id("stMultiSelect").get_by_role("combobox").locator("visible=true").first, "pager")
    walk.take(editor.get_by_role("button", name="Save"))
    expect(page.locator(".st-key-list_budget").get_by_text("Launch")).to_be_visible()

    ingest.configure(home=stage.home, flush_interval_s=0.1)
    ingest.record_usage(
        user_id="user_7", model="gpt-4o", prompt_tokens=100_000_000, completion_tokens=1, feature="launch"
    )
    assert ingest.flush(30)
    ingest.shutdown(30)
    told = wait_for_message(receiver, "firing")
    assert told["alert"]["rule_name"] == "Budget Launch"
    assert Decimal(told["alert"]["value"]) == pytest.approx(stage.row(month)[0] / amount, rel=Decimal("1e-9"))

    walk.open_page("Alerts")
    walk.take(page.get_by_test_id("stCheckbox").filter(has_text="Select Budget Launch").locator("label"))
    walk.write(field(page, "Note"), "the launch")
    walk.take(page.get_by_role("button", name="Acknowledge", exact=True))
    expect(page.get_by_text("Acknowledged by local-ops")).to_be_visible()
    assert walk.clicks == 12
