"""What repricing would change, in the Prices tab of Settings: a preview, and the command that applies it."""

from __future__ import annotations

import shlex
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import pandas as pd
import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.panels.tables import written
from dashboard.reads.prices import MAX_ROWS, preview_reprice
from ingest.documents.words import format_difference, format_usd_column, with_sign
from ingest.errors import TreeringError
from ingest.prices.reprice import RepriceScope

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer
    from ingest.prices.reprice import RepriceTotals
    from pricing import PriceBook

_PREVIEW: Final = "settings_reprice_result"


def draw_preview(viewer: Viewer, book: PriceBook) -> None:
    """Draw the form of a preview and, once it ran, what would change."""
    key = "settings_reprice"
    today = datetime.now(UTC).date()
    with st.container(border=True, key="panel_settings_reprice"):
        draw_title(
            "Reprice preview",
            f"Shows what recorded calls would cost at the prices of their day. Reads at most {MAX_ROWS:,} "
            "calls and changes nothing.",
        )
        with st.form(f"{key}_form", border=False):
            fields = st.columns(4, gap="small", vertical_alignment="bottom")
            first = fields[0].date_input("From (UTC)", today - timedelta(days=7), key=f"{key}_from")
            last = fields[1].date_input("Last day", today, key=f"{key}_last")
            model = (fields[2].text_input("Model", key=f"{key}_model", placeholder="All") or "").strip()
            provider = (fields[3].text_input("Provider", key=f"{key}_provider", placeholder="All") or "").strip()
            if st.form_submit_button("Preview", key=f"{key}_run"):
                st.session_state.pop(_PREVIEW, None)
                if first > last:
                    st.error("The first day must not be after the last.")
                    return
                end = last + timedelta(days=1)
                scope = RepriceScope(
                    _midnight(first), _midnight(end), (model,) if model else (), (provider,) if provider else ()
                )
                try:
                    found = preview_reprice(viewer, book, scope)
                except TreeringError as error:
                    st.error(f"The preview failed: {error}")
                    return
                st.session_state[_PREVIEW] = (found, reprice_command(first, end, model, provider, viewer.user_id))
        if _PREVIEW in st.session_state:
            _draw_difference(*st.session_state[_PREVIEW])


def _draw_difference(found: RepriceTotals, command: str) -> None:
    if not found.by_model:
        st.caption("No calls in this range can be repriced.")
        return
    if found.cut_at is not None:
        st.warning(
            f"Preview limited to the first {found.rows:,} calls, up to {found.cut_at:%d %b %Y %H:%M} UTC. "
            "`treering reprice … --dry-run` reads all."
        )
    lines = sorted(found.by_model.items(), key=lambda line: (-abs(line[1].difference), line[0]))
    frame = pd.DataFrame(
        [
            {
                "model": f"{provider}/{model}",
                "calls": one.rows,
                "changed": one.changed,
                "old": float(one.old_cost),
                "new": float(one.new_cost),
                "difference": float(one.difference),
            }
            for (provider, model), one in lines
        ]
    )
    old, new, difference = ([getattr(one, name) for _, one in lines] for name in ("old_cost", "new_cost", "difference"))
    signed = zip(format_usd_column(difference, beside=[*old, *new]), difference, strict=True)
    texts = {
        "old": format_usd_column(old, beside=new),
        "new": format_usd_column(new, beside=old),
        "difference": [with_sign(text, amount) for text, amount in signed],
    }
    number = st.column_config.NumberColumn
    st.dataframe(
        written(frame, texts),
        key="settings_reprice_table",
        hide_index=True,
        column_config={
            "model": st.column_config.TextColumn("Model", width="medium"),
            "calls": number("Calls", format="localized"),
            "changed": number("Changed", format="localized"),
            "old": number("Old"),
            "new": number("New"),
            "difference": number("Difference"),
        },
    )
    changed = sum(one.changed for _, one in lines)
    total = sum((one.difference for _, one in lines), Decimal(0))
    lost = sum(one.newly_unpriced for _, one in lines)
    text = f"{changed:,} of {found.rows:,} calls would change, by {format_difference(total)} in total."
    st.caption(text + (f" {lost:,} would lose their cost because no price is known." if lost else ""))
    if changed or found.cut_at is not None:
        st.caption("To apply it, run on the server:")
        st.code(command, language="shell", wrap_lines=True)


def forget_preview() -> None:
    """Forget what was previewed: the prices have changed."""
    st.session_state.pop(_PREVIEW, None)


def reprice_command(first: date, end: date, model: str, provider: str, by: str) -> str:
    """Return the command that applies what was previewed."""
    parts = ["treering", "reprice", "--from", f"{first:%Y-%m-%d}", "--to", f"{end:%Y-%m-%d}"]
    for option, value in (("--model", model), ("--provider", provider)):
        if value:
            parts += [option, value]
    return shlex.join([*parts, "--apply", "--by", by, "--reason"]) + ' "why"'


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
