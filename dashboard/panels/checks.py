"""How far the costs can be trusted and where they could be lower: certainty, the provider's bill, savings."""

from __future__ import annotations

from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.figures.price_table import price_address
from dashboard.panels.cards import Bar, draw_bars, draw_title, share_of
from dashboard.panels.savings import draw_savings
from dashboard.panels.unread import draw_unread
from dashboard.panels.what_if import draw_what_if
from dashboard.reads.pages import get_reconciliation
from dashboard.selection.filters import Window
from ingest.documents.billing import DriftCause
from ingest.documents.document import LIMITED
from ingest.documents.words import format_count, format_difference, format_share, format_usd
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Selection
    from ingest.documents.billing import Reconciliation
    from ingest.documents.pages import Costs, Totals
    from ingest.documents.prices import RepriceRun

MAX_CAUSES: Final = 8
MAX_REVISIONS: Final = 3
# A bill comes by the whole UTC day, some days late: a shorter look back would compare nothing.
SHORTEST_COMPARISON: Final = timedelta(days=7)
DEFAULT_BILL: Final = "openai"

CAUSES: Final = {
    "price": "Different price",
    "calls_not_recorded": "Billed, but not recorded",
    "calls_not_billed": "Recorded, but not billed here",
    "unrecorded_projects": "Projects that do not record",
    "fees": "Fees: searches, tools, storage",
    "credits": "Credits and refunds",
    "failed_calls": "Calls that failed here",
    "unpriced_models": "Recorded without a price",
    "fallback_prices": "Priced as the fallback model",
    "taxes": "Taxes",
    "purchases": "Commitments bought",
    "adjustments": "Corrections of earlier bills",
    "rounding": "The bill's own rounding",
    "unexplained": "Unexplained",
}
HINTS: Final = {
    "estimated_usage": "recorded calls have estimated tokens",
    "service_tiers": "calls were served on another tier: check that they are recorded with it",
    "not_rolled_up": "recorded calls are not counted yet",
}
# Filters as sentences call them; a bill is by provider and environment alone.
_NAMES: Final = {
    "model": "model",
    "feature": "feature",
    "provider": "provider",
    "operation": "operation",
    "status": "status",
    "tenant_id": "tenant",
    "tags": "tag",
    "user_id": "user",
    "metadata": "kind of metadata",
}
_PROVIDERS: Final = {"openai": "OpenAI", "azure": "Azure", "anthropic": "Anthropic", "google": "Google"}


def draw_checks(viewer: Viewer, selection: Selection, document: Costs) -> None:
    """Draw the panels below the trend; a member has no bill to see, and savings of the own calls."""
    if document.access in LIMITED:
        draw_certainty(document, is_ops=False)
        draw_savings(viewer, selection, access=document.access)
        draw_what_if(viewer, document.options, access=document.access)
        return
    left, right = st.columns(2, gap="small")
    with left:
        draw_certainty(document, is_ops=document.access == "ops")
    with right:
        draw_bill(viewer, selection, document)
    draw_savings(viewer, selection, access=document.access)
    draw_what_if(viewer, document.options, access=document.access)


def draw_repriced(run: RepriceRun | None, zone: ZoneInfo) -> None:
    """Say in one line what the worker corrected by itself last; nothing where that was nothing."""
    if run is None or run.finished_at is None:
        return
    difference = run.new_cost - run.old_cost
    day = run.finished_at.astimezone(zone)
    calls = "1 call" if run.rows_corrected == 1 else f"{run.rows_corrected:,} calls"
    # A dollar sign would begin a formula.
    amount = format_difference(difference).replace("$", r"\$")
    st.caption(f"Repriced {calls} on {day.day} {day:%b} after a price update: {amount}")


def draw_certainty(document: Costs, *, is_ops: bool) -> None:
    """Draw which part of the requests is unpriced, at the fallback price or estimated, and what helps."""
    totals = document.totals
    with st.container(border=True, key="panel_costs_certainty", height="stretch"):
        draw_title("Cost certainty")
        lines = certainty_bars(totals)
        if not lines:
            st.caption("Every request has its own price and token counts reported by its provider.")
            return
        draw_bars(lines, ("Requests", "Count · cost, share"))
        if totals.unpriced_requests or totals.fallback_requests:
            if is_ops:
                st.page_link(
                    Path(__file__).parents[1] / "app_pages" / "settings.py",
                    label="Add the missing prices under Settings → Prices, then reprice",
                    icon=":material/sell:",
                    query_params=_missing_price(document),
                )
            else:
                st.caption("Someone with the role ops can add the missing prices in Settings and reprice.")
        if totals.estimated_requests:
            st.caption(
                "Estimated: the response carried no usage, so Treering counted the tokens. For streams, request it "
                'with `stream_options={"include_usage": True}`.'
            )


def _missing_price(document: Costs) -> dict[str, str]:
    """Return the address of the form of the price that is missing most; the provider where it can be only one."""
    models = [row for row in document.by_model if row.unpriced_requests and row.key and not row.is_other]
    if not models:
        return {"tab": "prices"}
    providers = [row.key or "" for row in document.by_provider if row.unpriced_requests]
    worst = max(models, key=lambda row: row.unpriced_requests)
    return price_address(worst.key or "", providers[0] if len(providers) == 1 else "")


def certainty_bars(totals: Totals) -> list[Bar]:
    """Return a line for each kind of request whose cost is not certain, none where all are."""
    fallback = f"{format_usd(totals.fallback_cost)}, not in any total"
    kinds = [
        ("Without a price", totals.unpriced_requests, "not in any total"),
        ("At the fallback model's price", totals.fallback_requests, fallback),
        ("With estimated tokens", totals.estimated_requests, ""),
    ]
    return [
        Bar(name, " · ".join(filter(None, (format_count(count), cost))), share_of(count, totals.requests))
        for name, count, cost in kinds
        if count
    ]


def draw_bill(viewer: Viewer, selection: Selection, document: Costs) -> None:
    """Draw the difference from the provider's bill, or in one line why there is none."""
    with st.container(border=True, key="panel_costs_bill", height="stretch"):
        provider = selection.provider[0] if selection.provider else DEFAULT_BILL
        unsplit = [_NAMES[name] for name in _NAMES if name != "provider" and getattr(selection, name)]
        if unsplit or len(selection.provider) > 1:
            what = f"broken down by {' or '.join(unsplit)}" if unsplit else "combined across providers"
            draw_title("The provider's bill")
            st.caption(f"Provider bills are not {what}. Clear that filter to compare.")
            return
        end = document.to_time.astimezone(UTC)
        start = min(document.from_time.astimezone(UTC), end - SHORTEST_COMPARISON)
        filters: tuple[tuple[str, str | tuple[str, ...]], ...] = (("provider", (provider,)),)
        if selection.environment:
            filters += (("environment", selection.environment),)
        try:
            bill = get_reconciliation(viewer, Window(start, end, filters))
        except TreeringError as error:
            draw_title("The provider's bill")
            draw_unread(error)
            return
        _draw_drift(bill)


def _draw_drift(bill: Reconciliation) -> None:
    totals = bill.totals
    if not totals.days or totals.drift is None:
        draw_title("The provider's bill")
        st.caption(
            "No bill to compare with: `treering reconcile` reads OpenAI's and Anthropic's with an admin key, and the "
            "exports of Azure, AWS and Google with `--import-focus`."
        )
        _draw_notes(bill)
        return
    days = "1 day" if totals.days == 1 else f"{totals.days} days"
    draw_title(f"Bill from {_PROVIDERS.get(bill.provider, bill.provider)}", f"{days} (UTC) compared")
    st.html(
        f'<div class="tr-figure">{format_difference(totals.drift)}'
        f"<span>{'+' if totals.drift > 0 else ''}{format_share(totals.drift_fraction, 1)} of the bill</span></div>"
        f'<div class="tr-facts">Billed {format_usd(totals.billed_cost)}, recorded '
        f"{format_usd(totals.recorded_cost)}. A positive difference means the bill is higher.</div>"
    )
    causes = top_causes(bill.explanations)
    if causes:
        drift = abs(totals.drift)
        draw_bars(
            [
                Bar(CAUSES.get(cause.cause, cause.cause), _cause_value(cause), _cause_share(cause, drift))
                for cause in causes
            ],
            ("Cause", "US$"),
        )
    _draw_notes(bill)


def top_causes(causes: Sequence[DriftCause]) -> list[DriftCause]:
    """Return the causes that weigh most; what the others come to together is one more, so that the sum stays right."""
    known = sorted((cause for cause in causes if cause.amount), key=lambda cause: -abs(cause.amount or Decimal(0)))
    if len(known) <= MAX_CAUSES:
        return known
    rest = sum((cause.amount or Decimal(0) for cause in known[MAX_CAUSES - 1 :]), Decimal(0))
    return [*known[: MAX_CAUSES - 1], DriftCause(cause="Other causes", amount=rest)]


def _draw_notes(bill: Reconciliation) -> None:
    notes = []
    if bill.totals.open_days:
        days = "1 day is" if bill.totals.open_days == 1 else f"{bill.totals.open_days} days are"
        notes.append(f"{days} open: the provider has not settled the bill.")
    notes += [
        f"The bill of {revision.day:%d %B %Y} was revised from {format_usd(revision.old_cost)} to "
        f"{format_usd(revision.new_cost)}."
        for revision in bill.revisions[-MAX_REVISIONS:]
    ]
    notes += [f"{hint.requests:,} {HINTS.get(hint.hint, hint.hint)}." for hint in bill.hints]
    if notes:
        st.caption(" ".join(notes).replace("$", "\\$"))


def _cause_value(cause: DriftCause) -> str:
    counted = f"{cause.requests:,} calls" if cause.requests else ""
    named = ", ".join(detail.name for detail in cause.details[:2])
    return " · ".join(filter(None, (format_difference(cause.amount), counted, named)))


def _cause_share(cause: DriftCause, drift: Decimal) -> float | None:
    return None if cause.amount is None else share_of(abs(cause.amount), drift)
