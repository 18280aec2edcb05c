"""The Prices tab of the Settings page: what is in force and why, a new price, and what repricing would change."""

from __future__ import annotations

import html
import shlex
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import streamlit as st

from dashboard.editors.terms import draw_terms
from dashboard.figures import price_table
from dashboard.panels.cards import draw_title
from dashboard.reads.prices import MAX_ROWS, add_price, get_prices, preview_reprice
from ingest.documents.words import column_decimals, format_usd
from ingest.errors import TreeringError
from ingest.prices.reprice import RepriceScope
from pricing import PriceBookError, PricingError, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dashboard.reads.viewer import Viewer
    from ingest.database import JsonValue
    from ingest.prices.reprice import RepriceTotals
    from pricing import PriceBook

_MAIN_RATES: Final = ("input", "cached_input", "cache_write", "output")
_ANY_TIER: Final = "any"
_ADDED: Final = "settings_price_added"
_PREVIEW: Final = "settings_reprice_result"
_FIELDS: Final = ("model", "source", *price_table.RATES)


@st.fragment
def draw_prices(viewer: Viewer) -> None:
    """Read the prices and draw the tab."""
    for key in st.session_state.pop(_ADDED, ()):
        st.session_state[key] = ""
    try:
        prices = get_prices(viewer)
    except TreeringError as error:
        st.error(f"The prices could not be read: {error}")
        return
    book, own = prices.book, prices.own
    if prices.catalogue is not None and prices.catalogue.fetched_at is not None:
        st.caption(f"The catalogue is the one that the worker fetched on {prices.catalogue.fetched_at:%d %b %Y} (UTC).")
    providers = _providers(book, own)
    _draw_in_force(book, providers)
    _draw_own(own)
    _draw_explanation(book, providers)
    _draw_form(viewer)
    draw_terms(viewer)
    _draw_preview(viewer, book)


def price_document(typed: Mapping[str, str], tier: str, begins: date, ends: date | None) -> dict[str, JsonValue]:
    """Return what was typed as the document that `add_price` takes; days begin at midnight UTC."""
    rates: dict[str, JsonValue] = {name: typed[name].strip() for name in price_table.RATES if typed[name].strip()}
    return {
        "provider": typed["provider"].strip().lower(),
        "model": typed["model"].strip().lower(),
        "service_tier": None if tier == _ANY_TIER else tier,
        "valid_from": _midnight(begins).isoformat(),
        "valid_to": None if ends is None else _midnight(ends).isoformat(),
        "rates": rates,
        "source": typed["source"].strip(),
    }


def fault_of(price: Mapping[str, JsonValue]) -> str:
    """Say what is wrong with a price before it is sent; empty for nothing."""
    if not price["model"] or not price["provider"]:
        return "Enter the provider and the model as recorded."
    if not price["source"]:
        return "Enter the source of the figures: a contract, a page or an e-mail."
    try:
        price_table.check_price(price)
    except PriceBookError as error:
        return str(error).partition(": ")[2].capitalize() + "."
    return ""


def reprice_command(first: date, end: date, model: str, provider: str, by: str) -> str:
    """Return the command that applies what was previewed."""
    parts = ["treering", "reprice", "--from", f"{first:%Y-%m-%d}", "--to", f"{end:%Y-%m-%d}"]
    for option, value in (("--model", model), ("--provider", provider)):
        if value:
            parts += [option, value]
    return shlex.join([*parts, "--apply", "--by", by, "--reason"]) + ' "why"'


def _draw_in_force(book: PriceBook, providers: list[str]) -> None:
    with st.container(border=True, key="panel_settings_prices"):
        draw_title(
            "Prices in force",
            "US dollars per million tokens, now. Your prices override Treering's, which override the catalogue.",
        )
        search, provider, tier = st.columns([3, 2, 2], gap="small")
        wanted = search.text_input("Model", key="settings_prices_search", placeholder="Search, such as gpt-4o")
        chosen = provider.selectbox("Provider", providers, key="settings_prices_provider")
        served = tier.selectbox(
            "Tier", list(price_table.TIERS), format_func=price_table.TIERS.__getitem__, key="settings_prices_tier"
        )
        frame = price_table.prices_in_force(book, chosen, served, wanted or "", datetime.now(UTC))
        if frame.empty:
            st.caption("No matching model has a price. Add one below.")
            return
        st.dataframe(
            frame,
            key="settings_prices_table",
            hide_index=True,
            height=min(35 * (len(frame) + 1) + 3, 388),
            column_config=_columns(frame),
            placeholder="—",
        )


def _columns(frame: pd.DataFrame) -> dict[str, Any]:
    config: dict[str, Any] = {
        "model": st.column_config.TextColumn("Model", width="medium", pinned=True),
        "from": st.column_config.TextColumn("From", width=100),
        "to": st.column_config.TextColumn("To", width=100),
        "layer": "Layer",
        "source": st.column_config.TextColumn("Source", width="medium"),
    }
    for name, label in price_table.RATES.items():
        if name in frame:
            config[name] = st.column_config.NumberColumn(label, format="plain")
    return config


def _draw_own(own: Sequence[Mapping[str, JsonValue]]) -> None:
    with st.container(border=True, key="panel_settings_own_prices"):
        draw_title("Your own prices", "Prices are only added, never changed. Times are in UTC.")
        if not own:
            st.caption("None. List prices apply.")
            return
        frame = price_table.own_prices(own, datetime.now(UTC))
        names = {name: name.capitalize() for name in frame.columns}
        st.dataframe(frame, key="settings_own_prices_table", hide_index=True, column_config=names)


def _draw_explanation(book: PriceBook, providers: list[str]) -> None:
    with st.container(border=True, key="panel_settings_explain"):
        draw_title("Why this price?", "Shows which row prices a model at noon on a given day, and why.")
        fields = st.columns([3, 2, 2, 2, 2], gap="small")
        model = (
            fields[0].text_input("Model", key="settings_explain_model", placeholder="gpt-4o-2024-08-06") or ""
        ).strip()
        provider = fields[1].selectbox("Provider", providers, key="settings_explain_provider")
        tier = fields[2].selectbox(
            "Tier", list(price_table.TIERS), format_func=price_table.TIERS.__getitem__, key="settings_explain_tier"
        )
        day = fields[3].date_input("Day (UTC)", datetime.now(UTC).date(), key="settings_explain_day")
        tokens = fields[4].number_input("Input tokens", min_value=0, value=0, step=1000, key="settings_explain_tokens")
        if not model:
            return
        at = _midnight(day) + timedelta(hours=12)
        try:
            found = book.explain(model, provider=provider, service_tier=tier, at=at, input_tokens=int(tokens))
        except UnknownModelError:
            st.caption("No layer has this model. It is priced as TREERING_FALLBACK_MODEL if set, else unpriced.")
            return
        except PricingError as error:
            st.caption(f"The price cannot be explained: {error}")
            return
        if found.band is not None:
            rates = " · ".join(
                f"{price_table.RATES[name].lower()} {rate:f}" for name, rate in found.band.priced().items()
            )
            st.html(f'<div class="tr-title">{html.escape(rates)}</div>')
        steps = "".join(f"<li>{html.escape(step)}</li>" for step in price_table.explain_in_words(found))
        st.html(f'<ol class="tr-steps">{steps}</ol>')


def _draw_form(viewer: Viewer) -> None:
    key = "settings_price"
    tiers = {**price_table.TIERS, _ANY_TIER: "Every tier"}
    today = datetime.now(UTC).date()
    with st.expander("Add a price", icon=":material/add:", key=f"{key}_new"), st.form(f"{key}_form", border=False):
        draw_title(
            "A price of your own",
            "US dollars per million tokens. A later start replaces the previous price; the same start corrects it.",
        )
        typed: dict[str, str] = {}
        top, dates, main, more = (st.columns(count, gap="small") for count in ([2, 3], 3, 4, 5))
        typed["provider"] = top[0].text_input("Provider", "openai", key=f"{key}_provider", max_chars=200) or ""
        typed["model"] = top[1].text_input("Model, as recorded", key=f"{key}_model", max_chars=200) or ""
        tier = dates[0].selectbox("Tier", list(tiers), format_func=tiers.__getitem__, key=f"{key}_tier")
        begins = dates[1].date_input("Valid from (UTC)", today, key=f"{key}_from")
        ends = dates[2].date_input("Valid to (exclusive)", None, key=f"{key}_to")
        others = [name for name in price_table.RATES if name not in _MAIN_RATES]
        for column, name in zip((*main, *more), (*_MAIN_RATES, *others), strict=True):
            typed[name] = column.text_input(price_table.RATES[name], key=f"{key}_{name}", max_chars=30) or ""
        typed["source"] = (
            st.text_input("Source", key=f"{key}_source", max_chars=500, placeholder="contract 2026-11") or ""
        )
        if not st.form_submit_button("Add", type="primary", key=f"{key}_save"):
            return
        price = price_document(typed, tier, begins, ends)
        if fault := fault_of(price):
            st.error(fault)
            return
        try:
            add_price(viewer, price)
        except TreeringError as error:
            st.error(f"Not added: {error}")
            return
    st.toast(f"Price added for {price['model']}. Past calls keep their price until repriced.", icon=":material/check:")
    st.session_state[_ADDED] = [f"{key}_{name}" for name in _FIELDS]
    st.session_state.pop(_PREVIEW, None)
    st.rerun()


def _draw_preview(viewer: Viewer, book: PriceBook) -> None:
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
    amounts: list[Decimal | None] = [figure for _, one in lines for figure in (one.old_cost, one.new_cost)]
    decimals = column_decimals(amounts)
    number = st.column_config.NumberColumn
    st.dataframe(
        frame,
        key="settings_reprice_table",
        hide_index=True,
        column_config={
            "model": st.column_config.TextColumn("Model", width="medium"),
            "calls": number("Calls", format="localized"),
            "changed": number("Changed", format="localized"),
            "old": number("Old (US$)", format=f"%,.{decimals}f"),
            "new": number("New (US$)", format=f"%,.{decimals}f"),
            "difference": number("Difference (US$)", format=f"%+,.{decimals}f"),
        },
    )
    changed = sum(one.changed for _, one in lines)
    total = sum((one.difference for _, one in lines), Decimal(0))
    lost = sum(one.newly_unpriced for _, one in lines)
    text = f"{changed:,} of {found.rows:,} calls would change, by {format_usd(total)} in total."
    st.caption(text + (f" {lost:,} would lose their cost because no price is known." if lost else ""))
    if changed or found.cut_at is not None:
        st.caption("To apply it, run on the server:")
        st.code(command, language="shell", wrap_lines=True)


def _providers(book: PriceBook, own: Sequence[Mapping[str, JsonValue]]) -> list[str]:
    names = {str(price.get("provider")) for price in own} - set(price_table.PROVIDERS)
    return [name for name in (*price_table.PROVIDERS, *sorted(names)) if book.models(name)]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
