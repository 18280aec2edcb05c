from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ingest import cli
from ingest.cli.app import app
from ingest.cli.export import _opened
from ingest.cli.replay import _print_totals
from ingest.errors import ConfigurationError
from ingest.ops.replay import ReplayTotals
from ingest.record.recorder import Stats
from tests.support.cli import run_cli

DOCUMENTATION = (Path(__file__).parents[3] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")


def commands() -> dict[str, list[str]]:
    """Every command with its long options, as the program itself knows them."""
    found: dict[str, list[str]] = {}

    def walk(command: object, path: str) -> None:
        inner = getattr(command, "commands", None)
        if inner is not None:
            for name, sub in inner.items():
                walk(sub, f"{path} {name}")
            if not getattr(command, "invoke_without_command", False):
                return
        found[path] = [
            option
            for parameter in getattr(command, "params", [])
            for option in parameter.opts
            if option.startswith("--") and option != "--help"
        ]

    walk(typer.main.get_command(app), "treering")
    return found


def section(command: str) -> str:
    match = re.search(rf"^## `{re.escape(command)}[^`]*`$(.*?)(?=^## |\Z)", DOCUMENTATION, re.MULTILINE | re.DOTALL)
    assert match is not None, f"docs/reference/cli.md has no section ## `{command} …`"
    return match[1]


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_and_option_is_documented(command: str) -> None:
    text = section(command)
    assert [option for option in commands()[command] if f"`{option}" not in text] == []


def test_no_command_is_documented_that_does_not_exist() -> None:
    documented = re.findall(r"^## `(treering(?: [a-z-]+)+)", DOCUMENTATION, re.MULTILINE)
    assert set(documented) == set(commands())


def test_help_lists_all_commands() -> None:
    result = run_cli("--help")
    assert result.exit_code == 0
    for name in ("up", "migrate", "worker", "replay", "reprice", "status", "doctor", "export", "members"):
        assert re.search(rf"^  {name} +\S", result.stdout, re.MULTILINE)


def test_help_does_not_wait_for_what_the_commands_need() -> None:
    code = (
        "import sys, ingest.cli.app; print([name for name in ('supabase', 'psycopg', 'httpx') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "typer" else object())
    with pytest.raises(SystemExit, match=r"typer is not installed; run: pip install 'treering\[worker\]'"):
        cli.main()


def test_a_failure_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ConfigurationError("TREERING_TIMEZONE: no such zone")

    monkeypatch.setattr("ingest.cli.app.app", fail)
    with pytest.raises(SystemExit, match=r"^treering: TREERING_TIMEZONE: no such zone$"):
        cli.main()


def test_migrate_without_an_address_names_the_variable() -> None:
    result = run_cli("migrate", env={"SUPABASE_DB_URL": ""})
    assert result.exit_code == 1
    assert "SUPABASE_DB_URL" in result.stderr


def test_an_export_to_standard_output_is_nothing_but_the_file(tmp_path: Path) -> None:
    code = (
        "import sys; from ingest.cli.export import _opened\n"
        "with _opened(None) as file: file.write('a,b\\r\\n')\n"
        "print('still open', file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path)
    assert result.stdout == b"a,b\r\n"


def test_an_export_leaves_standard_output_open(capfd: pytest.CaptureFixture[str]) -> None:
    with _opened(None) as file:
        file.write("a\n")
    print("b")
    assert capfd.readouterr().out == "a\nb\n"


def test_what_earlier_processes_left_is_told_beside_the_totals(capsys: pytest.CaptureFixture[str]) -> None:
    _print_totals(ReplayTotals(requests=3), Stats(stored=5, adopted=2), rejected=0, seconds=1.0)
    said = capsys.readouterr().out
    assert "2 events that earlier processes left" in said
    assert "there already                    0" in said
    assert "UTC" not in said
