from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from ingest.alerts.sealing import SecretBox, make_key
from ingest.database.health import Level
from ingest.database.migrate import read_migrations
from ingest.errors import (
    DatabaseUnavailableError,
    FunctionNotFoundError,
    InvalidArgumentError,
    PermissionDeniedError,
)
from ingest.ops import doctor, viewer_checks
from ingest.ops.doctor import examine
from ingest.ops.price_names import judge_release
from ingest.settings import load_settings
from tests.support.scripted_database import ScriptedDatabase

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DENIED = PermissionDeniedError("permission denied", sqlstate="42501")


def status(**changes: Any) -> dict[str, Any]:
    return {
        "server_time": NOW.isoformat(),
        "server_version": "18.4",
        "schema_version": read_migrations()[-1].version,
        "migrations": [migration.version for migration in read_migrations()],
        "workers": [{"worker": "w", "seen_at": NOW.isoformat(), "is_leader": True}],
        "oldest_pending_at": None,
        "pending_rows": 0,
        "refreshed_at": NOW.isoformat(),
        "last_rejection": None,
        "rejected_events": 0,
        "newest_event_at": None,
        "usage_rows_estimate": 0,
        "partitions": 6,
    } | changes


SIGN_IN = """
[auth]
redirect_uri = "https://app.example.com/oauth2callback"
cookie_secret = "a-secret-of-more-than-thirty-two-characters"
client_id = "id"
client_secret = "secret"
server_metadata_url = "https://id.example.com/.well-known/openid-configuration"
"""


class Deployment:
    """A home folder and databases that answer as told."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.status: dict[str, Any] | Exception = status()
        self.overview: Any = DENIED
        self.deployment: dict[str, Any] | Exception = {"server_time": NOW.isoformat(), "ops_members": 1}
        self.viewer: Any = {"access": "member"}
        self.models: list[JsonValue] = [["openai", "gpt-4o"], ["vllm", "my-model"]]
        (home / ".streamlit").mkdir()
        (home / ".streamlit" / "secrets.toml").write_text(SIGN_IN)
        monkeypatch.setattr(doctor, "PostgresDatabase", self._open)
        monkeypatch.setattr(doctor, "SupabaseDatabase", self._open)
        monkeypatch.setattr(doctor, "open_database", self._open)
        monkeypatch.setattr(viewer_checks, "open_viewer_database", self._open)

    def _open(self, *_: object, **__: object) -> ScriptedDatabase:
        return ScriptedDatabase(
            get_status=[self.status],
            get_overview=[self.overview],
            get_deployment=[self.deployment],
            get_settings=[self.viewer],
            get_prices=[{"prices": []}],
            get_price_state=[{"models": self.models}],
        )

    def examine(self, **settings: Any) -> dict[str, tuple[Level, str]]:
        chosen = load_settings(**{"home": self.home, "supabase_db_url": "postgresql://h/d", **settings})
        found = examine(chosen, now=lambda: NOW, folder=self.home)
        return {finding.part: (finding.level, str(finding)) for finding in found}


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    return Deployment(tmp_path, monkeypatch)


def test_a_healthy_deployment_is_ok_throughout(deployment: Deployment) -> None:
    found = deployment.examine(
        supabase_url="https://x.supabase.co",
        supabase_secret_key="sb_secret_k",
        supabase_publishable_key="sb_publishable_p",
        supabase_jwt_secret="s" * 32,
    )
    assert {level for level, _ in found.values()} == {Level.OK}
    assert {"Postgres door", "Postgres door, anonymous", "Supabase door", "Supabase door, anonymous"} <= found.keys()


def test_without_a_publishable_key_the_anonymous_caller_of_the_api_is_left_out(deployment: Deployment) -> None:
    found = deployment.examine(supabase_db_url=None, supabase_url="https://x.supabase.co", supabase_secret_key="k")
    assert "Supabase door" in found
    assert "Supabase door, anonymous" not in found
    assert "https://x.supabase.co" in found["settings"][1]


def test_no_database_at_all_is_critical_and_says_how_to_get_one(deployment: Deployment) -> None:
    level, message = deployment.examine(supabase_db_url=None)["database"]
    assert level is Level.CRITICAL
    assert "treering up" in message


def test_the_embedded_database_is_found_by_its_address(deployment: Deployment) -> None:
    (deployment.home / "database.uri").write_text("postgresql://h/d\n")
    found = deployment.examine(supabase_db_url=None)
    assert found["embedded database"][0] is Level.OK
    assert found["embedded database, anonymous"][0] is Level.OK


def test_an_address_without_a_key_is_critical(deployment: Deployment) -> None:
    found = deployment.examine(supabase_db_url=None, supabase_url="https://x.supabase.co")
    assert found["settings"][0] is Level.CRITICAL
    assert "SUPABASE_SECRET_KEY" in found["settings"][1]


def test_recording_that_is_switched_off_is_a_warning(deployment: Deployment) -> None:
    assert deployment.examine(enable_observability=False)["settings"][0] is Level.WARNING


def test_a_home_that_cannot_be_written_is_critical(deployment: Deployment, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    level, message = deployment.examine(home=blocked / "home")["journal"]
    assert level is Level.CRITICAL
    assert "TREERING_HOME" in message


@pytest.mark.parametrize(("model", "level"), [("gpt-4o", Level.OK), ("", Level.OK), ("no-such-model", Level.CRITICAL)])
def test_the_fallback_model_needs_a_price(deployment: Deployment, model: str, level: Level) -> None:
    assert deployment.examine(fallback_model=model)["prices"][0] is level


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (FunctionNotFoundError("none"), "treering migrate"),
        (InvalidArgumentError('role "service_role" does not exist', sqlstate="22023"), "treering migrate"),
        (DENIED, "service_role"),
        (DatabaseUnavailableError("no route"), "check the address"),
    ],
)
def test_a_door_that_does_not_open_says_what_to_do(deployment: Deployment, error: Exception, advice: str) -> None:
    deployment.status = error
    found = deployment.examine()
    assert found["Postgres door"][0] is Level.CRITICAL
    assert advice in found["Postgres door"][1]
    assert "migrations" not in found


@pytest.mark.parametrize(("seconds", "level"), [(1, Level.OK), (30, Level.WARNING), (-90, Level.CRITICAL)])
def test_clocks_that_differ_are_told(deployment: Deployment, seconds: int, level: Level) -> None:
    deployment.status = status(server_time=(NOW + timedelta(seconds=seconds)).isoformat())
    assert deployment.examine()["Postgres door"][0] is level


def test_an_anonymous_reader_is_critical_and_an_unclear_answer_a_warning(deployment: Deployment) -> None:
    deployment.overview = {"totals": {}}
    assert deployment.examine()["Postgres door, anonymous"][0] is Level.CRITICAL
    deployment.overview = DatabaseUnavailableError("away")
    assert deployment.examine()["Postgres door, anonymous"][0] is Level.WARNING


def test_the_sets_of_migrations_must_be_equal(deployment: Deployment) -> None:
    versions = [migration.version for migration in read_migrations()]
    deployment.status = status(migrations=versions[:3] + versions[4:])
    assert deployment.examine()["migrations"] == (
        Level.CRITICAL,
        f"1 of {len(versions)} are missing, the first is {versions[3]}: run `treering migrate`",
    )
    deployment.status = status(migrations=[*versions, "29990101000000"])
    assert deployment.examine()["migrations"] == (
        Level.WARNING,
        "1 are unknown to this version, the last is 29990101000000: update treering",
    )


def test_a_database_of_an_older_version_is_still_examined(deployment: Deployment) -> None:
    deployment.deployment = FunctionNotFoundError("none")
    found = deployment.examine()
    assert "rights of anon" not in found
    assert found["worker"][0] is Level.OK


def test_the_key_of_sealed_channels_is_tried(deployment: Deployment) -> None:
    sealed = SecretBox(SecretStr(key := make_key())).seal({"target_url": "https://h.example"})
    state = {"server_time": NOW.isoformat(), "sealed_channels": ["pager"], "sealed": [sealed], "ops_members": 1}
    deployment.deployment = state
    assert deployment.examine()["channel secrets"][0] is Level.CRITICAL
    assert "does not open" in deployment.examine(secret_key=make_key())["channel secrets"][1]
    assert "does not open" in deployment.examine(secret_key="no key")["channel secrets"][1]
    assert deployment.examine(secret_key=f"{make_key()},{key}")["channel secrets"][0] is Level.OK


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        (None, Level.WARNING, "treering init"),
        ("[auth", Level.CRITICAL, "cannot be read as TOML"),
        (SIGN_IN.replace('"id"', '"replace-me"'), Level.CRITICAL, "lacks client_id"),
        (SIGN_IN.replace("/oauth2callback", ""), Level.CRITICAL, "end in /oauth2callback"),
        (SIGN_IN.replace("a-secret-of-more-than-thirty-two-characters", "short"), Level.CRITICAL, "32 characters"),
        (SIGN_IN.replace("https://app", "app"), Level.CRITICAL, "begin with https://"),
        (SIGN_IN.replace("/.well-known/openid-configuration", ""), Level.CRITICAL, "ends in /.well-known/openid-conf"),
    ],
)
def test_what_is_wrong_with_the_sign_in_is_named(
    deployment: Deployment, text: str | None, level: Level, said: str
) -> None:
    path = deployment.home / ".streamlit" / "secrets.toml"
    path.unlink()
    if text is not None:
        path.write_text(text)
    found, message = deployment.examine()["sign-in"]
    assert found is level
    assert said in message


def test_a_model_without_a_price_is_named_with_a_way_to_say_what_it_is(deployment: Deployment) -> None:
    deployment.models = [["azure", "GPT-4o-mini-prod"], ["azure", "chat-prod"], ["openai", "gpt-4o"]]
    level, message = deployment.examine()["prices of recorded models"]
    assert level is Level.WARNING
    assert message.startswith("none is known for azure/GPT-4o-mini-prod, azure/chat-prod: ")
    assert "TREERING_DEPLOYMENTS=azure/gpt-4o-mini-prod=gpt-4o-mini" in message
    named = deployment.examine(deployments={"azure/gpt-4o-mini-prod": "gpt-4o-mini", "chat-prod": "gpt-4o"})
    assert named["prices of recorded models"][0] is Level.OK


def test_old_list_prices_are_a_warning() -> None:
    assert judge_release(datetime(2026, 11, 26, tzinfo=UTC)).level is Level.OK
    found = judge_release(datetime(2027, 6, 1, tzinfo=UTC))
    assert found.level is Level.WARNING
    assert found.fix == "update treering"
