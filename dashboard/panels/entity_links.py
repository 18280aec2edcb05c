"""Ways to and from the Customers page: its choice in the address, links to a row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import streamlit as st

from dashboard.selection.entity_choice import QUERY_KEYS, EntityChoice, parse_choice

if TYPE_CHECKING:
    from dashboard.selection.filters import Selection

PAGES: Final = Path(__file__).parents[1] / "app_pages"
PAGE: Final = PAGES / "customers.py"


def current_choice() -> EntityChoice:
    """Return what the address says."""
    return parse_choice({name: st.query_params.get_all(name) for name in QUERY_KEYS if name in st.query_params})


def choose(choice: EntityChoice) -> None:
    """Write a choice to the address."""
    wanted = choice.to_query()
    for name in QUERY_KEYS:
        if name in wanted:
            if st.query_params.get_all(name) != [wanted[name]]:
                st.query_params[name] = wanted[name]
        elif name in st.query_params:
            del st.query_params[name]


def entity_query(selection: Selection, by: str, key: str) -> dict[str, str | list[str]]:
    """Return the address of the page of one customer, user or tag value, with the period and filters of now."""
    query = {name: value for name, value in selection.to_query().items() if name != "group"}
    return query | EntityChoice(by=by, of=key).to_query()


def entity_address(selection: Selection, by: str, key: str) -> str:
    """Return the same as a link beside the other pages."""
    return f"customers?{urlencode(entity_query(selection, by, key), doseq=True)}"
