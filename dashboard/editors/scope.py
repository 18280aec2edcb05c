"""The editor of a scope: which calls or requests a rule or a budget is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ingest.alerts.rules import CALL_SCOPE, ROUTE_SCOPE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LABELS = {
    "environment": "Environment",
    "feature": "Feature",
    "model": "Model",
    "provider": "Provider",
    "operation": "Operation",
    "status": "Status",
    "user_id": "User",
    "route": "Route",
    "method": "Method",
}


def draw_scope(
    key: str, scope: Mapping[str, Sequence[str]], known: Mapping[str, Sequence[str]], *, is_route: bool = False
) -> dict[str, list[str]]:
    """Draw a field for each dimension and return what is chosen; names that did not occur yet can be typed.

    Args:
        key: Begins the keys of the fields.
        scope: What is chosen at first.
        known: The values that occur in the data.
        is_route: Whether it is about HTTP requests instead of calls.
    """
    allowed = ROUTE_SCOPE if is_route else CALL_SCOPE
    chosen: dict[str, list[str]] = {}
    left, right = st.columns(2, gap="small")
    for index, (name, label) in enumerate((name, label) for name, label in _LABELS.items() if name in allowed):
        options = sorted({*known.get(name, ()), *scope.get(name, ())})
        values = (left, right)[index % 2].multiselect(
            label,
            options,
            default=list(scope.get(name, ())),
            key=f"{key}_scope_{name}",
            placeholder="All",
            accept_new_options=True,
        )
        if values:
            chosen[name] = list(values)
    return chosen
