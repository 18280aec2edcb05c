from __future__ import annotations

import logging
from typing import Any

import pytest

from ingest.alerts import deliver_notifications
from ingest.errors import DatabaseUnavailableError
from ingest.notify import Notification, Outcome


class Outbox:
    """A database that hands out messages and keeps how they ended."""

    def __init__(
        self, count: int, *, failing: int | None = None, target_url: str = "https://example.com/hidden-path"
    ) -> None:
        self.claims: list[dict[str, Any]] = []
        self.finished: dict[int, dict[str, Any]] = {}
        self._count = count
        self._failing = failing
        self._target_url = target_url

    def call(self, function: str, /, **arguments: Any) -> Any:
        if function == "claim_notifications":
            self.claims.append(arguments)
            return [self._message(number) for number in range(1, self._count + 1)]
        assert function == "finish_notification"
        if arguments["notification_id"] == self._failing:
            raise DatabaseUnavailableError("gone")
        self.finished[arguments.pop("notification_id")] = arguments
        return {"state": "sent"}

    def close(self) -> None:
        """Nothing is open."""

    def _message(self, number: int) -> dict[str, Any]:
        return {
            "notification_id": number,
            "idempotency_key": f"key-{number}",
            "attempt": 1,
            "event": "firing",
            "channel_name": "pager",
            "kind": "webhook",
            "target_url": self._target_url,
            "signing_secret": "hidden-secret-of-the-channel",
            "payload": {"schema": "treering.alert/1"},
        }


class Script:
    """A notifier whose outcomes are given."""

    def __init__(self, outcomes: dict[int, Outcome | Exception]) -> None:
        self._outcomes = outcomes

    async def send(self, notification: Notification) -> Outcome:
        outcome = self._outcomes.get(notification.notification_id, Outcome())
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_every_outcome_is_recorded_as_it_was() -> None:
    outbox = Outbox(3)
    script = Script({2: Outcome("answered 500"), 3: Outcome("answered 404", is_final=True)})
    assert deliver_notifications(outbox, "worker-1", notifier=script) == 3
    assert outbox.finished == {
        1: {"worker": "worker-1", "ok": True, "error": None, "is_final": False},
        2: {"worker": "worker-1", "ok": False, "error": "answered 500", "is_final": False},
        3: {"worker": "worker-1", "ok": False, "error": "answered 404", "is_final": True},
    }


def test_an_empty_outbox_needs_no_sender() -> None:
    assert deliver_notifications(Outbox(0), "worker-1") == 0


def test_the_lease_outlasts_the_attempt() -> None:
    outbox = Outbox(0)
    deliver_notifications(outbox, "worker-1", timeout_s=10, max_count=7)
    assert outbox.claims == [{"worker": "worker-1", "max_count": 7, "lease_s": 60}]


def test_a_fault_in_one_message_leaves_the_others_alone() -> None:
    outbox = Outbox(2)
    deliver_notifications(outbox, "worker-1", notifier=Script({1: RuntimeError("hidden")}))
    assert outbox.finished[1]["error"] == "unexpected RuntimeError"
    assert outbox.finished[2]["ok"]


def test_an_outcome_that_cannot_be_recorded_is_raised_after_the_others_were() -> None:
    outbox = Outbox(3, failing=2)
    with pytest.raises(DatabaseUnavailableError):
        deliver_notifications(outbox, "worker-1", notifier=Script({}))
    assert sorted(outbox.finished) == [1, 3]


def test_a_failure_is_logged_without_address_and_secret(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        deliver_notifications(Outbox(1), "worker-1", notifier=Script({1: Outcome("answered 500")}))
    assert "message 1 to channel pager failed at attempt 1: answered 500" in caplog.text
    assert "hidden" not in caplog.text


def test_the_webhook_is_the_sender_by_default() -> None:
    outbox = Outbox(1, target_url="http://127.0.0.1:9/")
    deliver_notifications(outbox, "worker-1")
    assert outbox.finished[1]["error"] == "the name leads to a private, loopback or link-local address"
