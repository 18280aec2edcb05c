"""What became of suggestions: kept with their figures, measured after they were accepted, summed as realised."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ingest.database import fetch
from ingest.documents.savings import Ledger, UnitCost, UserCosts
from ingest.savings.holdout import measure_holdout
from ingest.savings.kinds import REMOVALS
from ingest.savings.measuring import FEWEST_DAYS, measure
from ingest.savings.plan import headline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ingest.database import Database
    from ingest.documents.savings import LedgerEntry
    from ingest.savings.measuring import Measured
    from ingest.savings.plan import Plan

# As long as before and after are compared: four weeks have every weekday four times.
_WINDOW: Final = timedelta(days=28)
_DAY: Final = timedelta(days=1)
_DAYS_A_MONTH: Final = 30
_CENT: Final = Decimal("0.01")


def read_ledger(database: Database) -> Ledger:
    """Read every suggestion with its state. Analysts and ops."""
    return fetch(database, Ledger, "get_saving_ledger")


def update_ledger(database: Database, plan: Plan, *, now: datetime) -> int:
    """Keep the plan's figures and measure what was accepted.

    Args:
        database: Opened as service_role.
        plan: What can be saved now.
        now: The time, aware.

    Returns:
        How many accepted suggestions were measured.
    """
    database.call(
        "record_savings",
        suggestions=[
            {
                "suggestion_key": one.key,
                "kind": one.kind,
                "provider": one.provider,
                "model": one.model,
                "feature": one.feature,
                "replacement": one.replacement,
                "headline": headline(one),
                "needs_evaluation": one.needs_evaluation,
                "low": str(one.low),
                "expected": str(one.saved_per_month),
                "high": str(one.high),
            }
            for one in plan.suggestions
        ],
        as_of=now,
    )
    chosen = [one for one in read_ledger(database).entries if one.state in ("accepted", "measured", "verified")]
    return sum(_measure(database, one, comparison(one, chosen, now.astimezone(UTC).date()), now) for one in chosen)


def realised(entries: Iterable[LedgerEntry], *, since: date | None, today: date) -> Decimal:
    """Add up what verified suggestions have saved, from their day or from `since` on, up to today, in US dollars."""
    total = Decimal(0)
    for one in entries:
        if one.state == "verified" and one.accepted_on is not None and one.measured_expected is not None:
            begin = one.accepted_on if since is None else max(one.accepted_on, since)
            total += one.measured_expected / _DAYS_A_MONTH * max((today - begin).days, 0)
    return total.quantize(_CENT)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which days tell what a change saved, where other changes were made to the same calls.

    Attributes:
        first: First day before.
        changed_from: Day of the first change of those that cannot be told apart.
        changed_to: Day of the last one; days between both count for neither side.
        last: First day that does not count any more.
        share: Part of what is measured that is this suggestion's, by what was expected of each.
        until: First day that does not count for users who were held out: they alone tell changes apart.
    """

    first: date
    changed_from: date
    changed_to: date
    last: date
    share: float
    until: date


def comparison(one: LedgerEntry, accepted: Iterable[LedgerEntry], today: date) -> Comparison:
    """Choose the days that tell what a change saved, so that no other change is counted with it.

    Changes to the same calls within five days are measured as one and share what came of it. Of others, an earlier one
    begins the days before and a later one ends the days after. Calls are taken to be the same where the provider is and
    the feature, or one of both is about all features.

    Args:
        one: An accepted suggestion.
        accepted: All of them.
        today: The current UTC day.
    """
    on = _day_of(one)
    others = [
        other
        for other in accepted
        if other.suggestion_key != one.suggestion_key
        and other.provider == one.provider
        and (other.feature == one.feature or None in (other.feature, one.feature))
    ]
    together = [other for other in others if abs((_day_of(other) - on).days) <= FEWEST_DAYS]
    days = [on, *map(_day_of, together)]
    apart = [_day_of(other) for other in others if other not in together]
    own = float(one.accepted_expected or 0)
    expected = own + sum(float(other.accepted_expected or 0) for other in together)
    until = min(on + _WINDOW + _DAY, today)
    return Comparison(
        first=max([on - _WINDOW, *(day + _DAY for day in apart if day < on)]),
        changed_from=min(days),
        changed_to=max(days),
        last=min([until, *(day for day in apart if day > on)]),
        share=own / expected if expected else 1 / len(days),
        until=until,
    )


def _day_of(entry: LedgerEntry) -> date:
    assert entry.accepted_on is not None
    return entry.accepted_on


def _measure(database: Database, one: LedgerEntry, chosen: Comparison, now: datetime) -> bool:
    """Measure by the users who were held out, where there are enough, else by the days before."""
    scope = {
        "provider": one.provider,
        "feature": one.feature,
        "model": one.model if one.feature is None else None,
    }
    found = _by_holdout(database, one, scope, _day_of(one) - _WINDOW, chosen.until)
    if found is None:
        found = _by_days(database, chosen, scope)
    if found is None:
        return False
    figures = {name: f"{getattr(found, name):.2f}" for name in ("low", "expected", "high")}
    state = found.result(float(one.accepted_expected or 0))
    database.call(
        "record_saving_result",
        suggestion_key=one.suggestion_key,
        state=state,
        **figures,
        measured_by=found.method,
        as_of=now,
    )
    return True


def _by_days(database: Database, chosen: Comparison, scope: Mapping[str, str | None]) -> Measured | None:
    days = {"from_day": chosen.first.isoformat(), "to_day": chosen.last.isoformat()}
    rows = fetch(database, list[UnitCost], "get_unit_costs", **days, **scope)
    kept = [row for row in rows if not chosen.changed_from <= row.day <= chosen.changed_to]
    found = measure(kept, chosen.changed_from)
    return None if found is None else found.scaled(chosen.share)


def _by_holdout(
    database: Database, one: LedgerEntry, scope: Mapping[str, str | None], first: date, last: date
) -> Measured | None:
    assert one.accepted_on is not None
    begin = one.accepted_on + _DAY
    if one.holdout_share is None or (last - begin).days < FEWEST_DAYS:
        return None

    def read(from_day: date, to_day: date) -> UserCosts:
        days = {"from_day": from_day.isoformat(), "to_day": to_day.isoformat()}
        return fetch(database, UserCosts, "get_user_costs", **days, **scope)

    before, after = read(first, one.accepted_on), read(begin, last)
    found = measure_holdout(
        before.users if before.part == after.part else (),
        after.users,
        one.suggestion_key,
        share=float(one.holdout_share),
        unit="day" if one.kind in REMOVALS else "call",
        days=(last - begin).days,
    )
    return None if found is None else found.scaled(after.part)
