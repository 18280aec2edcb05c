"""Fixtures of the app's tests: the app on a database that answers from memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.reads import connection
from dashboard.reads import viewer as identity
from tests.app.fake_database import FakeDatabase

if TYPE_CHECKING:
    from collections.abc import Callable

APP = Path(dashboard.__file__).parent / "app.py"
TIMEOUT_S = 90


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDatabase:
    """The database behind the app; set its fields before the app runs."""
    database = FakeDatabase()
    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.setattr(connection, "open_viewer_database", lambda *_, **__: database)
    monkeypatch.setenv(identity.LOCAL_VIEWER_VARIABLE, "local-ops")
    return database


@pytest.fixture
def open_app(fake: FakeDatabase) -> Callable[..., AppTest]:
    """Open a page of the app, `open_app("costs", period="day")`, and run it once."""
    del fake

    def open_page(page: str = "overview", *, timezone: str = "Europe/Berlin", **query: str | list[str]) -> AppTest:
        app = AppTest.from_file(str(APP), default_timeout=TIMEOUT_S)
        app.context["timezone"] = timezone
        for key, value in query.items():
            app.query_params[key.rstrip("_")] = value
        app.run()
        if page != "overview":
            app.switch_page(f"app_pages/{page}.py").run()
        return app

    return open_page
