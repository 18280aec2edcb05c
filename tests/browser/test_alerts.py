"""The whole way of an alert in a real browser: a rule is made, it fires, its message arrives, somebody acknowledges."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

import ingest
from tests.support.browser import TIMEOUT_MS, choose, field, fill, open_tab, press, visit
from tests.support.webhook_server import WebhookServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page


@pytest.fixture
def receiver(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookServer]:
    assert home  # the fixture clears the environment first
    monkeypatch.setenv("TREERING_ALLOW_PRIVATE_WEBHOOKS", "true")
    with WebhookServer() as server:
        yield server


@pytest.fixture
def product(home: Path, receiver: WebhookServer, address: str) -> Iterator[str]:
    """A product that records into the database of `treering up`, with its receiver; the dashboard's address."""
    assert receiver
    ingest.configure(home=home, flush_interval_s=0.1)
    yield address
    ingest.shutdown(30)


def wait_for_delivery(receiver: WebhookServer, event: str) -> None:
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not any(one.document["event"] == event for one in receiver.deliveries):
        assert time.monotonic() < deadline, f"no message says {event}"
        receiver.wait(0.2)


@pytest.mark.browser
@pytest.mark.timeout(600)
def test_a_rule_is_made_fires_is_told_and_is_acknowledged(product: str, receiver: WebhookServer, page: Page) -> None:
    visit(page, f"{product}/settings")
    open_tab(page, "Channels")
    fill(field(page, "Name"), "pager")
    fill(field(page, "Address"), receiver.url)
    press(page.get_by_role("button", name="Save").locator("visible=true"))
    expect(page.get_by_text("Signing secret of the channel")).to_be_visible()
    press(page.get_by_role("button", name="Test", exact=True))
    wait_for_delivery(receiver, "test")

    open_tab(page, "Alert rules")
    fill(field(page, "Name"), "Dear day")
    fill(field(page, "Threshold (US$)"), "0.5")
    channels = page.get_by_test_id("stMultiSelect").get_by_role("combobox").locator("visible=true").first
    choose(channels, "pager")
    press(page.get_by_role("button", name="Save").locator("visible=true"))
    expect(page.get_by_text("Spend over $0.50 in 1 hour")).to_be_visible()

    ingest.record_usage(user_id="user_1", model="gpt-4o", prompt_tokens=400_000, completion_tokens=1, feature="chat")
    assert ingest.flush(30)
    wait_for_delivery(receiver, "firing")
    told = next(one.document for one in receiver.deliveries if one.document["event"] == "firing")
    assert (told["alert"]["rule_name"], told["alert"]["value"]) == ("Dear day", "1.00001")
    assert told["link"].startswith(f"{product}/costs?")

    visit(page, f"{product}/alerts")
    expect(page.get_by_text("1 alert is firing")).to_be_visible()
    fill(field(page, "Note"), "a batch that is known")
    press(page.get_by_role("button", name="Acknowledge", exact=True))
    expect(page.get_by_text("Acknowledged by local-ops")).to_be_visible()
    expect(page.get_by_text("a batch that is known").first).to_be_visible()
