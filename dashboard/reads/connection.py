"""The viewer's connection. Every read and write runs as the viewer, so that the database's own rules decide.

Cached answers are shared by all sessions of the server: the viewer is the first argument of every cached read.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import streamlit as st

from dashboard.reads.viewer import Viewer, viewer_key
from ingest.database import Argument, Database, JsonValue, fetch, open_viewer_database, parse
from ingest.errors import DatabaseUnavailableError
from ingest.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboard.selection.filters import Window

__all__ = ["change", "connected", "fetch_as", "fetch_window", "forget_windows", "read_window"]

# Long enough to serve the reruns of one click from memory, short enough for "live".
READ_TTL: Final = timedelta(seconds=5)
# A minted token lives an hour; a connection is renewed well before.
CONNECTION_TTL: Final = timedelta(minutes=30)

D = TypeVar("D")


@contextmanager
def connected(viewer: Viewer) -> Iterator[Database]:
    """Lend the viewer's connection; one that is lost is opened anew by the next call."""
    database = _connect(viewer.user_id, viewer.tenant_id, viewer.access_token)
    try:
        yield database
    except DatabaseUnavailableError:
        # The database may come back at another address: the next call looks again.
        _connect.clear(viewer.user_id, viewer.tenant_id, viewer.access_token)
        raise


def fetch_as(viewer: Viewer, form: type[D], function: str, /, **arguments: Argument) -> D:
    """Read a document as the viewer, see `ingest.database.fetch`. Never cached."""
    with connected(viewer) as database:
        return fetch(database, form, function, **arguments)


def change(viewer: Viewer, function: str, /, **arguments: Argument) -> None:
    """Call a function that writes, as the viewer."""
    with connected(viewer) as database:
        database.call(function, **arguments)


def read_window(viewer: Viewer, form: type[D], function: str, window: Window) -> D:
    """Read the document of a page for a window; the same question within `READ_TTL` is answered from memory."""
    return parse(form, _ask(viewer, function, window), function)


def fetch_window(viewer: Viewer, form: type[D], function: str, window: Window) -> D:
    """Read the same, never from memory."""
    return fetch_as(viewer, form, function, **_window_arguments(window))


def forget_windows() -> None:
    """Forget the answers kept in memory, so that the page that follows shows a change."""
    _ask.clear()


def _close(database: Database) -> None:
    database.close()


@st.cache_resource(ttl=CONNECTION_TTL, max_entries=64, on_release=_close, show_spinner=False)
def _connect(user_id: str, tenant_id: str | None, access_token: str | None) -> Database:
    return open_viewer_database(load_settings(), user_id=user_id, tenant_id=tenant_id, access_token=access_token)


@st.cache_data(ttl=READ_TTL, max_entries=400, show_spinner=False, hash_funcs={Viewer: viewer_key})
def _ask(viewer: Viewer, function: str, window: Window) -> JsonValue:
    with connected(viewer) as database:
        return database.call(function, **_window_arguments(window))


def _window_arguments(window: Window) -> dict[str, Argument]:
    return {
        "from_time": window.from_time.isoformat(),
        "to_time": window.to_time.isoformat(),
        "filters": window.document(),
    }
