"""Further conditions of a rule: thresholds on other metrics that must hold as well."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ingest.alerts.metrics import METRICS, format_metric, metric_named

if TYPE_CHECKING:
    from collections.abc import Iterable

_SIGNS: Final = {">": "above", "<": "below"}
_TYPED: Final = re.compile(r"(?P<metric>[^<>]+?)\s*(?P<sign>[<>])\s*(?P<number>[0-9.]+)\s*%?")


class Stated(Protocol):
    """A condition, typed or as the database has it."""

    @property
    def metric(self) -> str:
        """What is measured."""

    @property
    def comparator(self) -> str:
        """`above` or `below`."""

    @property
    def threshold(self) -> Decimal:
        """In the unit of the metric."""


class Condition(BaseModel):
    """A threshold on another metric, over the window, scope and group of the rule.

    Attributes:
        metric: What is measured: a sum, a share or a percentile of the same calls or requests.
        comparator: On which side of the threshold the condition holds.
        threshold: In the unit of the metric.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str
    comparator: Literal["above", "below"] = "above"
    threshold: Annotated[Decimal, Field(ge=0, lt=Decimal("1e15"), allow_inf_nan=False)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.metric not in METRICS or not METRICS[self.metric].can_be_condition:
            allowed = ", ".join(metric.name for metric in METRICS.values() if metric.can_be_condition)
            raise ValueError(f"{self.metric} cannot be a condition: choose one of {allowed}")
        most = METRICS[self.metric].unit.highest
        if most is not None and self.threshold > most:
            raise ValueError("a rate or share is a fraction from 0 to 1")
        return self


def read_conditions(text: str) -> list[Condition]:
    """Read conditions as they are typed, metrics by their name or label: `requests > 100, Error rate > 10%`.

    Raises:
        ValueError: A part is not `metric > number` or `metric < number`, or names no metric.
    """
    names = {metric.label.lower(): metric.name for metric in METRICS.values()}
    conditions = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        typed = _TYPED.fullmatch(part)
        if typed is None or typed["number"].count(".") > 1 or not any(map(str.isdigit, typed["number"])):
            raise ValueError(f"a condition is written metric > number or metric < number: {part}")
        name = names.get(typed["metric"].strip().lower(), typed["metric"].strip())
        if name not in METRICS or not METRICS[name].can_be_condition:
            raise ValueError(f"there is no metric {name} for a condition")
        threshold = Decimal(typed["number"]) / METRICS[name].unit.factor
        conditions.append(Condition(metric=name, comparator=_SIGNS[typed["sign"]], threshold=threshold))
    return conditions


def write_conditions(conditions: Iterable[Stated]) -> str:
    """Write conditions as `read_conditions` reads them."""
    signs = {word: sign for sign, word in _SIGNS.items()}
    parts = []
    for condition in conditions:
        unit = metric_named(condition.metric).unit
        number = (condition.threshold * unit.factor).normalize()
        parts.append(f"{condition.metric} {signs[condition.comparator]} {number:f}{'%' if unit.typed == '%' else ''}")
    return ", ".join(parts)


def describe_conditions(conditions: Iterable[Stated]) -> str:
    """Write conditions as the end of a sentence; nothing where there are none."""
    words = {"above": "over", "below": "under"}
    parts = []
    for one in conditions:
        label, threshold = metric_named(one.metric).label, format_metric(one.metric, one.threshold)
        parts.append(f" and {label[0].lower()}{label[1:]} {words[one.comparator]} {threshold}")
    return "".join(parts)
