"""What a line of a bill is for, read from its text: the model, the kind of tokens, or the service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

Charge = Literal["usage", "fee", "credit", "adjustment", "tax", "purchase"]

# "gpt-4o-2024-08-06, cached input": the model, then what was used of it. Other services have no comma or words before.
_MODEL: Final = re.compile(r"\s*(?P<model>[A-Za-z][\w.:/@-]*\d[\w.:/@-]*)\s*(?:,(?P<rest>.*))?", re.DOTALL)

_CHARGES: Final[Mapping[Charge, frozenset[str]]] = {
    "tax": frozenset({"tax", "taxes", "vat", "gst"}),
    "adjustment": frozenset({"adjustment", "adjustments", "correction", "corrections"}),
    "credit": frozenset({"credit", "credits", "refund", "refunds", "grant", "discount"}),
}
# Charged by use, not by token; the first that a text has counts.
_SERVICES: Final[Mapping[str, frozenset[str]]] = {
    "search": frozenset({"search", "searches", "grounding"}),
    "code_execution": frozenset({"interpreter", "container", "containers", "execution"}),
    "storage": frozenset({"storage"}),
    "session": frozenset({"session", "sessions"}),
    "tool": frozenset({"tool", "tools"}),
}
# Old bills name all models' tokens together so.
_ALL_MODELS: Final = frozenset({"completions", "models", "tokens", "usage", "api"})


@dataclass(frozen=True, slots=True)
class LineItem:
    """What a line is for.

    Attributes:
        model: Model in lower case, "" where none is named.
        item: Kind of tokens (input, cached_input, cache_write, output, audio_input, audio_output, image_input,
            image_output) or service (search, storage, …), "" where it is not told.
        charge: `usage` of tokens, or what else it is.
    """

    model: str
    item: str
    charge: Charge


def read_line_item(text: str, amount: Decimal) -> LineItem:
    """Read the text of a line ("gpt-4o-2024-08-06, input", "web search tool calls", "Refund").

    Args:
        text: The line's text, "" where it has none.
        amount: What it charges; below zero it is a credit, unless the text says otherwise.
    """
    found = _MODEL.fullmatch(text)
    model = found["model"].lower() if found else ""
    words = _words(found["rest"] or "" if found else text)
    for charge, names in _CHARGES.items():
        if words & names:
            return LineItem(model, "", charge)
    service = next((name for name, names in _SERVICES.items() if words & names), "")
    if amount < 0:
        return LineItem(model, service, "credit")
    if service:
        return LineItem(model, service, "fee")
    if model or not words or words & _ALL_MODELS:
        return LineItem(model, token_kind(words), "usage")
    return LineItem("", "_".join(sorted(words))[:50], "fee")


def token_kind(words: frozenset[str]) -> str:
    """Name the kind of tokens that some words tell, "" where they tell none."""
    if words & {"write", "writes", "creation"}:
        return "cache_write"
    side = "output" if words & {"output", "outputs", "completion"} else ""
    side = side or ("input" if words & {"input", "inputs", "prompt"} else "")
    for medium in ("audio", "image"):
        if medium in words and side:
            return f"{medium}_{side}"
    if words & {"cached", "cache"}:
        return "cached_input"
    return side


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+", text.lower()))
