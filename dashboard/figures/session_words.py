"""What a session comes to, in sentences. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ingest.documents.words import format_duration, format_share, format_usd

if TYPE_CHECKING:
    from decimal import Decimal
    from zoneinfo import ZoneInfo

    from ingest.documents.sessions import Session, SessionTotals

# A prompt that differs by less than this share has stayed as it was.
_NOTEWORTHY: Final = 0.2
# From this share of the cost on the last quarter of the turns is worth a word.
_LATE: Final = 0.4
_FEWEST_TURNS: Final = 4
_ALMOST_ALL: Final = 0.995
_HARDLY_ANY: Final = 0.01
# A session that begins this soon after the end of the archive may have begun before it.
NEAR_ARCHIVE: Final = timedelta(days=7)
_NUMBERS: Final = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def describe_session(totals: SessionTotals, resent: Decimal | None) -> str:
    """Say what a session cost, how its prompt grew, and what of the cost came late or was context sent again.

    Args:
        totals: Of at least one turn.
        resent: US dollars for context sent again; None for unknown.
    """
    text = f"{_turns(totals)} {_cost(totals)}"
    if growth := _growth(totals):
        text += f"; {growth}"
    if late := _late(totals):
        text += f": {late}" if growth else f"; {late}"
    if resent and totals.cost:
        share = float(resent / totals.cost)
        part = "Almost all" if share >= _ALMOST_ALL else "Less than 1%" if share < _HARDLY_ANY else f"About {share:.0%}"
        text += f". {part} of the cost is context that had been sent before"
    return f"{text}."


def describe_missing(session: Session, zone: ZoneInfo) -> str:
    """Say that turns may be missing because their calls were archived; nothing where none can be."""
    begin = session.totals.first_at
    if session.archived_until is None or (begin is not None and begin - session.archived_until > NEAR_ARCHIVE):
        return ""
    local = session.archived_until.astimezone(zone)
    return (
        f"Calls from before {local.day} {local:%B %Y} are in the archive. If this session has turns from before, they"
        " are in no figure here; treering archive reads them."
    )


def session_facts(totals: SessionTotals, zone: ZoneInfo) -> list[tuple[str, str]]:
    """Return who and what a session was about, as (name, text), without what was not recorded."""
    facts = [
        ("User" if totals.user_count == 1 else f"{totals.user_count:,} users", _names(totals.users, totals.user_count)),
        ("Tenant", _names(totals.tenants)),
        *((f"Tag {name}", _names(values)) for name, values in totals.tags.items()),
        ("Feature", _names(totals.features)),
        ("Time", _time(totals, zone)),
        ("Not answered", _failed(totals)),
    ]
    return [(name, text) for name, text in facts if text]


def duration_ms(totals: SessionTotals) -> float | None:
    """Return the time from the first to the last turn in milliseconds; None without a turn."""
    if totals.first_at is None or totals.last_at is None:
        return None
    return (totals.last_at - totals.first_at).total_seconds() * 1000


def _turns(totals: SessionTotals) -> str:
    if totals.turns == 1:
        return "One turn"
    duration = duration_ms(totals)
    # Of turns recorded with one moment, as in a batch, the length of the session is not known.
    return f"{totals.turns:,} turns in {format_duration(duration)}" if duration else f"{totals.turns:,} turns"


def _cost(totals: SessionTotals) -> str:
    if totals.cost is None and not totals.fallback_cost:
        return "have no price" if totals.turns > 1 else "has no price"
    parts = [format_usd(totals.cost)] if totals.cost is not None else []
    if totals.fallback_turns:
        parts.append(f"{format_usd(totals.fallback_cost)} at the fallback price")
    text = f"cost {' and '.join(parts)}"
    return f"{text}, {totals.unpriced_turns:,} without a price" if totals.unpriced_turns else text


def _growth(totals: SessionTotals) -> str:
    first, last = totals.first_prompt_tokens, totals.last_prompt_tokens
    if not first or not last or totals.turns < 2:
        return ""
    if last > first * (1 + _NOTEWORTHY):
        return f"the prompt grew from {first:,} to {last:,} tokens"
    if last < first * (1 - _NOTEWORTHY):
        return f"the prompt shrank from {first:,} to {last:,} tokens"
    return f"the prompt stayed near {last:,} tokens"


def _late(totals: SessionTotals) -> str:
    if totals.turns < _FEWEST_TURNS or not totals.cost or totals.late_cost is None:
        return ""
    if float(totals.late_cost / totals.cost) < _LATE:
        return ""
    share = format_share(totals.late_cost, totals.cost)
    if totals.late_turns == 1:
        return f"the last turn is {share} of the cost"
    count = _NUMBERS[totals.late_turns] if totals.late_turns < len(_NUMBERS) else f"{totals.late_turns:,}"
    return f"the last {count} turns are {share} of the cost"


def _names(names: tuple[str, ...], count: int = 0) -> str:
    more = max(count - len(names), 0)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def _time(totals: SessionTotals, zone: ZoneInfo) -> str:
    if totals.first_at is None or totals.last_at is None:
        return ""
    first, last = totals.first_at.astimezone(zone), totals.last_at.astimezone(zone)
    end = f"{last:%H:%M:%S}" if first.date() == last.date() else f"{last.day} {last:%b %Y, %H:%M:%S}"
    return f"{first.day} {first:%b %Y, %H:%M:%S} to {end} ({zone.key.replace('_', ' ')})"


def _failed(totals: SessionTotals) -> str:
    parts = [f"{totals.errors:,} failed"] if totals.errors else []
    parts += [f"{totals.cancelled:,} cancelled"] if totals.cancelled else []
    return ", ".join(parts)
