"""`treering alerts test` and `treering secret-key`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import SecretStr

from ingest.alerts.sealing import SecretBox
from tests.support.cli import door_environment, run_cli
from tests.support.clockwork import KEY, Clockwork, call
from tests.support.webhook_server import WebhookServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.doors import Door


def environment(door: Door, home: Path) -> dict[str, str]:
    return door_environment(door, home) | {"TREERING_SECRET_KEY": KEY, "TREERING_ALLOW_PRIVATE_WEBHOOKS": "true"}


def test_a_marked_test_goes_to_every_channel_of_the_rule(door: Door, tmp_path: Path) -> None:
    service = Clockwork(door.service())
    with WebhookServer(200, 400) as receiver:
        service.channel(receiver.url)
        rule = service.rule("spend", "5", channels=[1])
        said = run_cli("alerts", "test", rule["name"], env=environment(door, tmp_path))
        assert (said.exit_code, said.stdout) == (0, "pager: sent\n")
        assert receiver.deliveries[0].document["title"] == "[TEST] Treering: spend above 5"
        said = run_cli("alerts", "test", str(rule["rule_id"]), "--json", env=environment(door, tmp_path))
        (outcome,) = json.loads(said.stdout)
        assert (said.exit_code, outcome["state"], outcome["last_error"]) == (1, "dead", "answered 400")
        service.record(call(0))
        service.rule("spend", "0", channels=[1])
        service.evaluate(10)  # a real message waits, which is none of the command's business
        said = run_cli("alerts", "test", "1", env=environment(door, tmp_path))
        assert said.stdout == "pager: sent\n"
        assert len(receiver.deliveries) == 3
    assert service.outbox() == [("firing", "pending")]


def test_a_rule_that_is_unknown_or_has_no_channel_is_named(direct: Door, tmp_path: Path) -> None:
    Clockwork(direct.service()).rule("spend", "5")
    said = run_cli("alerts", "test", "nothing", env=environment(direct, tmp_path))
    assert (said.exit_code, said.stderr) == (1, "no such rule: nothing\n")
    said = run_cli("alerts", "test", "spend above 5", env=environment(direct, tmp_path))
    assert (said.exit_code, said.stderr) == (1, "spend above 5 has no channel: choose one in Settings\n")


def test_a_new_key_seals() -> None:
    key = run_cli("secret-key").stdout.strip()
    box = SecretBox(SecretStr(key))
    assert box.open(box.seal({"a": "b"})) == {"a": "b"}
