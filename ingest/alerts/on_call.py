"""Routes and mute times as people write them, checked before the database checks them again."""

from __future__ import annotations

from datetime import time  # noqa: TC003 -- pydantic reads the annotations at run time
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from ingest.alerts.metrics import CALL_SCOPE, ROUTE_SCOPE, unknown_dimensions
from ingest.alerts.rules import Labels, Names, Zone  # noqa: TC001 -- as above

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_WEEK_S = 7 * 24 * 3600


def _check_weekdays(value: list[int]) -> list[int]:
    if value != sorted(set(value)):
        raise ValueError("weekdays must be distinct and ascending, 1 for Monday")
    return value


Weekday = Annotated[int, Field(ge=1, le=7)]


class RouteDraft(BaseModel):
    """Channels for all alerts that match, as `save_alert_route` takes it.

    Attributes:
        name: Unique name.
        severity: Only alerts of it; None any.
        labels: Only alerts of rules with all of these labels.
        scope: Only alerts whose group, or whose rule's scope, is among these names.
        after_s: Only where nobody has acknowledged for so long: an escalation.
        channels: Numbers of the channels.
        is_enabled: Whether it sends.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=120)
    severity: Literal["warning", "critical"] | None = None
    labels: Labels = Field(default_factory=dict)
    scope: dict[str, Names] = Field(default_factory=dict)
    after_s: int = Field(default=0, ge=0, le=_WEEK_S)
    channels: list[int] = Field(min_length=1, max_length=20)
    is_enabled: bool = True

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        if wrong := unknown_dimensions(self.scope, CALL_SCOPE | ROUTE_SCOPE):
            raise ValueError(f"there is no dimension {', '.join(wrong)}")
        return self


class MuteDraft(BaseModel):
    """When rules send nothing, as `save_alert_mute` takes it: a window, hours of weekdays, or both.

    Attributes:
        name: Unique name.
        rules: Numbers of the rules; none are all.
        labels: Only rules with all of these labels.
        starts_at: Beginning of the window, with its zone.
        ends_at: End of the window.
        weekdays: Days on which the hours begin, 1 for Monday; None without hours.
        from_time: When they begin.
        to_time: When they end; before `from_time` on the next day.
        timezone: IANA zone of the hours.
        is_enabled: Whether it holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=120)
    rules: list[int] = Field(default_factory=list)
    labels: Labels = Field(default_factory=dict)
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    weekdays: Annotated[list[Weekday], Field(min_length=1), AfterValidator(_check_weekdays)] | None = None
    from_time: time | None = None
    to_time: time | None = None
    timezone: Zone = "UTC"
    is_enabled: bool = True

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        window, hours = (self.starts_at, self.ends_at), (self.from_time, self.to_time)
        if self.weekdays is None and (None in window or hours != (None, None)):
            raise ValueError("a mute time has a beginning and an end, or weekdays with hours")
        if self.weekdays is not None and None in hours:
            raise ValueError("weekdays need the hours from_time and to_time")
        if self.starts_at is not None and self.ends_at is not None and self.ends_at <= self.starts_at:
            raise ValueError("a mute time ends after it starts")
        if self.weekdays is not None and self.from_time == self.to_time:
            raise ValueError("the hours of a mute time must differ")
        return self


def read_labels(text: str) -> dict[str, str]:
    """Read labels as they are typed: `team=chat, tier=1`.

    Raises:
        ValueError: A part is not `name=value`.
    """
    labels = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, sign, value = part.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise ValueError(f"labels are written name=value, separated by commas: {part}")
        labels[name.strip()] = value.strip()
    return labels


def write_labels(labels: dict[str, str]) -> str:
    """Write labels as `read_labels` reads them."""
    return ", ".join(f"{name}={value}" for name, value in labels.items())
