"""What the app reads and writes about prices, against the real functions of both doors."""

from __future__ import annotations

import importlib.metadata
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import streamlit as st

from dashboard.editors.prices import price_document
from dashboard.reads import connection
from dashboard.reads.pages import get_reconciliation
from dashboard.reads.prices import add_price, get_prices, preview_reprice
from dashboard.reads.savings import get_savings_plan
from dashboard.reads.viewer import Viewer
from dashboard.selection.filters import Window
from ingest.errors import PermissionDeniedError
from ingest.notices import Notices
from ingest.prices.reprice import Repricer, RepriceScope
from ingest.settings import load_settings
from tests.support.cli import door_environment, run_cli
from tests.support.events import NOON, store, usage_event
from tests.support.pricing import cost_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingest.database import Database
    from tests.support.doors import Door

TYPED = {
    **dict.fromkeys(("cached_input", "cache_write", "reasoning", "audio_input", "audio_output"), ""),
    "provider": "openai",
    "model": "gpt-4o",
    "input": "2.00",
    "output": "8.00",
    "request_fee": "",
    "per_hour": "",
    "source": "contract",
}


def test_the_app_adds_reads_and_previews_prices_with_the_viewers_rights(
    service_db: Database, viewer: Callable[[str], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("ops", "analyst"):
        service_db.call("add_member", user_id=f"user_{role}", role=role)
    store(service_db, usage_event(model="gpt-4o", created_at=NOON))
    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.setattr(connection, "open_viewer_database", lambda _, *, user_id, **__: viewer(user_id))
    ops, analyst = Viewer("user_ops", "Ops"), Viewer("user_analyst", "Analyst")
    price = price_document(TYPED, "default", date(2026, 1, 1), None)

    add_price(ops, price)
    with pytest.raises(PermissionDeniedError):
        add_price(analyst, price)

    prices = get_prices(analyst)
    assert [entry["created_by"] for entry in prices.own] == ["user_ops"]
    assert prices.catalogue is None
    at = datetime(2026, 5, 4, tzinfo=UTC)
    assert cost_of(prices.book, "gpt-4o", 1_000_000, 0, at=at).total == Decimal("2.00")
    end = datetime(2027, 1, 1, tzinfo=UTC)
    scope = RepriceScope(datetime(2026, 1, 1, tzinfo=UTC), end, ("gpt-4o",), ("openai",))
    found = preview_reprice(ops, prices.book, scope)
    assert found.rows == 1
    with pytest.raises(PermissionDeniedError):
        preview_reprice(analyst, prices.book, RepriceScope(at, end))
    bill = get_reconciliation(analyst, Window(at, datetime(2026, 5, 6, tzinfo=UTC), (("provider", ("openai",)),)))
    assert bill.totals.days == 0
    assert get_savings_plan(analyst, (("model", ("gpt-4o",)),)).suggestions == ()


DOUBLED = {"gpt-4o": (5, 20), "gpt-4o-mini": (0.3, 1.2)}
"""US dollars per million tokens in the fetched catalogue; this release has 2.50 and 10, 0.15 and 0.60."""


def fetch_doubled_prices(service: Database) -> None:
    """Keep a catalogue in which every price is twice that of this release."""
    models = [
        {"id": name, "match": {"equals": name}, "prices": {"input_mtok": price_in, "output_mtok": price_out}}
        for name, (price_in, price_out) in DOUBLED.items()
    ]
    content = json.dumps([{"id": "openai", "name": "OpenAI", "api_pattern": "openai", "models": models}])
    service.call(
        "save_price_catalogue", source_url="here", reader_version=importlib.metadata.version("genai-prices"),
        content=content,
    )  # fmt: skip


def test_preview_and_command_agree_on_a_fetched_catalogue_in_which_every_price_doubled(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = door.service()
    service.call("add_member", user_id="user_ops", role="ops")
    # At this release's prices: 150 x 2.50 + 50 x 10.00, and 150 x 0.15 + 50 x 0.60, per million.
    listed = {"gpt-4o": Decimal("0.000875"), "gpt-4o-mini": Decimal("0.0000525")}
    store(service, *(usage_event(model=name, estimated_cost=str(cost)) for name, cost in listed.items()))
    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.setattr(connection, "open_viewer_database", lambda _, *, user_id, **__: door.viewer(user_id))
    ops = Viewer("user_ops", "Ops")
    scope = RepriceScope(datetime(2026, 5, 4, tzinfo=UTC), datetime(2026, 5, 5, tzinfo=UTC))
    unchanged = preview_reprice(ops, get_prices(ops).book, scope)
    assert unchanged.whole.old_cost == sum(listed.values())
    assert unchanged.whole.difference == 0

    fetch_doubled_prices(service)
    shown = preview_reprice(ops, get_prices(ops).book, scope)
    environment = door_environment(door, tmp_path)
    told = run_cli("reprice", "--from", "2026-05-04", "--to", "2026-05-05", "--dry-run", env=environment)
    applied = Repricer(service, load_settings(), Notices()).apply(scope, requested_by="ada")

    assert {model: one.new_cost for (_, model), one in shown.by_model.items()} == {
        "gpt-4o": Decimal("0.00175"),
        "gpt-4o-mini": Decimal("0.000105"),
    }
    assert shown.whole.changed == 2
    assert shown.by_model == applied.by_model
    lines = [line.split() for line in told.stdout.splitlines()]
    assert ["openai/gpt-4o", "1", "1", "0.000875", "0.00175", "+0.000875"] in lines
    assert ["openai/gpt-4o-mini", "1", "1", "0.0000525", "0.000105", "+0.0000525"] in lines
    assert preview_reprice(ops, get_prices(ops).book, scope).whole.changed == 0


def test_a_calls_price_is_explained_by_the_fetched_catalogue(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    service = door.service()
    service.call("add_member", user_id="user_ana", role="analyst")
    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.setattr(connection, "open_viewer_database", lambda _, *, user_id, **__: door.viewer(user_id))
    fetch_doubled_prices(service)

    prices = get_prices(Viewer("user_ana", "Ana"))

    assert prices.catalogue is not None
    assert cost_of(prices.book, "gpt-4o", 150, 50, at=NOON).total == Decimal("0.00175")
