"""`treering alerts list|ack|silence|export|apply`: what is exported is applied again without a change."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest
import yaml

from ingest.alerts.as_code import apply_changes, compare_alerts, export_alerts, read_alerts
from ingest.database import fetch
from ingest.documents.settings import Configuration
from ingest.errors import InvalidArgumentError
from tests.support.cli import door_environment, run_cli
from tests.support.clockwork import Clockwork, call

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.doors import Door

FILE = """\
version: 1
rules:
- name: Daily spend
  metric: spend
  threshold: 100
  critical_threshold: 250
  period: day
  window_s: 86400
  channels: [pager]
  runbook_url: https://wiki.example.com/spend
  labels: {team: chat}
- name: Errors
  metric: error_rate
  threshold: 0.1
  scope: {environment: [production]}
  keep_firing_s: 600
  cooldown_s: 3600
  conditions: [{metric: requests, comparator: above, threshold: 100}]
- name: Fast burn
  metric: latency_burn_rate
  threshold: 14.4
  window_s: 3600
  objective: 0.995
  objective_ms: 8000
  severity: critical
budgets:
- name: Chat
  amount: 5000
  steps: [0.5, 1]
  channels: [pager]
routes:
- name: On call
  severity: critical
  labels: {team: chat}
  after_s: 600
  channels: [pager]
mutes:
- name: Nights
  rules: [Errors]
  weekdays: [1, 2, 3, 4, 5]
  from_time: "22:00"
  to_time: "06:00"
  timezone: Europe/Berlin
"""


def test_a_file_is_shown_applied_exported_and_applied_again(door: Door, tmp_path: Path) -> None:
    service = Clockwork(door.service())
    service.channel("https://hooks.example.com/x")
    service.rule("spend", "5", name="old")
    env = door_environment(door, tmp_path)
    path = tmp_path / "alerts.yaml"
    path.write_text(FILE, encoding="utf-8")

    said = run_cli("alerts", "apply", str(path), "--dry-run", env=env)
    assert (said.exit_code, said.stdout.splitlines()) == (
        0,
        [
            "+ rule Daily spend", "+ rule Errors", "+ rule Fast burn", "+ budget Chat", "+ route On call",
            "+ mute time Nights", "6 would change",
        ],
    )  # fmt: skip
    assert len(service.ask("get_settings")["rules"]) == 1

    assert run_cli("alerts", "apply", str(path), env=env).stdout.endswith("6 changed\n")
    kept = service.ask("get_settings")
    assert kept["mutes"][0]["rules"] == [next(one["rule_id"] for one in kept["rules"] if one["name"] == "Errors")]
    exported = run_cli("alerts", "export", env=env).stdout
    assert "hooks.example.com" not in exported
    assert "minimum_sample" not in exported  # 20 of a rate, as where none is named
    path.write_text(exported, encoding="utf-8")
    assert run_cli("alerts", "apply", str(path), env=env).stdout == "nothing to change\n"

    path.write_text(FILE.replace("threshold: 100\n", "threshold: 120\n"), encoding="utf-8")
    assert run_cli("alerts", "apply", str(path), "--prune", env=env).stdout.splitlines() == [
        "~ rule Daily spend: threshold: 100 -> 120", "- rule old", "2 changed"
    ]  # fmt: skip
    assert {rule["name"] for rule in service.ask("get_settings")["rules"] if not rule["is_managed"]} == {
        "Daily spend", "Errors", "Fast burn"
    }  # fmt: skip


def test_every_mistake_of_a_file_is_named_with_its_place_and_nothing_is_changed(direct: Door, tmp_path: Path) -> None:
    service = Clockwork(direct.service())
    path = tmp_path / "wrong.yaml"
    wrong = yaml.safe_load(FILE)
    wrong["rules"][1] |= {"threshold": 3, "severty": "critical"}
    wrong["routes"][0]["after_s"] = -1
    wrong["rulez"] = []
    path.write_text(yaml.safe_dump(wrong), encoding="utf-8")
    said = run_cli("alerts", "apply", str(path), env=door_environment(direct, tmp_path))
    assert said.exit_code == 1
    for problem in (
        "unknown key rulez", "rules[0].channels: there is no channel pager",
        "rules[1].severty: Extra inputs are not permitted", "routes[0].after_s: ",
    ):  # fmt: skip
        assert problem in said.stderr
    assert service.ask("get_settings")["rules"] == []
    for text in ("version: 2", "- a", "a: [", ""):
        path.write_text(text, encoding="utf-8")
        assert run_cli("alerts", "apply", str(path), env=door_environment(direct, tmp_path)).exit_code == 1


@pytest.mark.dated
def test_alerts_are_listed_acknowledged_and_silenced(direct: Door, tmp_path: Path) -> None:
    service, env = Clockwork(direct.service()), door_environment(direct, tmp_path)
    service.rule("spend", "5", window_s=7200, group_by="model")
    now = dt.datetime.now(dt.UTC)
    service.record(call(0, model="o3", cost="61.20", created_at=now.isoformat()))
    service.ask("evaluate_alerts", as_of=now)
    (line,) = run_cli("alerts", "list", env=env).stdout.splitlines()
    assert line.startswith("1\twarning\tspend above 5 [o3]\t$61.20, above $5.00\tsince ")
    assert run_cli("alerts", "ack", "1", "--note", "on it", env=env).stdout == "alert 1 acknowledged\n"
    (alert,) = json.loads(run_cli("alerts", "list", "--json", env=env).stdout)
    assert alert["acknowledge_note"] == "on it"
    said = run_cli("alerts", "silence", "spend above 5", "--for", "30", "--group", "o3", env=env)
    assert said.stdout.startswith("spend above 5 is silenced until ")
    (silence,) = service.ask("get_alerts", from_time=now, to_time=now + dt.timedelta(hours=1))["silences"]
    assert silence["group_key"] == "o3"
    said = run_cli("alerts", "ack", "9", env=env)
    assert (said.exit_code, said.stderr) == (1, "no alert 9 is firing\n")


def test_times_of_day_are_read_as_they_are_written(shared_direct: Door) -> None:
    configuration = fetch(shared_direct.service(), Configuration, "get_settings")
    text = "version: 1\nmutes:\n- {name: x, weekdays: [1], from_time: 22:00, to_time: 06:30}\n"
    (mute,) = read_alerts(text, configuration)["mutes"]
    assert (mute["from_time"], mute["to_time"]) == ("22:00:00", "06:30:00")
    (mute,) = read_alerts(text.replace("22:00", "22:00:05"), configuration)["mutes"]
    assert mute["from_time"] == "22:00:05"


@pytest.mark.parametrize("names", ["pager", "5", "[[a]]", "{a: b}"])
def test_names_that_are_no_list_are_named_as_a_mistake(shared_direct: Door, names: str) -> None:
    configuration = fetch(shared_direct.service(), Configuration, "get_settings")
    with pytest.raises(InvalidArgumentError, match=r"^routes\[0\]\.channels: must be a list of names$"):
        read_alerts(f"version: 1\nroutes: [{{name: x, channels: {names}}}]\n", configuration)


def test_a_mute_time_moves_to_the_rule_that_replaces_its_own(direct: Door) -> None:
    service = Clockwork(direct.service())
    rule = service.rule("spend", "1", name="first")
    hours = {"weekdays": [1], "from_time": "01:00", "to_time": "02:00"}
    service.ask("save_alert_mute", mute={"name": "Nights", "rules": [rule["rule_id"]], **hours})
    configuration = fetch(service.database, Configuration, "get_settings")
    text = export_alerts(configuration).replace("first", "second")
    changes = compare_alerts(read_alerts(text, configuration), configuration, is_whole=True)
    apply_changes(service.database, changes)
    assert export_alerts(fetch(service.database, Configuration, "get_settings")) == text
