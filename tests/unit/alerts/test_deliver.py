from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from pydantic import SecretStr

from ingest.alerts.addresses import PRIVATE_ADDRESS
from ingest.alerts.notification import ClaimedNotification, Outcome
from ingest.alerts.notifier import ChannelNotifier
from ingest.alerts.outbox import Deliverer, deliver_notifications
from ingest.alerts.sealing import SecretBox, make_key
from ingest.errors import DatabaseUnavailableError

TEST = {"schema": "treering.alert/1", "event": "test"}


class Outbox:
    """A database that hands out messages and keeps how they ended."""

    def __init__(
        self,
        count: int,
        *,
        failing: int | None = None,
        target_url: str | None = "https://example.com/hidden-path",
        **fields: Any,
    ) -> None:
        self.claims: list[dict[str, Any]] = []
        self.finished: dict[int, dict[str, Any]] = {}
        self._count = count
        self._failing = failing
        self._fields = {"target_url": None if "sealed" in fields else target_url, **fields}

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
            "signing_secret": "hidden-secret-of-the-channel",
            "payload": {"schema": "treering.alert/1"},
            **self._fields,
        }


class Script:
    """A notifier whose outcomes are given."""

    def __init__(self, outcomes: dict[int, Outcome | Exception]) -> None:
        self._outcomes = outcomes

    async def send(self, notification: ClaimedNotification) -> Outcome:
        outcome = self._outcomes.get(notification.notification_id, Outcome())
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_every_outcome_is_recorded_as_it_was() -> None:
    outbox = Outbox(4)
    outcomes: dict[int, Outcome | Exception] = {
        2: Outcome("answered 429", retry_after_s=30, taken=("a",)),
        3: Outcome("answered 400", is_final=True),
        4: Outcome("answered 404", is_refused=True),
    }
    assert deliver_notifications(outbox, "worker-1", notifier=Script(outcomes)) == 4
    ended = {"worker": "worker-1", "is_final": False, "is_refused": False, "retry_after_s": None, "taken": []}
    assert outbox.finished == {
        1: {**ended, "ok": True, "error": None},
        2: {**ended, "ok": False, "error": "answered 429", "retry_after_s": 30, "taken": ["a"]},
        3: {**ended, "ok": False, "error": "answered 400", "is_final": True},
        4: {**ended, "ok": False, "error": "answered 404", "is_refused": True},
    }


def test_an_empty_outbox_needs_no_sender() -> None:
    assert deliver_notifications(Outbox(0), "worker-1", notifier=Script({})) == 0


def test_the_lease_outlasts_the_attempt() -> None:
    outbox = Outbox(0)
    deliver_notifications(outbox, "worker-1", notifier=Script({}), timeout_s=10, max_count=7)
    assert outbox.claims == [
        {
            "worker": "worker-1", "max_count": 7, "lease_s": 25, "notification_ids": None, "max_per_channel": 5,
            "under_way": {},
        }
    ]  # fmt: skip


def test_a_receiver_that_stalls_leaves_places_for_the_others() -> None:
    stalled, others = threading.Event(), threading.Event()

    class Stalling:
        async def send(self, notification: ClaimedNotification) -> Outcome:
            assert notification.channel_id == 8
            stalled.set()
            await asyncio.to_thread(others.wait, 60)
            return Outcome()

    outbox = Outbox(3, channel_id=8)
    deliverer = Deliverer(outbox, "worker-1", notifier=Stalling(), max_count=10)
    assert deliverer.deliver() == 3
    assert stalled.wait(60)
    assert deliverer.deliver() == 3  # without waiting for the first ones
    others.set()
    deliverer.close()
    assert [(claim["max_count"], claim["under_way"]) for claim in outbox.claims] == [(10, {}), (7, {"8": 3})]


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


def test_a_webhook_to_a_private_address_is_refused_by_default() -> None:
    outbox = Outbox(1, target_url="http://127.0.0.1:9/", payload=TEST)
    deliver_notifications(outbox, "worker-1", notifier=ChannelNotifier())
    assert outbox.finished[1]["error"] == PRIVATE_ADDRESS


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (None, "TREERING_SECRET_KEY is not set for the worker, so the address cannot be decrypted"),
        (SecretBox(SecretStr(make_key())), "TREERING_SECRET_KEY is not the key that the address was sealed with"),
    ],
)
def test_an_address_that_cannot_be_opened_is_tried_again_and_says_which_setting_is_missing(
    box: SecretBox | None, reason: str
) -> None:
    sealed = SecretBox(SecretStr(make_key())).seal({"target_url": "https://x.example", "signing_secret": "s" * 16})
    outbox = Outbox(1, sealed=sealed, payload=TEST)
    deliver_notifications(outbox, "worker-1", notifier=ChannelNotifier(box=box))
    assert (outbox.finished[1]["error"], outbox.finished[1]["is_final"]) == (reason, False)


def test_without_apprise_the_worker_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.alerts.notifier.find_spec", lambda _: None)
    outbox = Outbox(1, kind="apprise", target_url="slack://a/b/c", payload=TEST)
    deliver_notifications(outbox, "worker-1", notifier=ChannelNotifier())
    assert "pip install 'treering[worker]'" in outbox.finished[1]["error"]
