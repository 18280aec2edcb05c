from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingest.database.migrate import read_migrations
from ingest.errors import (
    DatabaseUnavailableError,
    FunctionNotFoundError,
    InvalidArgumentError,
    PermissionDeniedError,
)
from ingest.ops import doctor
from ingest.ops.doctor import examine
from ingest.ops.health import Level
from ingest.settings import load_settings
from tests.support.scripted_database import ScriptedDatabase

if TYPE_CHECKING:
    from pathlib import Path

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


class Deployment:
    """A home folder and databases that answer as told."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.status: dict[str, Any] | Exception = status()
        self.overview: Any = DENIED
        monkeypatch.setattr(doctor, "PostgresDatabase", self._open)
        monkeypatch.setattr(doctor, "SupabaseDatabase", self._open)
        monkeypatch.setattr(doctor, "open_database", self._open)

    def _open(self, *_: object, **__: object) -> ScriptedDatabase:
        return ScriptedDatabase(get_status=[self.status], get_overview=[self.overview])

    def examine(self, **settings: Any) -> dict[str, tuple[Level, str]]:
        chosen = load_settings(**{"home": self.home, "supabase_db_url": "postgresql://h/d", **settings})
        return {finding.part: (finding.level, finding.message) for finding in examine(chosen, now=lambda: NOW)}


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    return Deployment(tmp_path, monkeypatch)


def test_a_healthy_deployment_is_ok_throughout(deployment: Deployment) -> None:
    found = deployment.examine(
        supabase_url="https://x.supabase.co", supabase_secret_key="k", supabase_publishable_key="p"
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


def test_missing_partitions_are_a_warning(deployment: Deployment) -> None:
    deployment.status = status(partitions=2)
    assert deployment.examine()["partitions"][0] is Level.WARNING
