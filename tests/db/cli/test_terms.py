"""`treering terms` against a real database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.cli import door_environment, run_cli
from tests.support.events import NOON, store, usage_event

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.doors import Door


def test_terms_are_added_listed_applied_and_ended(direct: Door, tmp_path: Path) -> None:
    env = door_environment(direct, tmp_path)
    store(direct.service(), usage_event(estimated_cost="10"))
    day, end = f"{NOON:%Y-%m-%d}", f"{NOON:%Y-%m}-28"
    for words in (
        ("discount", "--percent", "12.5", "--provider", "openai"),
        ("credit", "--amount", "5", "--name", "start-up"),
        ("currency", "--currency", "eur", "--rate", "0.9"),
    ):
        added = run_cli("terms", "add", *words, "--from", day, "--source", "contract", env=env)
        assert added.exit_code == 0, added.stderr
    listed = run_cli("terms", "list", env=env).stdout
    assert f"1  discount  openai  12.5 %  from {day}  open" in listed
    assert "1 USD = 0.9 EUR" in listed
    shown = json.loads(run_cli("terms", "statement", "--from", day, "--to", end, "--json", env=env).stdout)
    # 10 less 12.5 % is 8.75; the credit pays 5 of it, and 3.75 are 3.375 euros.
    assert (shown["list_cost"], shown["net"], shown["due"], shown["due_in_currency"]) == (
        "10",
        "8.75",
        "3.75",
        "3.375 EUR",
    )
    assert run_cli("terms", "end", "1", "--to", day, "--reason", "typing error", env=env).exit_code == 0
    text = run_cli("terms", "statement", "--from", day, "--to", end, env=env).stdout
    assert "due              5" in text
    assert "credit start-up: 0 of 5 left" in text
    wrong = run_cli("terms", "add", "discount", "--percent", "many", "--source", "contract", env=env)
    assert wrong.exit_code != 0
