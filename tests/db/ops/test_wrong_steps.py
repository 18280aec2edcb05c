"""Each mistake that people make while they set up a hosted project is named by `doctor`, with the fix that helps."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingest.alerts.sealing import make_key
from ingest.database import PostgresDatabase
from ingest.database.health import Level
from ingest.ops.doctor import examine
from ingest.settings import load_settings
from tests.support.api import PUBLISHABLE_KEY, SECRET_KEY, Api
from tests.support.clockwork import Clockwork, fire
from tests.support.keys import key_set
from tests.support.keys import make_key as make_jwk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.servers import Server, TestDatabase

SIGN_IN = """
[auth]
redirect_uri = "https://app.example.com/oauth2callback"
cookie_secret = "a-secret-of-more-than-thirty-two-characters"
client_id = "id"
client_secret = "secret"
server_metadata_url = "https://id.example.com/.well-known/openid-configuration"
"""
KEY = make_jwk("ES256", "imported")


class Project:
    """A project that is set up as it should be, to be spoiled by a test."""

    def __init__(self, database: TestDatabase, home: Path) -> None:
        self.database = database
        self.home = home
        self.api = Api(jwt_keys=key_set(KEY))
        self.api.start(database)
        (home / ".streamlit").mkdir()
        (home / ".streamlit" / "secrets.toml").write_text(SIGN_IN)
        self.service = PostgresDatabase(database.authenticator_url)
        self.service.call("ensure_partitions")
        self.service.call("add_member", user_id="user_ana", role="ops")
        self.live()

    def live(self) -> None:
        """Let a worker have reported a moment ago."""
        self.service.call("acquire_lease", name="worker", holder="w", ttl_s=3600)
        self.service.call("record_heartbeat", worker="w", details={})
        self.service.call("refresh_aggregates")

    def settings(self, **changes: Any) -> dict[str, Any]:
        return {
            "home": self.home / "home",
            "supabase_url": self.api.url,
            "supabase_secret_key": SECRET_KEY,
            "supabase_publishable_key": PUBLISHABLE_KEY,
            "supabase_jwt_signing_key": json.dumps(KEY),
            **changes,
        }

    def faults(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), **changes: Any) -> dict[str, str]:
        """What doctor finds wrong, with the fix, by part."""
        found = examine(load_settings(**self.settings(**changes)), now=now, folder=self.home)
        return {one.part: f"{one.level.name} {one}" for one in found if one.level is not Level.OK}

    def close(self) -> None:
        self.service.close()
        self.api.stop()


@pytest.fixture
def project(database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "TREERING_")) and name != "TREERING_UPDATE_PRICES":
            monkeypatch.delenv(name)
    project = Project(database, tmp_path)
    yield project
    project.close()


def expect(found: dict[str, str], part: str, level: str, *words: str) -> None:
    assert part in found, found
    assert found[part].startswith(level), found[part]
    assert [word for word in words if word not in found[part]] == [], found[part]


def test_wrong_settings_are_named_one_by_one(project: Project) -> None:
    assert project.faults() == {}
    url = project.api.url

    expect(project.faults(supabase_url=f"{url}/rest/v1"), "project address", "CRITICAL", "/rest/v1", f"set it to {url}")
    expect(project.faults(supabase_publishable_key=""), "API keys", "WARNING", "SUPABASE_PUBLISHABLE_KEY is missing")
    swapped: dict[str, Any] = {"supabase_publishable_key": SECRET_KEY, "supabase_secret_key": PUBLISHABLE_KEY}
    expect(project.faults(**swapped), "API keys", "CRITICAL", "swapped", "exchange")
    expect(project.faults(supabase_publishable_key=SECRET_KEY), "API keys", "CRITICAL", "holds a secret key")
    wrong = project.faults(supabase_secret_key="sb_secret_of_another_project")
    expect(wrong, "Supabase door", "CRITICAL", "Invalid API key", "check SUPABASE_SECRET_KEY")
    no_way = project.faults(supabase_jwt_signing_key="")
    expect(no_way, "viewers", "WARNING", "nothing here makes a token", "SUPABASE_JWT_SIGNING_KEY", "expose_tokens")
    older = project.faults(supabase_jwt_signing_key="", supabase_jwt_secret="the secret of before the new keys, 32")
    expect(older, "viewers", "CRITICAL", "SUPABASE_JWT_SECRET", "gen signing-key")
    stranger = json.dumps(make_jwk("ES256", "never-imported"))
    expect(project.faults(supabase_jwt_signing_key=stranger), "viewers", "CRITICAL", "import the same key")
    public = json.dumps({name: value for name, value in KEY.items() if name != "d"})
    expect(project.faults(supabase_jwt_signing_key=public), "signing key", "CRITICAL", "must be a private key")
    late = project.faults(now=lambda: datetime.now(UTC) + timedelta(minutes=5))
    expect(late, "Supabase door", "CRITICAL", "clock", "NTP")
    direct = "postgresql://postgres:x@127.0.0.1:1/postgres"
    expect(project.faults(supabase_db_url=direct), "Postgres door", "CRITICAL", "cannot be reached")


def test_what_was_changed_by_hand_in_the_database_is_named(project: Project) -> None:
    execute = project.database.execute
    execute("alter table observability_internal.members disable row level security")
    expect(project.faults(), "row level security", "CRITICAL", "members", "enable row level security")
    execute("alter table observability_internal.members enable row level security")

    execute(
        "grant usage on schema observability to anon; grant execute on all functions in schema observability to anon"
    )
    expect(project.faults(), "rights of anon", "CRITICAL", "schema observability", "revoke all")
    execute(
        "revoke all on schema observability from anon; revoke all on all functions in schema observability from anon"
    )

    execute("revoke usage on schema observability from authenticated")
    found = project.faults()
    expect(found, "rights of viewers", "CRITICAL", "grant usage on schema observability to authenticated")
    expect(found, "viewers", "CRITICAL", "reads nothing")
    execute("grant usage on schema observability to authenticated")

    execute("delete from observability_internal.members")
    expect(project.faults(), "members", "WARNING", "treering members add")
    execute("delete from observability_internal.leases; delete from observability_internal.heartbeats")
    expect(project.faults(), "worker", "CRITICAL", "treering worker")

    execute(
        "do $$ begin execute 'drop table observability_internal.ai_usage_metrics_' || to_char("
        "date_trunc('month', now() at time zone 'UTC') + interval '1 month', 'YYYYMM'); end $$"
    )
    ahead = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).strftime("%Y%m")
    expect(project.faults(), "partitions", "CRITICAL", f"ai_usage_metrics_{ahead} missing", "treering worker")


def test_what_waits_or_failed_is_named(project: Project) -> None:
    fire(Clockwork(project.service))  # messages of days ago, for a channel whose address is sealed
    found = project.faults()
    expect(found, "messages", "CRITICAL", "1 overdue", "treering worker")
    expect(found, "channel secrets", "CRITICAL", "TREERING_SECRET_KEY")
    expect(project.faults(secret_key=make_key()), "channel secrets", "CRITICAL", "does not open")
    project.database.execute("update observability_internal.notifications set state = 'dead', created_at = now()")
    expect(project.faults(), "messages", "WARNING", "1 dead", "in Settings")

    project.service.call("note_catalogue", error="no route to the catalogue")
    project.database.execute(
        "update observability_internal.price_state set catalogue_failing_since = now() - interval '4 days'"
    )
    stale = project.faults(update_prices=True)
    expect(stale, "price catalogue", "WARNING", "no route to the catalogue", "TREERING_UPDATE_PRICES")

    project.database.execute(
        "insert into observability_internal.rollup_checks (checked_at, from_time, to_time, is_exact, result)"
        " select now(), now() - interval '1 day', now(), false, jsonb_build_object("
        "'checked_at', now(), 'is_exact', false, 'requests', 3, 'difference_count', 2)"
    )
    expect(project.faults(), "rollups", "CRITICAL", "2 differences", "treering rollups rebuild")
    project.service.call("record_heartbeat", worker="w", details={"version": "0.0.1"})
    expect(project.faults(), "versions", "WARNING", "w (0.0.1)", "same version")


def test_a_project_without_the_migrations_or_the_exposed_schema_is_told_which(
    postgres_server: Server, tmp_path: Path
) -> None:
    empty = postgres_server.create_database(empty=True)
    api = Api(jwt_keys=key_set(KEY), schemas="public")
    api.start(empty)
    try:
        settings = load_settings(
            home=tmp_path / "home",
            supabase_url=api.url,
            supabase_secret_key=SECRET_KEY,
            supabase_publishable_key=PUBLISHABLE_KEY,
            supabase_db_url=empty.superuser_url,
        )
        found = {one.part: str(one) for one in examine(settings, folder=tmp_path)}
        assert "run `treering migrate`" in found["Postgres door"]
        assert "add observability to the exposed schemas" in found["Supabase door"]
    finally:
        api.stop()
        empty.drop()
