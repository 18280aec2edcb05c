"""Cards, legends and rankings: the figures around the charts."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import streamlit as st

from ingest.documents.names import visible_name
from ingest.documents.words import (
    DASH,
    MINUS,
    UNCHANGED,
    format_change,
    format_count,
    format_duration,
    format_exact_usd,
    format_share,
    format_usd,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from ingest.documents.pages import Totals

# Two beside each other on a phone of 360 pixels.
_LEAST_CARD_PX: Final = 150

DeltaColour = Literal["normal", "inverse", "off"]
Arrow = Literal["up", "down", "off"]
MetricColour = Literal["red", "green", "gray"]


@dataclass(frozen=True, slots=True)
class Card:
    """One key figure.

    Attributes:
        label: What it is.
        value: The figure as people read it; a dash for unknown.
        change: The change against the period before, None for nothing to compare with.
        note: One short line on where the figure comes from or what it consists of.
        help: The exact figure or how it is computed, shown on demand.
        colour: "inverse" where more is worse, "off" where more is neither.
        course: Its values over time, drawn as a line without axes; nothing for fewer than two.
    """

    label: str
    value: str
    change: str | None = None
    note: str = ""
    help: str | None = None
    colour: DeltaColour = "off"
    course: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a ranking.

    Attributes:
        name: Of what is ranked.
        value: Its figure.
        share: 0 to 1, None for unknown.
        is_other: Whether it is all that did not fit.
        address: Where its calls are shown.
        exact: The figure to its last digit, shown under the pointer.
    """

    name: str
    value: str
    share: float | None
    is_other: bool = False
    address: str = ""
    exact: str = ""


def spend_card(label: str, totals: Totals, previous: Totals) -> Card:
    """Return the card of a period's spend, with what is not certain and so not in it."""
    return Card(
        label,
        format_usd(totals.cost),
        format_change(totals.cost, previous.cost),
        cost_note(totals),
        f"Exactly {format_exact_usd(totals.cost)}"
        if totals.cost is not None
        else "No call in this period has a price of its own.",
        "inverse",
    )


def cost_note(totals: Totals) -> str:
    """Say what stands beside a sum and how certain it is: the money at the fallback price, calls without a price."""
    parts = []
    if totals.fallback_cost:
        parts.append(fallback_note(totals.fallback_cost))
    if totals.unpriced_requests:
        parts.append(f"{format_share(totals.unpriced_requests, totals.requests)} unpriced")
    if totals.estimated_requests:
        parts.append(f"{format_share(totals.estimated_requests, totals.requests)} estimated")
    if parts:
        return " · ".join(parts)
    return "All priced, all reported" if totals.requests else ""


def cost_per_call(totals: Totals) -> Decimal | None:
    """Return the average cost of the calls that have a price of their own; None where none has."""
    priced = totals.requests - totals.unpriced_requests - totals.fallback_requests
    return totals.cost / priced if totals.cost is not None and priced > 0 else None


def cost_per_million(totals: Totals) -> Decimal | None:
    """Return US dollars of a million tokens, of what has a price for every call; None without any."""
    if totals.wholly_priced_cost is None or not totals.wholly_priced_tokens:
        return None
    return totals.wholly_priced_cost / totals.wholly_priced_tokens * 1_000_000


def fallback_note(amount: Decimal | None) -> str:
    """Say how much was priced as the fallback model, which is in no sum; nothing where that is nothing."""
    return f"+ {format_usd(amount)} at fallback price" if amount else ""


def priced_card(totals: Totals) -> Card:
    """Return the card of the share of requests that have a price; it says 100% only when all have one."""
    uncertain = totals.unpriced_requests + totals.fallback_requests
    priced = totals.requests - uncertain
    share = format_share(priced, totals.requests)
    notes = [f"{totals.unpriced_requests:,} unpriced"] if totals.unpriced_requests else []
    notes += [f"{totals.fallback_requests:,} at fallback price"] if totals.fallback_requests else []
    return Card(
        "Requests with a price",
        ">99.9%" if uncertain and share == "100.0%" else share,
        note=" · ".join(notes) or "none unpriced",
        help=f"{priced:,} of {totals.requests:,} requests. The cost of the others is not in any total.",
    )


def requests_card(totals: Totals, previous: Totals) -> Card:
    """Return the card of the number of calls."""
    return Card(
        "Requests",
        format_count(totals.requests),
        format_change(totals.requests, previous.requests),
        f"{format_count(totals.cancelled)} cancelled" if totals.cancelled else "",
        f"Exactly {totals.requests:,}",
    )


def tokens_card(totals: Totals, previous: Totals) -> Card:
    """Return the card of all tokens."""
    return Card(
        "Tokens",
        format_count(totals.total_tokens),
        format_change(totals.total_tokens, previous.total_tokens),
        f"{format_share(totals.prompt_tokens, totals.total_tokens)} prompt",
        f"{totals.prompt_tokens:,} prompt and {totals.completion_tokens:,} completion tokens",
    )


def users_card(totals: Totals, previous: Totals) -> Card:
    """Return the card of the number of people who made a call."""
    return Card(
        "Users", format_count(totals.users), format_change(totals.users, previous.users), "with at least one call"
    )


def cached_card(totals: Totals, previous: Totals) -> Card:
    """Return the card of the cached share of the input."""
    before = previous.cached_tokens / previous.prompt_tokens if previous.prompt_tokens else None
    share = totals.cached_tokens / totals.prompt_tokens if totals.prompt_tokens else None
    return Card(
        "Cached input",
        format_share(share, 1),
        format_change(share, before),
        f"{format_count(totals.cached_tokens)} tokens",
    )


def error_card(requests: int, errors: int, previous_requests: int, previous_errors: int) -> Card:
    """Return the card of the error rate; its change is the rate's relative change."""
    before = previous_errors / previous_requests if previous_requests else None
    return Card(
        "Error rate",
        format_share(errors, requests),
        format_change(errors / requests, before) if requests else None,
        f"{format_count(errors)} failed",
        "Share of all calls that ended in an error",
        "inverse",
    )


def latency_card(label: str, now: float | None, before: float | None, note: str, help_text: str) -> Card:
    """Return the card of a duration in milliseconds."""
    return Card(label, format_duration(now), format_change(now, before), note, help_text, "inverse")


def draw_cards(page: str, cards: Sequence[Card], before: str = "", *, is_first_wide: bool = False) -> None:
    """Draw key figures in a grid: all in a row, two on a phone.

    Args:
        page: Short name of the page.
        cards: The figures.
        before: What changes are measured against, such as "vs 7d before".
        is_first_wide: Whether the first has the room of two.
    """
    grid = st.grid(len(cards) + is_first_wide, min_column_width=_LEAST_CARD_PX, gap=12, key="cards")
    for index, card in enumerate(cards):
        span = 2 if is_first_wide and index == 0 else 1
        with grid.cell(column_span=span), st.container(border=True, height="stretch", key=f"card_{page}_{index}"):
            # Streamlit takes a hyphen alone for a minus sign, so it is told the direction.
            arrow, colour = direction_of(card.change, card.colour)
            st.metric(
                card.label,
                card.value,
                card.change,
                delta_color=colour,
                delta_arrow=arrow,
                help=card.help,
                delta_description=before if card.change and before else None,
                chart_data=card.course if len(card.course) > 1 else None,
                chart_type="area",
            )
            st.html(f'<div class="tr-note">{html.escape(card.note)}</div>')


def direction_of(change: str | None, colour: DeltaColour) -> tuple[Arrow, MetricColour]:
    """Return the arrow and the colour of a change as written."""
    if change is None or change == UNCHANGED:
        return "off", "gray"
    is_up = not change.startswith(MINUS)
    if colour == "off":
        return ("up" if is_up else "down"), "gray"
    return ("up" if is_up else "down"), "red" if is_up == (colour == "inverse") else "green"


def draw_title(title: str, subtitle: str = "") -> None:
    """Draw the title of a panel."""
    below = f'<div class="tr-subtitle">{html.escape(subtitle)}</div>' if subtitle else ""
    st.html(f'<div class="tr-title" role="heading" aria-level="2">{html.escape(title)}</div>{below}')


def draw_legend(
    names: Sequence[str],
    colours: Sequence[str],
    values: Sequence[str] | None = None,
    addresses: Sequence[str] | None = None,
    exact: Sequence[str] | None = None,
) -> None:
    """Draw a chart's legend, each name with its value and, where it has an address, as a link.

    Args:
        names: Of the series.
        colours: One for each.
        values: What each comes to.
        addresses: Where a name leads to; empty for nowhere.
        exact: The values to their last digit, shown under the pointer.
    """
    nothing = [""] * len(names)
    items = "".join(
        f'<span><i style="background:{colour}"></i>'
        + (f'<a href="{html.escape(address)}" target="_self">{html.escape(name)}</a>' if address else html.escape(name))
        + (f"<b{_title(digits)}>{html.escape(value)}</b>" if value else "")
        + "</span>"
        for name, colour, value, address, digits in zip(
            names, colours, values or nothing, addresses or nothing, exact or nothing, strict=True
        )
    )
    st.html(f'<div class="tr-legend">{items}</div>')


def draw_bars(bars: Sequence[Bar], heads: tuple[str, str], *, is_bad: bool = False) -> None:
    """Draw a ranking: a bar behind each line shows its share."""
    lines = "".join(_line(bar, is_bad=is_bad) for bar in bars)
    head = f'<div class="head"><span>{html.escape(heads[0])}</span><span>{html.escape(heads[1])}</span></div>'
    st.html(f'<div class="tr-bars">{head}{lines}</div>')


def share_of(part: Decimal | int | None, whole: Decimal | int | None) -> float | None:
    """Return part of whole as a number from 0 to 1; None where either is unknown."""
    return float(part) / float(whole) if part is not None and whole else None


def name_of(key: str | None, *, is_other: bool = False, keys: int | None = None) -> str:
    """Write a ranking's key: what did not fit is "Other" with how many these are, an empty name a dash."""
    if is_other:
        return f"Other ({keys:,})" if keys else "Other"
    return visible_name(key) if key else DASH


def _title(text: str) -> str:
    return f' title="{html.escape(text)}"' if text else ""


def _line(bar: Bar, *, is_bad: bool) -> str:
    kind = "other" if bar.is_other else "bad" if is_bad else ""
    width = min(max(bar.share or 0, 0), 1) * 100
    name = html.escape(bar.name)
    shown = f'<a href="{html.escape(bar.address)}" target="_self">{name}</a>' if bar.address else name
    return (
        f'<div class="line {kind}" style="--share:{width:.2f}%"><span class="name" title="{name}">{shown}</span>'
        f'<span class="value"{_title(bar.exact)}>{html.escape(bar.value)}</span>'
        f'<span class="share">{format_share(bar.share, 1)}</span></div>'
    )
