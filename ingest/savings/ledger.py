"""What became of suggestions: kept with their figures, measured after they were accepted, summed as realised."""

from __future__ import annotations

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
    return sum(_measure(database, one, now) for one in chosen)


def realised(entries: Iterable[LedgerEntry], *, since: date | None, today: date) -> Decimal:
    """Add up what verified suggestions have saved, from their day or from `since` on, up to today, in US dollars."""
    total = Decimal(0)
    for one in entries:
        if one.state == "verified" and one.accepted_on is not None and one.measured_expected is not None:
            begin = one.accepted_on if since is None else max(one.accepted_on, since)
            total += one.measured_expected / _DAYS_A_MONTH * max((today - begin).days, 0)
    return total.quantize(_CENT)


def _measure(database: Database, one: LedgerEntry, now: datetime) -> bool:
    """Measure by the users who were held out, where there are enough, else by the days before."""
    assert one.accepted_on is not None
    today = now.astimezone(UTC).date()
    scope = {
        "provider": one.provider,
        "feature": one.feature,
        "model": one.model if one.feature is None else None,
    }
    first, last = one.accepted_on - _WINDOW, min(one.accepted_on + _WINDOW + _DAY, today)
    found = _by_holdout(database, one, scope, first, last)
    if found is None:
        days = {"from_day": first.isoformat(), "to_day": last.isoformat()}
        found = measure(fetch(database, list[UnitCost], "get_unit_costs", **days, **scope), one.accepted_on)
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
