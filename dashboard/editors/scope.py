"""The editor of a scope: which calls or requests a rule or a budget is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_LABELS = {
    "environment": "Environment",
    "feature": "Feature",
    "model": "Model",
    "provider": "Provider",
    "operation": "Operation",
    "status": "Status",
    "user_id": "User",
    "tenant_id": "Tenant",
    "route": "Route",
    "method": "Method",
}


def draw_scope(
    key: str, scope: Mapping[str, Sequence[str]], known: Mapping[str, Sequence[str]], allowed: Collection[str]
) -> dict[str, list[str]]:
    """Draw a field for each dimension and return what is chosen; names that did not occur yet can be typed.

    Args:
        key: Begins the keys of the fields.
        scope: What is chosen at first.
        known: The values that occur in the data.
        allowed: The dimensions that may be chosen.
    """
    chosen: dict[str, list[str]] = {}
    left, right = st.columns(2, gap="small")
    labels = {name: label for name, label in _LABELS.items() if name in allowed}
    if "tenant_id" in allowed:
        tags = sorted(name for name in {*scope, *known} if name.startswith("tags."))
        labels |= {name: f"Tag {name.removeprefix('tags.')}" for name in tags}
    for index, (name, label) in enumerate(labels.items()):
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
