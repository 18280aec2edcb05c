"""Every read and write of the app. Each runs as the viewer, so that the database's own rules decide what comes back.

Cached answers are shared by all sessions of the server: the viewer is the first argument of every cached read.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import streamlit as st
from pydantic import ValidationError

from dashboard.reads.viewer import Viewer
from dashboard.repricing import PAGE_ROWS, Preview, preview
from dashboard.suggestions import Suggestion, cost_optimization_suggestions
from ingest.alerts.sealing import SecretBox
from ingest.database import Database, JsonValue, open_viewer_database
from ingest.documents import alerts as alert_documents
from ingest.documents import pages as documents
from ingest.documents.calls import Calls
from ingest.errors import DatabaseError, DatabaseUnavailableError
from ingest.settings import load_settings
from pricing import PriceBook, parse_customer_prices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from pydantic import BaseModel

    from dashboard.selection.filters import Window
    from ingest.alerts.channels import ChannelTarget

__all__ = [
    "acknowledge_alert",
    "add_member",
    "add_price",
    "backtest_rule",
    "delete_alert_rule",
    "delete_budget",
    "delete_notification_channel",
    "end_silence",
    "get_alerts",
    "get_calls",
    "get_configuration",
    "get_costs",
    "get_overview",
    "get_performance",
    "get_prices",
    "get_reconciliation",
    "get_report_schedules",
    "get_savings",
    "get_spend_by_day",
    "get_usage",
    "preview_reprice",
    "remove_member",
    "reporting_zone",
    "resend_notification",
    "save_alert_rule",
    "save_budget",
    "save_notification_channel",
    "save_report_schedule",
    "send_test_notification",
    "silence_alerts",
]

# Long enough to serve the reruns of one click from memory, short enough for "live".
READ_TTL: Final = timedelta(seconds=5)
# Savings are of a month: they need no newer answer, and the evidence is the dearest read of the app.
SAVINGS_TTL: Final = timedelta(minutes=10)
# A minted token lives an hour; a connection is renewed well before.
CONNECTION_TTL: Final = timedelta(minutes=30)

D = TypeVar("D", bound="BaseModel")


def get_overview(viewer: Viewer, window: Window) -> documents.Overview:
    """Read the document of the Overview page."""
    return _parse(documents.Overview, _read(viewer, "get_overview", window))


def get_usage(viewer: Viewer, window: Window) -> documents.Usage:
    """Read the document of the Usage page."""
    return _parse(documents.Usage, _read(viewer, "get_usage", window))


def get_costs(viewer: Viewer, window: Window) -> documents.Costs:
    """Read the document of the Costs page."""
    return _parse(documents.Costs, _read(viewer, "get_costs", window))


def get_reconciliation(viewer: Viewer, window: Window) -> documents.Reconciliation:
    """Read a provider's bill beside what was recorded. Analysts and ops."""
    return _parse(documents.Reconciliation, _read(viewer, "get_reconciliation", window))


def get_savings(viewer: Viewer, filters: tuple[tuple[str, tuple[str, ...]], ...]) -> Sequence[Suggestion]:
    """Return what would have saved money in the last 30 days. Analysts and ops.

    Args:
        viewer: Who is looking.
        filters: Pairs of a dimension and the values that it is restricted to.
    """
    return _read_savings(viewer, filters)


def get_spend_by_day(viewer: Viewer, window: Window) -> tuple[documents.Point, ...]:
    """Read what each day cost; a member's own calls alone. Not cached: the forecast made of it is.

    Args:
        viewer: Who is looking.
        window: The days; its filters give the bucket `day` and the time zone.
    """
    return _parse(documents.Series, _ask(viewer, "get_series", window)).series


def get_report_schedules(viewer: Viewer) -> tuple[alert_documents.ReportSchedule, ...]:
    """Read when and where the reports leave. Ops only, never cached."""
    document = _call(viewer, "get_report_schedules", {})
    return _parse(alert_documents.ReportSchedules, {"schedules": document}).schedules


def save_report_schedule(viewer: Viewer, schedule: Mapping[str, JsonValue]) -> None:
    """Change when and where a report leaves. Ops only."""
    _call(viewer, "save_report_schedule", {"schedule": dict(schedule)})


def get_prices(viewer: Viewer) -> tuple[PriceBook, list[Mapping[str, JsonValue]], bool]:
    """Return the price book, the customer's rows as stored, and whether the worker has fetched a catalogue.

    The book has this release's catalogue: the fetched one is the service's alone. Analysts and ops. Never cached.
    """
    settings = load_settings()
    document = _call(viewer, "get_prices", {})
    prices = document.get("prices") if isinstance(document, dict) else None
    own: list[Mapping[str, JsonValue]] = (
        [price for price in prices if isinstance(price, dict)] if isinstance(prices, list) else []
    )
    rows, _ = parse_customer_prices(own)
    book = PriceBook(rows, deployments=settings.deployments, region=settings.region)
    return book, own, isinstance(document, dict) and document.get("catalogue") is not None


def add_price(viewer: Viewer, price: Mapping[str, JsonValue]) -> None:
    """Append a price. Ops only."""
    _call(viewer, "add_price", {"price": dict(price)})


def preview_reprice(
    viewer: Viewer, book: PriceBook, from_time: datetime, to_time: datetime, model: str, provider: str
) -> Preview:
    """Tell what pricing calls again would change, of a bounded number of calls. Ops only.

    Args:
        viewer: Who is looking.
        book: Prices, with the customer's own.
        from_time: Beginning, included.
        to_time: End, excluded.
        model: Only this one, as recorded; empty for all.
        provider: Only this one, as recorded; empty for all.
    """
    filters: dict[str, JsonValue] = {
        name: [value] for name, value in (("model", model), ("provider", provider)) if value
    }

    def read_page(place: Mapping[str, JsonValue] | None) -> Mapping[str, JsonValue]:
        after = place or {}
        arguments: dict[str, JsonValue] = {
            "from_time": from_time.isoformat(),
            "to_time": to_time.isoformat(),
            "filters": filters,
            "after_created_at": after.get("created_at"),
            "after_event_id": after.get("event_id"),
            "max_rows": PAGE_ROWS,
        }
        page = _call(viewer, "get_rows_to_reprice", arguments)
        return page if isinstance(page, dict) else {}

    return preview(read_page, book, load_settings().fallback_model)


def get_performance(viewer: Viewer, window: Window) -> documents.Performance:
    """Read the document of the Performance page."""
    return _parse(documents.Performance, _read(viewer, "get_performance", window))


def get_calls(viewer: Viewer, window: Window) -> Calls:
    """Read one page of single calls, see `Window.with_page`."""
    return _parse(Calls, _read(viewer, "get_events", window))


def get_alerts(viewer: Viewer, window: Window) -> alert_documents.Alerts:
    """Read the document of the Alerts page."""
    return _parse(alert_documents.Alerts, _read(viewer, "get_alerts", window))


def get_configuration(viewer: Viewer) -> alert_documents.Configuration:
    """Read members, rules and channels; everybody but ops gets their own access alone. Never cached."""
    return _parse(alert_documents.Configuration, _call(viewer, "get_settings", {}))


def save_alert_rule(viewer: Viewer, rule: Mapping[str, JsonValue]) -> None:
    """Store a new rule, or a changed one when it carries its `rule_id`."""
    _call(viewer, "save_alert_rule", {"rule": dict(rule)})


def delete_alert_rule(viewer: Viewer, rule_id: int) -> None:
    """Remove a rule."""
    _call(viewer, "delete_alert_rule", {"rule_id": rule_id})


def backtest_rule(viewer: Viewer, rule: Mapping[str, JsonValue], days: int = 30) -> alert_documents.Backtest:
    """Ask when a drafted rule would have fired; nothing is saved."""
    return _parse(alert_documents.Backtest, _call(viewer, "backtest_rule", {"rule": dict(rule), "days": days}))


def save_budget(viewer: Viewer, budget: Mapping[str, JsonValue]) -> None:
    """Store a new budget with its rules, or a changed one when it carries its `budget_id`."""
    _call(viewer, "save_budget", {"budget": dict(budget)})


def delete_budget(viewer: Viewer, budget_id: int) -> None:
    """Remove a budget with its rules."""
    _call(viewer, "delete_budget", {"budget_id": budget_id})


def acknowledge_alert(viewer: Viewer, alert_id: int, note: str) -> None:
    """Acknowledge an alert as the viewer."""
    _change_alerts(viewer, "acknowledge_alert", {"alert_id": alert_id, "note": note})


def silence_alerts(viewer: Viewer, rule_id: int, group_key: str | None, ends_at: datetime, note: str) -> None:
    """Keep a rule, or one group of it, from sending until a moment."""
    silence: dict[str, JsonValue] = {"rule_id": rule_id, "group_key": group_key, "note": note}
    _change_alerts(viewer, "silence_alerts", {**silence, "ends_at": ends_at.isoformat()})


def end_silence(viewer: Viewer, silence_id: int) -> None:
    """End a silence now."""
    _change_alerts(viewer, "end_silence", {"silence_id": silence_id})


def resend_notification(viewer: Viewer, notification_id: int) -> None:
    """Put a dead message back into the outbox."""
    _change_alerts(viewer, "resend_notification", {"notification_id": notification_id})


def send_test_notification(viewer: Viewer, channel_id: int) -> None:
    """Write a message marked as a test for a channel."""
    _change_alerts(viewer, "send_test_notification", {"channel_id": channel_id})


def save_notification_channel(
    viewer: Viewer, channel: Mapping[str, JsonValue], target: ChannelTarget | None = None
) -> None:
    """Store a new channel, or a changed one when it carries its `channel_id`.

    The address leaves this process sealed with `TREERING_SECRET_KEY`; without that key the database takes it only where
    Supabase Vault keeps it.

    Args:
        viewer: Who changes it.
        channel: What is not secret.
        target: The address with its secret; None keeps the one that is stored.

    Raises:
        ConfigurationError: `TREERING_SECRET_KEY` is not a valid key.
    """
    secrets: dict[str, JsonValue] = {}
    if target is not None:
        key = load_settings().secret_key
        secrets = target.seal(SecretBox(key)) if key else target.reveal()
    _call(viewer, "save_notification_channel", {"channel": {**channel, **secrets}})


def delete_notification_channel(viewer: Viewer, channel_id: int) -> None:
    """Remove a channel."""
    _call(viewer, "delete_notification_channel", {"channel_id": channel_id})


def add_member(viewer: Viewer, user_id: str, role: str) -> None:
    """Give a person a role, or another one."""
    _call(viewer, "add_member", {"user_id": user_id, "role": role})


def remove_member(viewer: Viewer, user_id: str) -> None:
    """Take a person's role away."""
    _call(viewer, "remove_member", {"user_id": user_id})


def reporting_zone() -> str:
    """Return the IANA name of the reporting zone, `TREERING_TIMEZONE`."""
    return load_settings().timezone


def _close(database: Database) -> None:
    database.close()


@st.cache_resource(ttl=CONNECTION_TTL, max_entries=64, on_release=_close, show_spinner=False)
def _connect(user_id: str, access_token: str | None) -> Database:
    return open_viewer_database(load_settings(), user_id=user_id, access_token=access_token)


def _call(viewer: Viewer, function: str, arguments: dict[str, JsonValue]) -> JsonValue:
    with _connected(viewer) as database:
        return database.call(function, **arguments)


@contextmanager
def _connected(viewer: Viewer) -> Iterator[Database]:
    database = _connect(viewer.user_id, viewer.access_token)
    try:
        yield database
    except DatabaseUnavailableError:
        # The database may come back at another address: the next call looks again.
        _connect.clear(viewer.user_id, viewer.access_token)
        raise


@st.cache_data(ttl=READ_TTL, max_entries=400, show_spinner=False, hash_funcs={Viewer: lambda viewer: viewer.user_id})
def _read(viewer: Viewer, function: str, window: Window) -> JsonValue:
    return _ask(viewer, function, window)


def _ask(viewer: Viewer, function: str, window: Window) -> JsonValue:
    arguments: dict[str, JsonValue] = {
        "from_time": window.from_time.isoformat(),
        "to_time": window.to_time.isoformat(),
        "filters": window.document(),
    }
    return _call(viewer, function, arguments)


def _change_alerts(viewer: Viewer, function: str, arguments: dict[str, JsonValue]) -> None:
    _call(viewer, function, arguments)
    _read.clear()  # the page that follows shows the change


@st.cache_data(ttl=SAVINGS_TTL, max_entries=100, show_spinner=False, hash_funcs={Viewer: lambda viewer: viewer.user_id})
def _read_savings(viewer: Viewer, filters: tuple[tuple[str, tuple[str, ...]], ...]) -> list[Suggestion]:
    book, _, _ = get_prices(viewer)
    with _connected(viewer) as database:
        try:
            return cost_optimization_suggestions(
                database, filters={name: list(values) for name, values in filters}, book=book
            )
        except ValidationError as error:
            raise _unknown_form(error) from error


def _parse(model: type[D], document: JsonValue) -> D:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _unknown_form(error) from error


def _unknown_form(error: ValidationError) -> DatabaseError:
    fields = ", ".join(".".join(map(str, detail["loc"])) for detail in error.errors(include_input=False)[:3])
    return DatabaseError(
        f"unexpected response from the database ({fields}); app and migrations may be of different versions"
    )
