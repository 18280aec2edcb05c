"""What Settings shows and changes."""

from __future__ import annotations

from datetime import datetime, time  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003

from pydantic import Field

from ingest.documents.alerts import AlertRule  # noqa: TC001
from ingest.documents.document import Document


class Member(Document):
    """A person with a role: member, tenant (of the tenant named), analyst or ops."""

    user_id: str
    role: str
    tenant_id: str | None = None
    added_at: datetime | None = None
    added_by: str | None = None


class Channel(Document):
    """Where messages go. The address itself is write-only; only its host or kind of service comes back."""

    channel_id: int
    name: str
    kind: str = "webhook"
    target_hint: str | None = None
    max_per_minute: int = 60
    max_per_hour: int | None = None
    is_enabled: bool = True


class Budget(Document):
    """US dollars per calendar period; `used` and `forecast` are shares of the amount."""

    budget_id: int
    name: str
    amount: Decimal
    period: str = "month"
    timezone: str = "UTC"
    scope: dict[str, list[str]] = Field(default_factory=dict)
    steps: tuple[Decimal, ...] = ()
    forecast_step: Decimal | None = None
    channels: tuple[int, ...] = ()
    is_enabled: bool = True
    used: Decimal | None = None
    forecast: Decimal | None = None


class Route(Document):
    """Channels for all alerts that match its severity, labels and scope; after `after_s` without acknowledgement."""

    route_id: int
    name: str
    severity: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    scope: dict[str, list[str]] = Field(default_factory=dict)
    after_s: int = 0
    channels: tuple[int, ...] = ()
    is_enabled: bool = True


class Mute(Document):
    """When rules send nothing; without rules and labels all of them."""

    mute_id: int
    name: str
    rules: tuple[int, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    weekdays: tuple[int, ...] | None = None
    from_time: time | None = None
    to_time: time | None = None
    timezone: str = "UTC"
    is_enabled: bool = True
    is_active: bool = False


class Configuration(Document):
    """Document of `get_settings`. For anybody but ops only `access` is filled."""

    access: str
    members: tuple[Member, ...] = ()
    rules: tuple[AlertRule, ...] = ()
    budgets: tuple[Budget, ...] = ()
    channels: tuple[Channel, ...] = ()
    routes: tuple[Route, ...] = ()
    mutes: tuple[Mute, ...] = ()
    dimensions: dict[str, list[str]] = Field(default_factory=dict)
    has_vault: bool = False


class ReportSchedule(Document):
    """When and where a report leaves; `names_tenants`: whether it may name tenants, who may be people."""

    kind: str
    is_enabled: bool = False
    local_hour: int = 8
    timezone: str = "UTC"
    channels: tuple[int, ...] = ()
    names_tenants: bool = False
