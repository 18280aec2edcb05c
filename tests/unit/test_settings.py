from __future__ import annotations

import os
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from ingest.errors import ConfigurationError
from ingest.settings import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(
            ("SUPABASE_", "TREERING_", "METRICS_", "ENABLE_OBSERVABILITY", "OPENAI_ADMIN_KEY", "ANTHROPIC_")
        ):
            monkeypatch.delenv(name)


def test_without_anything_the_defaults_hold() -> None:
    settings = load_settings()
    assert settings.model_dump(exclude={"home"}) == {
        "supabase_url": None,
        "supabase_secret_key": None,
        "supabase_publishable_key": None,
        "supabase_jwt_secret": None,
        "supabase_jwt_signing_key": None,
        "supabase_db_url": None,
        "enable_observability": True,
        "metrics_retention_days": 90,
        "timezone": "UTC",
        "rollup_retention_days": None,
        "archive_url": None,
        "statement_url": None,
        "fallback_model": "gpt-4o",
        "deployments": {},
        "providers": {},
        "trusted_costs": (),
        "tags": (),
        "region": None,
        "update_prices": True,
        "auto_reprice": True,
        "hash_salt": None,
        "secret_key": None,
        "dashboard_url": None,
        "prompt_blocks": True,
        "embed_secret": None,
        "allow_private_webhooks": False,
        "fallback_channel": None,
        "openai_admin_key": None,
        "openai_admin_url": "https://api.openai.com/v1",
        "openai_projects": None,
        "anthropic_admin_key": None,
        "anthropic_admin_url": "https://api.anthropic.com/v1",
        "drift_threshold": Decimal("0.05"),
    }
    assert settings.home.name == "treering"


def test_an_argument_beats_the_environment_which_beats_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_RETENTION_DAYS", "30")
    assert load_settings().metrics_retention_days == 30
    assert load_settings(metrics_retention_days=7).metrics_retention_days == 7
    assert load_settings(metrics_retention_days=None).metrics_retention_days == 30


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("SUPABASE_URL", "supabase_url"),
        ("SUPABASE_SECRET_KEY", "supabase_secret_key"),
        ("SUPABASE_SERVICE_ROLE_KEY", "supabase_secret_key"),
        ("SUPABASE_PUBLISHABLE_KEY", "supabase_publishable_key"),
        ("SUPABASE_ANON_KEY", "supabase_publishable_key"),
        ("SUPABASE_JWT_SECRET", "supabase_jwt_secret"),
    ],
)
def test_each_variable_and_its_older_name_is_read(monkeypatch: pytest.MonkeyPatch, variable: str, field: str) -> None:
    monkeypatch.setenv(variable, "https://example.org")
    value = getattr(load_settings(), field)
    assert getattr(value, "get_secret_value", lambda: value)() == "https://example.org"


def test_the_newer_name_of_a_key_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_PUBLISHABLE_KEY", "new")
    monkeypatch.setenv("SUPABASE_ANON_KEY", "old")
    assert load_settings().supabase_publishable_key == "new"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUPABASE_URL", "SUPABASE_DB_URL", "METRICS_RETENTION_DAYS", "TREERING_TIMEZONE"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert (settings.supabase_url, settings.supabase_db_url) == (None, None)
    assert (settings.metrics_retention_days, settings.timezone) == (90, "UTC")


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_fallback_model_means_none(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    assert load_settings(fallback_model=empty).fallback_model is None
    monkeypatch.setenv("TREERING_FALLBACK_MODEL", empty)
    assert load_settings().fallback_model is None
    assert load_settings(fallback_model="gpt-4o-mini").fallback_model == "gpt-4o-mini"


def test_the_home_folder_is_not_the_shells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().home != tmp_path
    monkeypatch.setenv("TREERING_HOME", "~/data")
    assert load_settings().home == tmp_path / "data"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SUPABASE_URL", "example.org"),
        ("SUPABASE_URL", "ftp://example.org"),
        ("SUPABASE_URL", "https://[REF].supabase.co"),
        ("SUPABASE_DB_URL", "mysql://user@host/db"),
        ("ENABLE_OBSERVABILITY", "perhaps"),
        ("METRICS_RETENTION_DAYS", "0"),
        ("METRICS_RETENTION_DAYS", "ninety"),
        ("TREERING_TIMEZONE", "Europe/Atlantis"),
        ("TREERING_TIMEZONE", "America"),
        ("TREERING_TIMEZONE", "../UTC"),
    ],
)
def test_a_wrong_value_is_refused_and_its_variable_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"^{variable}: "):
        load_settings()


def test_a_placeholder_left_in_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "https://[REF].supabase.co")
    monkeypatch.setenv("SUPABASE_DB_URL", "postgresql://postgres:[YOUR-PASSWORD]@db.ref.supabase.co:5432/postgres")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "SUPABASE_URL: must be an address like https://<project>.supabase.co" in str(caught.value)
    assert "SUPABASE_DB_URL: replace [YOUR-PASSWORD] with the password of the database" in str(caught.value)


def test_a_password_in_square_brackets_is_not_taken_for_an_address() -> None:
    address = "postgresql://postgres:[geheim-5]@localhost/postgres"
    loaded = load_settings(supabase_db_url=address).supabase_db_url
    assert loaded is not None
    assert loaded.get_secret_value() == address


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"METRICS_RETENTION_DAYS: .*; TREERING_TIMEZONE: "):
        load_settings(metrics_retention_days=0, timezone="nowhere")


def test_an_unknown_setting_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="retention"):
        load_settings(retention=3)


def test_no_secret_is_shown() -> None:
    secrets = {
        "supabase_secret_key": "geheim-1",
        "supabase_jwt_secret": "geheim-2",
        "supabase_db_url": "postgresql://postgres:geheim-3@localhost/postgres",
    }
    assert "geheim" not in repr(load_settings(**secrets))
    with pytest.raises(ConfigurationError) as caught:
        load_settings(supabase_db_url="mysql://root:geheim-4@localhost/db")
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_cannot_be_changed() -> None:
    settings: Settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.timezone = "Europe/Berlin"  # type: ignore[misc]


def test_a_trailing_slash_of_the_address_goes() -> None:
    assert load_settings(supabase_url="https://abc.supabase.co/").supabase_url == "https://abc.supabase.co"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TREERING_OPENAI_ADMIN_URL", "api.openai.com"),
        ("TREERING_ANTHROPIC_ADMIN_URL", "api.anthropic.com"),
        ("TREERING_DRIFT_THRESHOLD", "-0.1"),
        ("TREERING_DRIFT_THRESHOLD", "5%"),
    ],
)
def test_a_wrong_setting_of_the_reconciliation_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable):
        load_settings()


def test_deployments_are_a_list_of_names_and_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_DEPLOYMENTS", " azure/chat-prod = gpt-4o, small=gpt-4o-mini ,")
    assert load_settings().deployments == {"azure/chat-prod": "gpt-4o", "small": "gpt-4o-mini"}
    assert load_settings(deployments={"a": "b"}).deployments == {"a": "b"}


@pytest.mark.parametrize("value", ["gpt-4o", "=gpt-4o", "name="])
def test_a_deployment_without_name_or_model_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TREERING_DEPLOYMENTS", value)
    with pytest.raises(ConfigurationError, match="TREERING_DEPLOYMENTS: must be a list like"):
        load_settings()


def test_hosts_are_named_as_a_short_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_PROVIDERS", " LLM-gw.example.com = OpenAI, 10.0.0.5:8080=anthropic ,")
    assert load_settings().providers == {"llm-gw.example.com": "openai", "10.0.0.5:8080": "anthropic"}
    assert load_settings(providers={"A": "b"}).providers == {"a": "b"}
    monkeypatch.setenv("TREERING_TRUSTED_COSTS", "LLM-gw.example.com, litellm")
    assert load_settings().trusted_costs == ("llm-gw.example.com", "litellm")
    assert load_settings(trusted_costs=["A"]).trusted_costs == ("a",)


@pytest.mark.parametrize("value", ["openai", "=openai", "host=", "https://host/v1=openai"])
def test_a_host_without_a_name_or_provider_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TREERING_PROVIDERS", value)
    with pytest.raises(ConfigurationError, match="TREERING_PROVIDERS: it must be a list of hosts"):
        load_settings()


def test_a_region_is_one_that_has_an_uplift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_REGION", "eu")
    assert load_settings().region == "eu"
    monkeypatch.setenv("TREERING_REGION", "moon")
    with pytest.raises(ConfigurationError, match="TREERING_REGION: must be one of au, eu, in, jp, us"):
        load_settings()
