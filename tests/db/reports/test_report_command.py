"""`treering report` against a database and a mail server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import door_environment, run_cli
from tests.support.clockwork import KEY, Clockwork
from tests.support.events import store, usage_event
from tests.support.mail_server import MailServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.doors import Door


def filled(door: Door, tmp_path: Path) -> dict[str, str]:
    noon = datetime.now(UTC).replace(hour=12, minute=0) - timedelta(days=1)
    events = [usage_event(created_at=noon - timedelta(days=number), estimated_cost="2") for number in range(20)]
    store(door.service(), *events)
    return door_environment(door, tmp_path) | {
        "TREERING_SECRET_KEY": KEY,
        "TREERING_ALLOW_PRIVATE_WEBHOOKS": "true",
        "TREERING_DASHBOARD_URL": "https://chat.example.com/dashboard/observability",
    }


@pytest.mark.dated
def test_a_report_can_be_seen_before_anybody_gets_it(door: Door, tmp_path: Path) -> None:
    env = filled(door, tmp_path)
    page = tmp_path / "report.html"
    result = run_cli("report", "--html", page, env=env)
    assert result.exit_code == 0
    assert result.stdout.startswith("Yesterday cost $2.00, unchanged\n")
    assert "https://chat.example.com/dashboard/observability" in result.stdout
    assert 'src="data:image/png;base64,' in page.read_text(encoding="utf-8")
    assert Clockwork(door.service()).outbox() == []


def test_a_report_is_sent_now_where_somebody_asks(door: Door, tmp_path: Path) -> None:
    env = filled(door, tmp_path)
    service = Clockwork(door.service())
    with MailServer() as server:
        channel = service.channel(server.url, kind="apprise", name="mail")["channel_id"]
        schedule = {"kind": "weekly", "timezone": "UTC", "channels": [channel]}
        service.ask("save_report_schedule", schedule=schedule)
        result = run_cli("report", "weekly", "--send", env=env)
    assert result.exit_code == 0
    assert "messages queued: 1;" in result.stdout
    (mail,) = server.messages
    assert str(mail["Subject"]).startswith("Last week cost ")
    assert "image/png" in [part.get_content_type() for part in mail.walk()]


def test_a_report_without_a_channel_is_not_sent(door: Door, tmp_path: Path) -> None:
    result = run_cli("report", "daily", "--send", env=filled(door, tmp_path))
    assert result.exit_code == 1
    assert "the daily report has no channel: choose one in Settings, Reports" in result.stderr


def test_a_report_of_a_day_without_calls_says_that_it_cost_nothing(door: Door, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = run_cli("report", "--html", page, env=door_environment(door, tmp_path))
    assert result.stdout.startswith("Yesterday cost $0.00")
    assert "<img" not in page.read_text(encoding="utf-8")
