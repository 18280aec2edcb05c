"""What `treering init` writes, and where it must not end up."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from ingest.cli.app import app
from ingest.cli.env_file import merge_env_file, read_env_file, use_env_file
from ingest.database.health import Finding, Level
from ingest.database.signing import make_signing_key, read_signing_key
from ingest.errors import ConfigurationError
from ingest.ops.first_steps import SignIn, keep_out_of_git, project_url, remaining_steps, secrets_toml, write_private
from ingest.settings import load_settings
from tests.support.cli import run_cli

if TYPE_CHECKING:
    from pathlib import Path

REF = "abcdefghijklmnopqrst"
SIGN_IN = SignIn("https://app.example.com/", "https://id.example.com/.well-known/openid-configuration", "id", 'a"b')
GIVEN = [
    "init", "--no-input", "--url", REF, "--publishable-key", "sb_publishable_p", "--secret-key", "sb_secret_s",
    "--signing-key", "new", "--app-url", "https://app.example.com", "--provider", SIGN_IN.metadata_url,
    "--client-id", "id", "--client-secret", "secret",
]  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "TREERING_")):
            monkeypatch.delenv(name)
    # Nothing answers there, so that no test leaves this machine.
    monkeypatch.setattr("ingest.ops.first_steps.project_url", lambda text: f"http://127.0.0.1:9/{text}".rstrip("/"))
    monkeypatch.setenv("TREERING_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "environ", {**os.environ})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "product"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@pytest.mark.parametrize(
    "pasted",
    [
        REF,
        f" https://{REF}.supabase.co/ ",
        f"https://{REF}.supabase.co/rest/v1",
        f"https://supabase.com/dashboard/project/{REF}/settings/api-keys",
    ],
)
def test_whatever_address_of_the_project_is_pasted_is_understood(pasted: str) -> None:
    assert project_url(pasted) == f"https://{REF}.supabase.co"
    assert project_url("http://127.0.0.1:54321") == "http://127.0.0.1:54321"


def test_a_file_of_settings_is_read_as_it_was_written_and_keeps_its_other_lines(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    key = make_signing_key()
    before = "# ours\nOPENAI_API_KEY=sk-1\nexport SUPABASE_URL=http://old\n"
    path.write_text(merge_env_file(before, {"SUPABASE_URL": "http://new", "SUPABASE_JWT_SIGNING_KEY": key}))
    assert path.read_text().splitlines()[:3] == ["# ours", "OPENAI_API_KEY=sk-1", "SUPABASE_URL=http://new"]
    assert read_env_file(path) == {"SUPABASE_URL": "http://new", "SUPABASE_JWT_SIGNING_KEY": key}
    assert read_env_file(tmp_path / "none") == {}
    (tmp_path / "broken").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="broken"):
        read_env_file(tmp_path / "broken")


def test_the_environment_comes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("SUPABASE_URL='http://file'\nTREERING_TIMEZONE=Europe/Berlin\n")
    monkeypatch.chdir(tmp_path)
    os.environ["SUPABASE_URL"] = "http://environment"
    use_env_file()
    assert (os.environ["SUPABASE_URL"], os.environ["TREERING_TIMEZONE"]) == ("http://environment", "Europe/Berlin")


def test_a_new_signing_key_is_one_that_signs() -> None:
    key = read_signing_key(load_settings(supabase_jwt_signing_key=make_signing_key()))
    assert key is not None
    assert (key.algorithm, len(key.kid or "")) == ("ES256", 36)


def test_the_apps_secrets_are_toml_and_pass_the_sign_in_on_only_without_another_way() -> None:
    with_key = tomllib.loads(secrets_toml({"SUPABASE_JWT_SIGNING_KEY": '{"kty": "EC"}'}, SIGN_IN))
    assert with_key["SUPABASE_JWT_SIGNING_KEY"] == '{"kty": "EC"}'
    assert with_key["auth"]["redirect_uri"] == "https://app.example.com/oauth2callback"
    assert with_key["auth"]["client_secret"] == 'a"b'
    assert len(with_key["auth"]["cookie_secret"]) >= 48
    assert "expose_tokens" not in with_key["auth"]
    assert tomllib.loads(secrets_toml({}, SIGN_IN))["auth"]["expose_tokens"] == ["id", "access"]


def test_files_are_ignored_by_git_before_they_are_written(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.log")
    assert keep_out_of_git(repository, [".env", ".streamlit/secrets.toml"]) == [".env", ".streamlit/secrets.toml"]
    assert (repository / ".gitignore").read_text() == "*.log\n/.env\n/.streamlit/secrets.toml\n"
    assert keep_out_of_git(repository, [".env", ".streamlit/secrets.toml"]) == []


def test_a_file_that_git_tracks_is_not_written(repository: Path) -> None:
    (repository / ".env").write_text("")
    subprocess.run(["git", "-C", str(repository), "add", ".env"], check=True)
    result = run_cli(*GIVEN, "--folder", repository)
    assert (result.exit_code, "git rm --cached .env" in result.stderr) == (1, True)
    assert (repository / ".env").read_text() == ""


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_private(tmp_path / "file" / ".env", "x")


def test_what_remains_is_told_once_and_in_the_order_in_which_it_works() -> None:
    findings = [
        Finding("worker", Level.CRITICAL, "none", "start it"),
        Finding("Postgres door", Level.CRITICAL, "none", "run `treering migrate`"),
        Finding("prices", Level.CRITICAL, "none", "not a step of the set-up"),
        Finding("members", Level.WARNING, "none", "add one"),
        Finding("journal", Level.OK, "fine"),
    ]
    assert remaining_steps(findings, SIGN_IN, "streamlit run app.py") == [
        "Postgres door: run `treering migrate`",
        "members: add one",
        "worker: start it",
        "at the sign-in provider: register https://app.example.com/oauth2callback as a redirect address",
        "start the app: streamlit run app.py",
    ]


def test_init_writes_both_files_for_their_owner_alone_and_lists_what_remains(repository: Path) -> None:
    result = run_cli(*GIVEN, "--folder", repository)

    assert result.exit_code == 1  # nothing answers at the project's address
    env, secrets = repository / ".env", repository / ".streamlit" / "secrets.toml"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (env, secrets)} == {0o600}
    status = subprocess.run(
        ["git", "-C", str(repository), "status", "--short"], capture_output=True, text=True, check=True
    )
    assert status.stdout.split() == ["??", ".gitignore"]
    written = read_env_file(env)
    assert written["SUPABASE_SECRET_KEY"] == "sb_secret_s"
    of_app = tomllib.loads(secrets.read_text())
    assert "SUPABASE_SECRET_KEY" not in of_app
    assert of_app["SUPABASE_JWT_SIGNING_KEY"] == written["SUPABASE_JWT_SIGNING_KEY"]
    assert "What remains, in this order" in result.stdout
    assert "https://app.example.com/oauth2callback" in result.stdout
    for secret in ("sb_secret_s", json.loads(written["SUPABASE_JWT_SIGNING_KEY"])["d"], written["TREERING_SECRET_KEY"]):
        assert secret not in result.stdout

    before = env.read_text()
    again = run_cli(*GIVEN[:-8], "--folder", repository)
    assert "renewed" in again.stdout  # a new signing key was asked for, and the app signs with it too
    of_app = tomllib.loads(secrets.read_text())
    assert of_app["SUPABASE_JWT_SIGNING_KEY"] == read_env_file(env)["SUPABASE_JWT_SIGNING_KEY"]
    assert read_env_file(env)["TREERING_SECRET_KEY"] == written["TREERING_SECRET_KEY"]
    assert len(env.read_text().splitlines()) == len(before.splitlines())
    assert f"kept {secrets}" in run_cli("init", "--no-input", "--url", REF, "--folder", repository).stdout


def test_a_second_init_renews_the_apps_secrets_and_signs_nobody_out(repository: Path) -> None:
    path = repository / ".streamlit" / "secrets.toml"
    run_cli(*GIVEN, "--folder", repository)
    first = tomllib.loads(path.read_text())

    moved = run_cli(
        "init", "--no-input", "--url", REF, "--folder", repository, "--app-url", "https://new.example.com",
        "--publishable-key", "sb_publishable_new",
    )  # fmt: skip
    second = tomllib.loads(path.read_text())
    assert "renewed" in moved.stdout
    assert second == first | {
        "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_new",
        "auth": first["auth"] | {"redirect_uri": "https://new.example.com/oauth2callback"},
    }
    assert second["auth"]["cookie_secret"] not in moved.stdout

    text = path.read_text() + 'prompt = "login"\n'
    path.write_text(text)
    by_hand = run_cli(
        "init", "--no-input", "--url", REF, "--folder", repository, "--app-url", "https://newer.example.com"
    )
    assert "change there by hand: auth.redirect_uri" in " ".join(by_hand.stdout.split())
    assert path.read_text() == text
    path.write_text("not toml")
    broken = run_cli("init", "--no-input", "--folder", repository)
    assert (broken.exit_code, "it cannot be read (TOMLDecodeError)" in " ".join(broken.stderr.split())) == (1, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--secret-key", "sb_publishable_p", "--publishable-key", "sb_secret_s"], "swapped"),
        (["--db-url", "postgresql://postgres.ref:[YOUR-PASSWORD]@h/postgres"], "replace [YOUR-PASSWORD]"),
        (["--signing-key", "/nowhere.json"], "cannot be read"),
        (["--signing-key", "none", "--db-url", "mysql://h"], "SUPABASE_DB_URL"),
        (["--app-url", "app.example.com"], "--app-url: must be an address that begins with https://"),
        (["--provider", "id.example.com"], "--provider: must be an address that begins with https://"),
    ],
)
def test_what_can_be_seen_to_be_wrong_is_refused_and_nothing_is_written(
    repository: Path, changes: list[str], said: str
) -> None:
    result = run_cli(*GIVEN, "--folder", repository, *changes)
    assert result.exit_code == 1
    assert said in result.stderr
    assert not (repository / ".env").exists()


def test_the_issuer_of_a_provider_is_enough(repository: Path) -> None:
    run_cli(*GIVEN, "--folder", repository, "--provider", "https://id.example.com/")
    written = tomllib.loads((repository / ".streamlit" / "secrets.toml").read_text())
    assert written["auth"]["server_metadata_url"] == "https://id.example.com/.well-known/openid-configuration"


def test_without_any_address_there_is_nothing_to_set_up(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.ops.first_steps.project_url", project_url)
    result = run_cli("init", "--no-input", "--folder", repository)
    assert (result.exit_code, "--url" in result.stderr) == (1, True)


def test_init_asks_for_what_is_not_given_and_shows_no_secret(repository: Path) -> None:
    answers = [REF, "sb_publishable_p", "sb_secret_s", "", "", "", ""]  # the rest is left as offered
    result = CliRunner().invoke(app, ["init", "--folder", str(repository)], input="\n".join(answers) + "\n")
    assert "Signing key: a file, new, or none [new]" in result.stdout
    assert "no sign-in provider was given" in result.stdout
    assert "sb_secret_s" not in result.stdout
    assert read_env_file(repository / ".env").keys() == {
        "SUPABASE_URL",
        "SUPABASE_PUBLISHABLE_KEY",
        "SUPABASE_SECRET_KEY",
        "SUPABASE_JWT_SIGNING_KEY",
        "TREERING_SECRET_KEY",
    }
