"""The Prices tab of the Settings page: what is in force and why, a new price, and what repricing would change."""

from __future__ import annotations

import html
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from dashboard.editors.reprice import draw_preview, forget_preview
from dashboard.editors.terms import draw_terms
from dashboard.figures import price_table
from dashboard.panels.cards import draw_title
from dashboard.reads.prices import add_price, get_prices
from ingest.errors import TreeringError
from pricing import PriceBookError, PricingError, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from dashboard.reads.viewer import Viewer
    from ingest.database import JsonValue
    from pricing import PriceBook

_MAIN_RATES: Final = ("input", "cached_input", "cache_write", "output")
_ANY_TIER: Final = "any"
_ADDED: Final = "settings_price_added"
_FIELDS: Final = ("model", "source", *price_table.RATES)


@st.fragment
def draw_prices(viewer: Viewer) -> None:
    """Read the prices and draw the tab: what is in force, and beside it a new price or why one applies."""
    for key in st.session_state.pop(_ADDED, ()):
        st.session_state[key] = ""
    _take_asked()
    try:
        prices = get_prices(viewer)
    except TreeringError as error:
        st.error(f"The prices could not be read: {error}")
        return
    book, own = prices.book, prices.own
    if prices.catalogue is not None and prices.catalogue.fetched_at is not None:
        st.caption(f"The catalogue is the one that the worker fetched on {prices.catalogue.fetched_at:%d %b %Y} (UTC).")
    providers = _providers(book, own)
    left, right = st.columns([3, 2], gap="small")
    with left:
        _draw_in_force(book, providers)
        _draw_own(own)
    with right:
        _draw_form(viewer)
        _draw_explanation(book, providers)
    draw_terms(viewer)
    draw_preview(viewer, book)


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


def _draw_in_force(book: PriceBook, providers: list[str]) -> None:
    with st.container(border=True, key="panel_settings_prices"):
        draw_title(
            "Prices in force",
            "US dollars per million tokens, now. Your prices override Treering's, which override the catalogue. "
            "Select a row to add a price for its model, or to see why it has this one.",
        )
        search, provider, tier = st.columns([3, 2, 2], gap="small")
        wanted = search.text_input("Model", key="settings_prices_search", placeholder="Search, such as gpt-4o")
        chosen = provider.selectbox("Provider", providers, key="settings_prices_provider")
        served = tier.selectbox(
            "Tier", list(price_table.TIERS), format_func=price_table.TIERS.__getitem__, key="settings_prices_tier"
        )
        frame = price_table.prices_in_force(book, chosen, served, wanted or "", datetime.now(UTC))
        if frame.empty:
            st.caption("No matching model has a price. Add one here.")
            return
        st.dataframe(
            frame,
            key="settings_prices_table",
            hide_index=True,
            height=min(35 * (len(frame) + 1) + 3, 388),
            column_config=_columns(frame),
            placeholder="—",
            selection_mode="single-row",
            on_select=lambda: _take_row([str(name) for name in frame["model"]], chosen),
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


def _take_row(models: Sequence[str], provider: str) -> None:
    """Fill the forms beside the table with the model whose row was chosen."""
    rows = st.session_state["settings_prices_table"]["selection"]["rows"]
    if rows and rows[0] < len(models):
        _fill(models[rows[0]], provider)
        st.session_state["settings_explain_model"] = models[rows[0]]
        st.session_state["settings_explain_provider"] = provider


def _take_asked() -> None:
    """Fill the form with what a link asks for, once."""
    asked = st.query_params.get(price_table.ASKED, "")
    if asked and st.session_state.get("settings_price_asked") != asked:
        st.session_state["settings_price_asked"] = asked
        provider, _, model = asked[:400].partition("/")
        _fill(model, provider)


def _fill(model: str, provider: str) -> None:
    st.session_state["settings_price_model"] = model[:200]
    st.session_state["settings_price_provider"] = provider[:200]


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
        top, below = st.columns(2, gap="small"), st.columns(3, gap="small")
        model = (
            top[0].text_input("Model", key="settings_explain_model", placeholder="gpt-4o-2024-08-06") or ""
        ).strip()
        provider = top[1].selectbox("Provider", providers, key="settings_explain_provider")
        tier = below[0].selectbox(
            "Tier", list(price_table.TIERS), format_func=price_table.TIERS.__getitem__, key="settings_explain_tier"
        )
        day = below[1].date_input("Day (UTC)", datetime.now(UTC).date(), key="settings_explain_day")
        tokens = below[2].number_input("Input tokens", min_value=0, value=0, step=1000, key="settings_explain_tokens")
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
    with st.container(border=True, key="panel_settings_new_price"), st.form(f"{key}_form", border=False):
        draw_title(
            "Add a price",
            "US dollars per million tokens. A later start replaces the previous price; the same start corrects it.",
        )
        typed: dict[str, str] = {}
        top, dates, main = st.columns(2, gap="small"), st.columns(3, gap="small"), st.columns(4, gap="small")
        typed["model"] = top[0].text_input("Model, as recorded", key=f"{key}_model", max_chars=200) or ""
        typed["provider"] = top[1].text_input("Provider", "openai", key=f"{key}_provider", max_chars=200) or ""
        tier = dates[0].selectbox("Tier", list(tiers), format_func=tiers.__getitem__, key=f"{key}_tier")
        begins = dates[1].date_input("From (UTC)", today, key=f"{key}_from")
        ends = dates[2].date_input("To (exclusive)", None, key=f"{key}_to")
        for column, name in zip(main, _MAIN_RATES, strict=True):
            typed[name] = column.text_input(price_table.RATES[name], key=f"{key}_{name}", max_chars=30) or ""
        with st.expander("More rates", key=f"{key}_more"):
            others = [name for name in price_table.RATES if name not in _MAIN_RATES]
            more = st.columns(2, gap="small")
            for index, name in enumerate(others):
                typed[name] = (
                    more[index % 2].text_input(price_table.RATES[name], key=f"{key}_{name}", max_chars=30) or ""
                )
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
    forget_preview()
    st.rerun()


def _providers(book: PriceBook, own: Sequence[Mapping[str, JsonValue]]) -> list[str]:
    names = {str(price.get("provider")) for price in own} - set(price_table.PROVIDERS)
    return [name for name in (*price_table.PROVIDERS, *sorted(names)) if book.models(name)]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
