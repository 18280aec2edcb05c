"""The worker's job that writes reports: reads the figures, draws the trend, puts the report into the outbox once."""

from __future__ import annotations

import base64
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ingest.alerts.notification import IMAGE_NAME
from ingest.database import fetch
from ingest.reports.chart import TREND_DAYS, draw_trend
from ingest.reports.figures import Figures, Period, SavingsFound, read_figures
from ingest.reports.text import write_report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import JsonValue

    from ingest.database import Database

logger = logging.getLogger("treering.reports")


def publish_due_reports(
    database: Database,
    worker: str,
    *,
    now: datetime | None = None,
    savings: Callable[[Period], SavingsFound] | None = None,
    dashboard_url: str | None = None,
) -> int:
    """Write each report whose hour has come into the outbox, once.

    Args:
        database: Opened as service_role.
        worker: Name of this worker.
        now: The time; None is now.
        savings: Finds what could be saved and what was; a report goes out without it where that fails.
        dashboard_url: Address of the dashboard, for the link.

    Returns:
        How many messages were put into the outbox.
    """
    moment = now or datetime.now(UTC)
    messages = 0
    for due in fetch(database, list[Period], "get_due_reports", as_of=moment.isoformat()):
        messages += fetch(
            database,
            int,
            "publish_report",
            kind=due.kind,
            period_start=due.period_start.isoformat(),
            period_end=due.period_end.isoformat(),
            message=make_message(
                read_figures(database, due, now=moment, savings=_attempt(savings, due)), dashboard_url=dashboard_url
            ),
            worker=worker,
        )
    return messages


def make_message(figures: Figures, *, dashboard_url: str | None = None) -> dict[str, JsonValue]:
    """Write a report as the outbox takes it: title, text, html and the picture in base64 (None without any spend)."""
    known = [day for day in figures.spend if day < figures.period_end]
    image = None
    if known:
        first = max(min(known), figures.period_end - timedelta(days=TREND_DAYS))
        image = draw_trend(figures.spend, first=first, period_start=figures.period_start, period_end=figures.period_end)
    report = write_report(figures, link=dashboard_url, has_image=image is not None)
    return {
        "title": report.title,
        "text": report.text,
        "html": report.html,
        "image": None if image is None else base64.b64encode(image).decode(),
    }


def preview_page(message: Mapping[str, JsonValue]) -> str:
    """The HTML of a message as a page that needs no mail to show its picture."""
    page = str(message["html"])
    if message["image"]:
        page = page.replace(f"cid:{IMAGE_NAME}", f"data:image/png;base64,{message['image']}")
    return page


def _attempt(savings: Callable[[Period], SavingsFound] | None, due: Period) -> SavingsFound:
    try:
        return SavingsFound() if savings is None else savings(due)
    except Exception as error:  # noqa: BLE001 -- a report without suggestions is better than none
        logger.warning("no suggestions in the report: %s", error)
        return SavingsFound()
