"""What a change saved: unit cost before and after at equal mix, with an interval.

For each day the unit costs of all strata are averaged with the weights of the days after the change, so that a shift
between features is no effect. Before and after are two samples of days; Welch's t gives the interval of the difference
of their means (B. L. Welch, Biometrika 34, 1947). A day without calls of a stratum takes that stratum's own mean.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from statistics import fmean, variance
from typing import TYPE_CHECKING, Final, Literal

from ingest.savings.statistics import t_quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from ingest.documents.savings import UnitCost

FEWEST_DAYS: Final = 5
"""Fewer days on either side measure nothing."""
CONFIDENCE: Final = 0.90
"""Of the interval that is shown."""

DAYS_A_MONTH: Final = 30
VERIFIED_AT: Final = 0.975
"""An effect is verified where it is above nothing with this confidence: in one of forty cases without any effect."""

# Less than this part of what was expected is no success.
_FAILED_BELOW: Final = 0.2

Result = Literal["measured", "verified", "withdrawn"]
Method = Literal["before_after", "holdout"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a change saves, in US dollars a month at the traffic after it.

    Attributes:
        low: Lower end of the 90 % interval.
        expected: The estimate.
        high: Upper end.
        days_before: Days before the change.
        days_after: Days after it.
        is_verified: Whether it is above nothing with 97.5 % confidence.
        method: What it was compared with: the days before, or users who were held out.
    """

    low: float
    expected: float
    high: float
    days_before: int
    days_after: int
    is_verified: bool
    method: Method = "before_after"

    def result(self, accepted_expected: float) -> Result:
        """Return verified, withdrawn where even the upper end is below a fifth of what was expected, else measured."""
        if self.is_verified:
            return "verified"
        return "withdrawn" if self.high < _FAILED_BELOW * accepted_expected else "measured"

    def scaled(self, times: float) -> Measured:
        """The same for so many times the traffic, or for a part of it."""
        return replace(self, low=self.low * times, expected=self.expected * times, high=self.high * times)


def measure(rows: Iterable[UnitCost], changed_on: date) -> Measured | None:
    """Compare the days before a change with those after it; the day itself counts for neither.

    Args:
        rows: Units of work and their cost by day and stratum.
        changed_on: The day of the change.

    Returns:
        None with fewer than five days, or no work, on either side.
    """
    before: dict[date, dict[str, tuple[float, int]]] = defaultdict(dict)
    after: dict[date, dict[str, tuple[float, int]]] = defaultdict(dict)
    for row in rows:
        if row.units and row.day != changed_on:
            side = before if row.day < changed_on else after
            side[row.day][row.stratum] = float(row.cost), row.units
    if len(before) < FEWEST_DAYS or len(after) < FEWEST_DAYS:
        return None
    units_after = _units(after.values())
    common = {name: units for name, units in units_after.items() if name in _units(before.values())}
    total = sum(common.values())
    if not total:
        return None
    weights = {name: units / total for name, units in common.items()}
    old, new = _daily(before, weights), _daily(after, weights)
    saved = fmean(old) - fmean(new)
    spread_old, spread_new = variance(old) / len(old), variance(new) / len(new)
    error = math.sqrt(spread_old + spread_new)
    freedom = _freedom(spread_old, len(old), spread_new, len(new))
    per_month = total / len(after) * DAYS_A_MONTH
    margin = t_quantile((1 + CONFIDENCE) / 2, freedom) * error
    return Measured(
        low=(saved - margin) * per_month,
        expected=saved * per_month,
        high=(saved + margin) * per_month,
        days_before=len(old),
        days_after=len(new),
        is_verified=saved > t_quantile(VERIFIED_AT, freedom) * error,
    )


def _units(days: Iterable[Mapping[str, tuple[float, int]]]) -> dict[str, int]:
    sums: defaultdict[str, int] = defaultdict(int)
    for strata in days:
        for name, (_, units) in strata.items():
            sums[name] += units
    return dict(sums)


def _daily(days: Mapping[date, Mapping[str, tuple[float, int]]], weights: Mapping[str, float]) -> Sequence[float]:
    costs: defaultdict[str, float] = defaultdict(float)
    for strata in days.values():
        for name, (cost, _) in strata.items():
            costs[name] += cost
    units = _units(days.values())
    means = {name: costs[name] / units[name] for name in weights if units.get(name)}
    found = []
    for strata in days.values():
        unit_costs = {name: cost / count for name, (cost, count) in strata.items()}
        found.append(sum(weight * unit_costs.get(name, means.get(name, 0.0)) for name, weight in weights.items()))
    return found


def _freedom(old: float, old_days: int, new: float, new_days: int) -> float:
    """Welch's and Satterthwaite's degrees of freedom; those of both samples where nothing varies."""
    if old + new <= 0:
        return old_days + new_days - 2
    return float((old + new) ** 2 / (old**2 / (old_days - 1) + new**2 / (new_days - 1)))
