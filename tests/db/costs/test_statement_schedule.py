"""Statements that leave by themselves: when, where to, once, and what happens where that fails."""

from __future__ import annotations

import csv
import io
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.alerts.outbox import deliver_notifications
from ingest.costs.schedule import hand_out_due_statements
from ingest.database import fetch
from ingest.database.health import Level, judge_status
from ingest.documents.pipeline import Status
from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.support.clockwork import Clockwork, notifier
from tests.support.events import NOON, store, usage_event
from tests.support.mail_server import MailServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingest.database import Database
    from tests.support.doors import Door

# Five days after May has ended in UTC.
DUE = datetime(2026, 6, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
THRESHOLD = Decimal("0.05")


def hand_out(database: Database, now: datetime = DUE, folder: Path | None = None) -> int:
    return hand_out_due_statements(
        database, "worker-1", now=now, folder=str(folder) if folder else None, threshold=THRESHOLD
    )


def plan(door: Door, **schedule: Any) -> Database:
    """Switch the schedule on as if that had been in June."""
    service = door.service()
    service.call("save_statement_schedule", schedule={"is_enabled": True, "formats": ["csv"], **schedule})
    door.database.execute("update observability_internal.statement_schedule set first_month = '2026-05-01'")
    return service


def claim(database: Database, now: datetime = DUE, *, has_folder: bool = True) -> tuple[str, str] | None:
    found: Any = database.call("claim_statement", worker="w", has_folder=has_folder, as_of=now)
    return None if found is None else (found["month"], found["target"])


def deliveries(database: Database) -> dict[tuple[str, str], dict[str, Any]]:
    found: Any = database.call("get_statement_schedule")
    return {(one["month"], one["target"]): one for one in found["deliveries"]}


def statement_state(database: Database) -> tuple[Level, str]:
    status = fetch(database, Status, "get_status")
    (finding,) = (one for one in judge_status(status) if one.part == "statements")
    return finding.level, finding.message


def test_a_folder_and_a_mailbox_get_the_month_once_and_the_export_is_noted(door: Door, tmp_path: Path) -> None:
    with MailServer() as mail:
        service = plan(door, formats=["csv", "focus"])
        channel = Clockwork(service).channel(mail.url, kind="apprise", name="Finance")["channel_id"]
        service.call("save_statement_schedule", schedule={"channels": [channel]})
        store(
            service,
            usage_event(estimated_cost="1.25"),
            usage_event(estimated_cost="0.5", feature="tutor"),
            usage_event(estimated_cost="7", created_at=NOON + timedelta(days=30)),  # of June
        )

        assert hand_out(service, DUE - MINUTE, tmp_path) == 0
        assert hand_out(service, DUE, tmp_path) == 2
        assert hand_out(service, DUE + 10 * MINUTE, tmp_path) == 0
        deliver_notifications(service, "worker-1", notifier=notifier())

    (sent,) = mail.messages
    names = ["treering-statement-2026-05.csv", "treering-statement-2026-05.focus.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    lines = list(csv.DictReader(io.StringIO((tmp_path / names[0]).read_text())))
    assert {line["feature"]: line["certain_cost_usd"] for line in lines} == {"chat": "1.25", "tutor": "0.5"}
    assert sent["Subject"] == "Statement for May 2026: $1.75 certain"
    attached = {part.get_filename(): part.get_payload(decode=True) for part in sent.iter_attachments()}
    assert list(attached) == names
    assert attached[names[0]] == (tmp_path / names[0]).read_bytes()
    exports: Any = service.call("get_exports")
    assert [(one["via"], one["kind"], one["exported_by"]) for one in exports] == [
        ("schedule", kind, "worker-1") for kind in ("focus", "statement") * 2
    ]
    assert {one["sha256"] for one in exports} >= {
        file["sha256"] for one in deliveries(service).values() for file in one["files"]
    }
    assert statement_state(service) == (Level.OK, "that of May 2026 was handed out")


def test_what_fails_is_named_and_tried_again_later(door: Door, tmp_path: Path) -> None:
    service = plan(door)
    store(service, usage_event())
    (tmp_path / "taken").write_text("a file, not a folder")

    assert hand_out(service, DUE, tmp_path / "taken") == 0
    level, said = statement_state(service)
    assert level is Level.WARNING
    assert said == "May 2026 for the folder: 1 attempt, TREERING_STATEMENT_URL: File exists"
    assert hand_out(service, DUE + 4 * MINUTE, tmp_path / "taken") == 0
    assert deliveries(service)["2026-05-01", "folder"]["attempts"] == 1

    assert hand_out(service, DUE + 5 * MINUTE, tmp_path / "taken") == 0
    assert hand_out(service, DUE + 14 * MINUTE, tmp_path / "good") == 0, "the second wait is twice as long"
    assert hand_out(service, DUE + 15 * MINUTE, tmp_path / "good") == 1
    assert [path.name for path in (tmp_path / "good").iterdir()] == ["treering-statement-2026-05.csv"]
    assert deliveries(service)["2026-05-01", "folder"]["error"] is None


def test_a_worker_that_dies_leaves_its_statement_to_another(direct: Door) -> None:
    service = plan(direct)
    first: Any = service.call("claim_statement", worker="dead", has_folder=True, as_of=DUE)

    assert claim(service, DUE + 29 * MINUTE) is None
    second: Any = service.call("claim_statement", worker="alive", has_folder=True, as_of=DUE + 30 * MINUTE)

    assert (second["month"], second["target"]) == (first["month"], first["target"]) == ("2026-05-01", "folder")
    late = {"claim_id": first["claim_id"], "files": [], "message": None}
    assert service.call("finish_statement", **late) is False
    assert service.call("fail_statement", claim_id=first["claim_id"], error="late") is False
    assert service.call("finish_statement", claim_id=second["claim_id"], files=[]) is True
    assert service.call("finish_statement", claim_id=second["claim_id"], files=[]) is False


def test_of_workers_that_ask_at_once_one_gets_the_statement(direct: Door) -> None:
    plan(direct)
    found: list[tuple[str, str] | None] = []
    workers = [threading.Thread(target=lambda: found.append(claim(direct.service()))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [one for one in found if one] == [("2026-05-01", "folder")]


def test_months_that_were_missed_follow_and_a_new_target_begins_with_the_latest(direct: Door) -> None:
    service = plan(direct, grace_days=0, timezone="Asia/Tokyo")
    june = datetime(2026, 5, 31, 15, tzinfo=UTC)  # begins in Tokyo
    assert [claim(service, june - MINUTE), claim(service, june)] == [None, ("2026-05-01", "folder")]
    channel = int(Clockwork(service).channel("https://hooks.example.com/x", name="hook")["channel_id"])
    off = int(Clockwork(service).channel("https://hooks.example.com/y", name="off", is_enabled=False)["channel_id"])
    service.call("save_statement_schedule", schedule={"channels": [channel, off, 999]})
    now = datetime(2026, 7, 31, 15, tzinfo=UTC)
    found = []
    while (one := claim(service, now)) is not None:
        found.append(one)
    assert found == [
        ("2026-05-01", "folder"),  # claimed in June by a worker that is gone
        ("2026-06-01", "folder"),
        ("2026-07-01", f"channel:{channel}"),
        ("2026-07-01", "folder"),
    ]
    service.call("save_statement_schedule", schedule={"is_enabled": False})
    assert claim(service, now + timedelta(days=40)) is None


def test_switched_on_it_begins_with_the_month_that_ended_last(direct: Door) -> None:
    service = direct.service()
    assert claim(service, datetime.now(UTC)) is None
    saved: Any = service.call("save_statement_schedule", schedule={"is_enabled": True})
    last = datetime.now(UTC).replace(day=1) - timedelta(days=1)
    assert saved["first_month"] == f"{last:%Y-%m}-01"
    service.call("save_statement_schedule", schedule={"to_folder": False})
    assert claim(service, datetime.now(UTC) + timedelta(days=40)) is None, "there is no target"


@pytest.mark.parametrize("role", ["member", "analyst"])
def test_only_ops_see_and_change_the_schedule(
    service_db: Database, viewer: Callable[[str], Database], role: str
) -> None:
    service_db.call("add_member", user_id="olga", role="ops")
    service_db.call("add_member", user_id="eve", role=role)
    saved: Any = viewer("olga").call("save_statement_schedule", schedule={"grace_days": 9})
    assert (saved["grace_days"], saved["updated_by"]) == (9, "olga")
    for function, arguments in (
        ("get_statement_schedule", {}),
        ("save_statement_schedule", {"schedule": {"is_enabled": True}}),
        ("claim_statement", {"worker": "eve", "has_folder": True}),
        ("finish_statement", {"claim_id": "00000000-0000-0000-0000-000000000000", "files": []}),
    ):
        with pytest.raises(PermissionDeniedError):
            viewer("eve").call(function, **arguments)


@pytest.mark.parametrize(
    "wrong",
    [
        {"formats": []}, {"formats": ["docx"]}, {"grace_days": 29}, {"grace_days": -1}, {"timezone": "Mars/Base"},
        {"channels": list(range(51))}, {"dimensions": [str(number) for number in range(11)]}, {"colour": "red"},
    ],
    ids=str,
)  # fmt: skip
def test_a_schedule_that_cannot_be_is_refused(shared_direct: Door, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        shared_direct.service().call("save_statement_schedule", schedule=wrong)
