"""What a change saved, told by the users who keep the old way.

Users are the unit: calls of one user resemble each other. Each group's cost of a unit of work is the average over the
strata (feature and operation), weighted by the work of those who have the change. The logarithm of the ratio of both
groups is corrected by what the ratio was before the change, with the slope that the changed group has between its two
periods (A. Deng et al., WSDM 2013, "CUPED"). Its error comes from each user's linearised residual, taken as if the user
were left out (HC3, J. MacKinnon and H. White, J. Econometrics 29, 1985). The degrees of freedom are those of the
residuals themselves, since a few large users may make most of a group. Everything is deterministic.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ingest.savings.measuring import CONFIDENCE, DAYS_A_MONTH, VERIFIED_AT, Measured
from ingest.savings.split import in_holdout
from ingest.savings.statistics import t_quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ingest.documents.savings import UserCost

FEWEST_USERS: Final = 20
"""Fewer users in either group measure nothing."""

# A user who is most of a group says nothing of how users differ.
_MOST_LEVERAGE: Final = 0.9

Unit = Literal["call", "day"]


@dataclass(frozen=True, slots=True)
class _Side:
    """One group in one period: its cost of a unit, and of each user the residual and the part of the group's work."""

    rate: float
    residuals: Mapping[str, float]
    parts: Mapping[str, float]


def measure_holdout(
    before: Iterable[UserCost], after: Iterable[UserCost], suggestion: str, *, share: float, unit: Unit, days: int
) -> Measured | None:
    """Compare users with a change with those who are held out.

    Args:
        before: Costs of users in the days before the change.
        after: Costs of the same or other users in the days after it.
        suggestion: As given to `in_holdout`.
        share: As given to `in_holdout`.
        unit: The unit of work: an answered call, or a day on which a user was active, which a change that removes
            calls does not change.
        days: How many days `after` is about.

    Returns:
        The saving of those who have the change; None with fewer than 20 users in either group.
    """
    held = _Groups(suggestion, share, unit)
    now, then = held.split(after), held.split(before)
    if min(len({user for user, _ in group}) for group in now) < FEWEST_USERS:
        return None
    weights = _weights(*now)
    if not weights:
        return None
    sides = [_side(group, weights) for group in now]
    earlier = [_side(group, weights) for group in then] if _weights(*then).keys() >= weights.keys() else [_NOBODY] * 2
    if any(side.rate <= 0 for side in sides):
        return None
    slope = _slope(sides[1], earlier[1]) if all(side.rate > 0 for side in earlier) else 0.0
    ratio = math.log(sides[0].rate / sides[1].rate)
    if slope:
        ratio -= slope * math.log(earlier[0].rate / earlier[1].rate)
    error, freedom = _error(sides, earlier, slope)
    cost = sum(amount for (_, stratum), (amount, _) in now[1].items() if stratum in weights)
    per_month = cost / days * DAYS_A_MONTH
    margin = t_quantile((1 + CONFIDENCE) / 2, freedom) * error
    return Measured(
        low=per_month * math.expm1(ratio - margin),
        expected=per_month * math.expm1(ratio),
        high=per_month * math.expm1(ratio + margin),
        days_before=days,
        days_after=days,
        is_verified=ratio > t_quantile(VERIFIED_AT, freedom) * error,
        method="holdout",
    )


_Group = dict[tuple[str, str], tuple[float, int]]


@dataclass(frozen=True, slots=True)
class _Groups:
    suggestion: str
    share: float
    unit: Unit

    def split(self, rows: Iterable[UserCost]) -> tuple[_Group, _Group]:
        """Return cost and units by user and stratum of those held out, and of the others."""
        groups: tuple[_Group, _Group] = ({}, {})
        for row in rows:
            units = row.calls if self.unit == "call" else row.days
            if units or row.cost:
                is_held = in_holdout(row.user_id, self.suggestion, share=self.share)
                groups[0 if is_held else 1][row.user_id, row.stratum] = float(row.cost), units
        return groups


_NOBODY: Final = _Side(0.0, {}, {})


def _sums(group: _Group) -> dict[str, tuple[float, int]]:
    sums: defaultdict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for (_, stratum), (cost, units) in group.items():
        sums[stratum] = sums[stratum][0] + cost, sums[stratum][1] + units
    return dict(sums)


def _weights(held: _Group, changed: _Group) -> dict[str, float]:
    """Return each stratum's part of the work of those who have the change, of strata that both have."""
    other = _sums(held)
    units = {name: count for name, (_, count) in _sums(changed).items() if count and other.get(name, (0, 0))[1]}
    total = sum(units.values())
    return {name: count / total for name, count in units.items()}


def _side(group: _Group, weights: Mapping[str, float]) -> _Side:
    sums = _sums(group)
    rate = sum(weight * sums[name][0] / sums[name][1] for name, weight in weights.items())
    residuals: defaultdict[str, float] = defaultdict(float)
    parts: defaultdict[str, float] = defaultdict(float)
    for (user, name), (cost, units) in group.items():
        if name in weights and rate > 0:
            all_cost, all_units = sums[name]
            residuals[user] += weights[name] * (cost - all_cost / all_units * units) / all_units / rate
            parts[user] += weights[name] * units / all_units
    return _Side(rate, residuals, parts)


def _slope(now: _Side, before: _Side) -> float:
    """How much of a difference between users before is still there, 0 to 1."""
    squares = sum(value * value for value in before.residuals.values())
    products = sum(value * before.residuals.get(user, 0.0) for user, value in now.residuals.items())
    return min(max(products / squares, 0.0), 1.0) if squares else 0.0


def _error(now: list[_Side], before: list[_Side], slope: float) -> tuple[float, float]:
    """Return the standard error of the ratio's logarithm, and its degrees of freedom."""
    variances, freedoms = [], []
    for side, earlier in zip(now, before, strict=True):
        squares = fourths = 0.0
        for user in sorted(side.residuals.keys() | earlier.residuals.keys()):
            part = max(side.parts.get(user, 0.0), earlier.parts.get(user, 0.0) if slope else 0.0)
            residual = side.residuals.get(user, 0.0) - slope * earlier.residuals.get(user, 0.0)
            square = (residual / (1 - min(part, _MOST_LEVERAGE))) ** 2
            squares += square
            fourths += square * square
        even = 1 / sum(part * part for part in side.parts.values()) - 1
        variances.append(squares)
        freedoms.append(max(min(even, squares * squares / fourths) if fourths else even, 1.0))
    total = sum(variances)
    if total <= 0:
        return 0.0, min(freedoms)
    spread = sum(variance * variance / freedom for variance, freedom in zip(variances, freedoms, strict=True))
    return math.sqrt(total), total * total / spread
