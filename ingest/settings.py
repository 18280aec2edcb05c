"""The settings that every part of Treering shares: argument, then environment, then default."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path  # noqa: TC003 -- pydantic reads the annotation at run time
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import platformdirs
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ingest.errors import ConfigurationError

_MOST_TAGS = 3


def _blank_to_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def is_web_address(value: str) -> bool:
    """Tell whether this is an address of HTTP with a host."""
    try:
        parts = urlsplit(value)
    except ValueError:  # square brackets, as around a placeholder, that hold no IPv6 address
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _check_url(value: str | None) -> str | None:
    if value is None:
        return None
    if not is_web_address(value):
        raise ValueError("must be an address like https://<project>.supabase.co")
    return value.rstrip("/")


def _check_dashboard_url(value: str | None) -> str | None:
    if value is not None and not is_web_address(value):
        raise ValueError("must be an address like https://chat.example.com/dashboard/observability")
    return None if value is None else value.rstrip("/")


def _check_fallback_channel(value: SecretStr | None) -> SecretStr | None:
    if value is not None and "://" not in value.get_secret_value():
        raise ValueError("must be an address such as mailtos://… or https://…")
    return value


def _check_api_url(value: str) -> str:
    if not is_web_address(value):
        raise ValueError("must be an address like https://api.openai.com/v1")
    return value.rstrip("/")


def _check_database_url(value: SecretStr | None) -> SecretStr | None:
    # The address holds a password, so the message repeats no part of it. `urlsplit` would: of one in square brackets.
    if value is None:
        return None
    address = value.get_secret_value()
    if "[YOUR-PASSWORD]" in address:
        raise ValueError("replace [YOUR-PASSWORD] with the password of the database")
    if address.partition("://")[0].lower() not in ("postgresql", "postgres"):
        raise ValueError("must be an address like postgresql://user:password@host:5432/postgres")
    return value


def _check_embed_secret(value: SecretStr | None) -> SecretStr | None:
    if value is not None and len(value.get_secret_value()) < 32:
        raise ValueError("must have at least 32 characters")
    return value


def _check_timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:  # an unknown zone is a KeyError, a folder of zones an OSError
        raise ValueError("must be an IANA time zone such as UTC or Europe/Berlin") from error
    return value


def _read_deployments(value: object) -> object:
    """Read "name=model, name=model" as written in the environment."""
    if not isinstance(value, str):
        return value
    deployments = {}
    for entry in filter(None, (part.strip() for part in value.split(","))):
        name, equals, model = (part.strip() for part in entry.partition("="))
        if not name or not equals or not model:
            raise ValueError("must be a list like azure/chat-prod=gpt-4o,azure/small=gpt-4o-mini")
        deployments[name] = model
    return deployments


def _read_providers(value: object) -> object:
    """Read "host=provider, host=provider" as it stands in the environment; hosts in lower case."""
    if isinstance(value, str):
        value = [entry.partition("=") for entry in filter(None, (part.strip() for part in value.split(",")))]
        value = {host: provider for host, _, provider in value}
    if not isinstance(value, Mapping):
        return value
    named = {str(host).strip().lower(): str(provider).strip().lower() for host, provider in value.items()}
    if not all(named) or not all(named.values()) or any("/" in host for host in named):
        raise ValueError("it must be a list of hosts like llm-gw.example.com=openai,10.0.0.5:8080=anthropic")
    return named


def _read_names(value: object) -> object:
    """Read "name, name" as it stands in the environment; lower case."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, Collection):
        return value
    return tuple(name for name in (str(name).strip().lower() for name in names) if name)


def _check_tags(names: tuple[str, ...]) -> tuple[str, ...]:
    # As `ingest.record.cleaning.clean_tags` and the database take them.
    if len(set(names)) > _MOST_TAGS or not all(re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) for name in names):
        raise ValueError(
            f"must be at most {_MOST_TAGS} names like plan,team: lower-case letters, digits and underscores, at most 40"
        )
    return tuple(dict.fromkeys(names))


def _check_region(value: str | None) -> str | None:
    if value is None:
        return None
    from pricing.overlay import known_regions  # the price book is needed only where a region is set

    if value not in known_regions():
        raise ValueError(f"must be one of {', '.join(sorted(known_regions()))}")
    return value


def _default_home() -> Path:
    return platformdirs.user_data_path("treering", appauthor=False)


OptionalText = Annotated[str | None, BeforeValidator(_blank_to_none)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_blank_to_none)]


class Settings(BaseSettings):
    """Where the data goes and how it is treated. Made by `load_settings`.

    Attributes:
        supabase_url: Address of the Supabase project (`SUPABASE_URL`).
        supabase_secret_key: Secret key of the project, for writing (`SUPABASE_SECRET_KEY`, older name
            `SUPABASE_SERVICE_ROLE_KEY`).
        supabase_publishable_key: Public key of the project, for viewers (`SUPABASE_PUBLISHABLE_KEY`, older name
            `SUPABASE_ANON_KEY`).
        supabase_jwt_secret: Shared secret of an older project that signs viewers' tokens and insert-only keys, HS256
            (`SUPABASE_JWT_SECRET`).
        supabase_jwt_signing_key: Private key as a JWK that signs them instead, ES256 or RS256
            (`SUPABASE_JWT_SIGNING_KEY`).
        supabase_db_url: Direct address of the database, preferred over the API (`SUPABASE_DB_URL`).
        home: Folder of the embedded database and of the journal (`TREERING_HOME`).
        enable_observability: False turns recording off altogether (`ENABLE_OBSERVABILITY`).
        metrics_retention_days: Age in days after which raw rows are archived (`METRICS_RETENTION_DAYS`).
        rollup_retention_days: Age in days after which rollups are deleted too; None keeps them indefinitely
            (`TREERING_ROLLUP_RETENTION_DAYS`). Not below `metrics_retention_days`.
        archive_url: Folder or fsspec address of the archive (`TREERING_ARCHIVE_URL`). Without one the embedded
            database archives to its home, and no other database deletes any row.
        statement_url: Folder or fsspec address that the statement of each month goes to by schedule
            (`TREERING_STATEMENT_URL`).
        timezone: IANA zone of reports (`TREERING_TIMEZONE`).
        fallback_model: Model whose price stands in for an unknown one whose name is of OpenAI's kind; None leaves such
            a cost unknown (`TREERING_FALLBACK_MODEL`, empty for None).
        secret_key: Key, or several separated by commas, that seals addresses and secrets of channels
            (`TREERING_SECRET_KEY`).
        dashboard_url: Address of the dashboard, for links in messages (`TREERING_DASHBOARD_URL`).
        embed_secret: Secret with which the customer's product signs for whom it embeds the app, at least 32 characters
            (`TREERING_EMBED_SECRET`).
        deployments: Names of the customer's own (Azure deployments, gateway routes) to model names
            (`TREERING_DEPLOYMENTS`, "azure/chat-prod=gpt-4o,…").
        providers: Who answers at which host of the customer's own (`TREERING_PROVIDERS`,
            "llm-gw.example.com=openai,10.0.0.5:8080=anthropic").
        trusted_costs: Hosts and providers whose reported cost is in US dollars and counts instead of the price book,
            beside OpenRouter, Perplexity and xAI (`TREERING_TRUSTED_COSTS`, separated by commas).
        tags: Names of up to three tags that calls may carry as dimensions of every figure, separated by commas
            (`TREERING_TAGS`, "plan,team").
        region: Region whose data-residency uplift applies to the models that have one (`TREERING_REGION`).
        update_prices: Whether the worker fetches the published price catalogue (`TREERING_UPDATE_PRICES`).
        auto_reprice: Whether the worker prices calls of the last 30 days again when a price becomes known or is
            corrected (`TREERING_AUTO_REPRICE`).
        hash_salt: Key of the hashes of prompts; without it a random one is kept in `home` (`TREERING_HASH_SALT`).
        prompt_blocks: Whether `track` records salted hashes of the beginnings of prompts, from which savings by caching
            are measured (`TREERING_PROMPT_BLOCKS`).
        allow_private_webhooks: Whether alerts may be sent to private, loopback and link-local addresses
            (`TREERING_ALLOW_PRIVATE_WEBHOOKS`).
        fallback_channel: Where the worker tells of messages that other channels did not get: an address for apprise,
            or a web address with the signing secret after its # (`TREERING_FALLBACK_CHANNEL`).
        openai_admin_key: Admin key that may read the organization's costs and usage (`OPENAI_ADMIN_KEY`).
        openai_admin_url: Address of the API that is read with it. Not `OPENAI_BASE_URL`: that may be a gateway, which
            must not see the admin key (`TREERING_OPENAI_ADMIN_URL`).
        openai_projects: OpenAI projects whose costs are compared, separated by commas; None for the whole organization
            (`TREERING_OPENAI_PROJECTS`).
        anthropic_admin_key: Admin key that may read the organization's costs and usage (`ANTHROPIC_ADMIN_KEY`).
        anthropic_admin_url: Address of the API that is read with it (`TREERING_ANTHROPIC_ADMIN_URL`).
        drift_threshold: Difference between bill and record, as a fraction of the bill, above which `treering reconcile`
            reports it by its exit code (`TREERING_DRIFT_THRESHOLD`).
    """

    # Only the aliases are read: by its bare name the field `home` would be filled from the shell's $HOME.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    supabase_url: Annotated[OptionalText, AfterValidator(_check_url)] = Field(
        default=None, validation_alias="SUPABASE_URL"
    )
    supabase_secret_key: OptionalSecret = Field(
        default=None, validation_alias=AliasChoices("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
    )
    supabase_publishable_key: OptionalText = Field(
        default=None, validation_alias=AliasChoices("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY")
    )
    supabase_jwt_secret: OptionalSecret = Field(default=None, validation_alias="SUPABASE_JWT_SECRET")
    supabase_jwt_signing_key: OptionalSecret = Field(default=None, validation_alias="SUPABASE_JWT_SIGNING_KEY")
    supabase_db_url: Annotated[OptionalSecret, AfterValidator(_check_database_url)] = Field(
        default=None, validation_alias="SUPABASE_DB_URL"
    )
    home: Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())] = Field(
        default_factory=_default_home, validation_alias="TREERING_HOME"
    )
    enable_observability: bool = Field(default=True, validation_alias="ENABLE_OBSERVABILITY")
    metrics_retention_days: int = Field(default=90, ge=1, le=36_500, validation_alias="METRICS_RETENTION_DAYS")
    rollup_retention_days: int | None = Field(
        default=None, ge=1, le=36_500, validation_alias="TREERING_ROLLUP_RETENTION_DAYS"
    )
    archive_url: OptionalText = Field(default=None, validation_alias="TREERING_ARCHIVE_URL")
    statement_url: OptionalText = Field(default=None, validation_alias="TREERING_STATEMENT_URL")
    timezone: Annotated[str, AfterValidator(_check_timezone)] = Field(
        default="UTC", validation_alias="TREERING_TIMEZONE"
    )
    fallback_model: OptionalText = Field(default="gpt-4o", validation_alias="TREERING_FALLBACK_MODEL")
    secret_key: OptionalSecret = Field(default=None, validation_alias="TREERING_SECRET_KEY")
    dashboard_url: Annotated[OptionalText, AfterValidator(_check_dashboard_url)] = Field(
        default=None, validation_alias="TREERING_DASHBOARD_URL"
    )
    embed_secret: Annotated[OptionalSecret, AfterValidator(_check_embed_secret)] = Field(
        default=None, validation_alias="TREERING_EMBED_SECRET"
    )
    # NoDecode: the value is our own short form, not JSON.
    deployments: Annotated[dict[str, str], NoDecode, BeforeValidator(_read_deployments)] = Field(
        default_factory=dict, validation_alias="TREERING_DEPLOYMENTS"
    )
    providers: Annotated[dict[str, str], NoDecode, BeforeValidator(_read_providers)] = Field(
        default_factory=dict, validation_alias="TREERING_PROVIDERS"
    )
    trusted_costs: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_names)] = Field(
        default=(), validation_alias="TREERING_TRUSTED_COSTS"
    )
    tags: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_names), AfterValidator(_check_tags)] = Field(
        default=(), validation_alias="TREERING_TAGS"
    )
    region: Annotated[OptionalText, AfterValidator(_check_region)] = Field(
        default=None, validation_alias="TREERING_REGION"
    )
    update_prices: bool = Field(default=True, validation_alias="TREERING_UPDATE_PRICES")
    auto_reprice: bool = Field(default=True, validation_alias="TREERING_AUTO_REPRICE")
    hash_salt: OptionalSecret = Field(default=None, validation_alias="TREERING_HASH_SALT")
    prompt_blocks: bool = Field(default=True, validation_alias="TREERING_PROMPT_BLOCKS")
    allow_private_webhooks: bool = Field(default=False, validation_alias="TREERING_ALLOW_PRIVATE_WEBHOOKS")
    fallback_channel: Annotated[OptionalSecret, AfterValidator(_check_fallback_channel)] = Field(
        default=None, validation_alias="TREERING_FALLBACK_CHANNEL"
    )
    openai_admin_key: OptionalSecret = Field(default=None, validation_alias="OPENAI_ADMIN_KEY")
    openai_admin_url: Annotated[str, AfterValidator(_check_api_url)] = Field(
        default="https://api.openai.com/v1", validation_alias="TREERING_OPENAI_ADMIN_URL"
    )
    openai_projects: OptionalText = Field(default=None, validation_alias="TREERING_OPENAI_PROJECTS")
    anthropic_admin_key: OptionalSecret = Field(default=None, validation_alias="ANTHROPIC_ADMIN_KEY")
    anthropic_admin_url: Annotated[str, AfterValidator(_check_api_url)] = Field(
        default="https://api.anthropic.com/v1", validation_alias="TREERING_ANTHROPIC_ADMIN_URL"
    )
    drift_threshold: Decimal = Field(
        default=Decimal("0.05"), ge=0, le=1000, validation_alias="TREERING_DRIFT_THRESHOLD"
    )

    @field_validator("rollup_retention_days")
    @classmethod
    def _outlive_raw_rows(cls, days: int | None, info: ValidationInfo) -> int | None:
        if days is not None and days < info.data.get("metrics_retention_days", 1):
            raise ValueError("must not be below METRICS_RETENTION_DAYS: rollups outlive raw rows")
        return days


def load_settings(**overrides: Any) -> Settings:
    """Read the settings: each from its argument, else from its environment variable, else its default.

    Args:
        **overrides: Values by field name of `Settings`. None counts as not given; an empty string means "none".

    Returns:
        The checked, frozen settings.

    Raises:
        ConfigurationError: A value is wrong; the message names its environment variable and never shows a secret.
        TypeError: An override is not a field of `Settings`.
    """
    unknown = sorted(overrides.keys() - Settings.model_fields.keys())
    if unknown:
        raise TypeError(f"no such setting: {', '.join(unknown)}")
    values = {_variable_of(name): value for name, value in overrides.items() if value is not None}
    fallback = _variable_of("fallback_model")
    if fallback not in values and not os.environ.get(fallback, "unset").strip():
        values[fallback] = ""  # set but empty is deliberate; env_ignore_empty would hide it
    try:
        return Settings(**values)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None  # the cause would print the values


def _variable_of(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]
    assert isinstance(alias, str)
    return alias


def _explain(error: ValidationError) -> str:
    problems = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        message = detail["msg"].removeprefix("Value error, ")
        problems.append(f"{detail['loc'][0]}: {message[0].lower()}{message[1:]}")
    return "; ".join(problems)
