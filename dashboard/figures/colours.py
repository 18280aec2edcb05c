"""Colours: a name keeps its own on every page, whatever its rank there. Pure.

The colours are mid-tones, so that one set has a contrast of at least 3:1 on the light and on the dark background, and
neighbours stay apart for people with protanopia and deuteranopia.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OTHER: Final = "Other"
PALETTE: Final = ("#0f9477", "#3a7bd5", "#d9730d", "#8b6fd6", "#cf4a7e", "#a08300", "#2a98b8", "#a56a4a")
OTHER_COLOUR: Final = "#858c92"
ERROR_COLOUR: Final = "#d64545"
# Names that a database knows beyond these share colours with the first; a chart shows eight.
_MOST_KNOWN: Final = 500


def colours_of(series: Sequence[str], known: Iterable[str] = ()) -> list[str]:
    """Return one colour per series, in order; the rest that did not fit is grey.

    Args:
        series: The names in a chart.
        known: All names of their kind, the same on every page; without them a name's colour depends on its company.
    """
    named = [name for name in series if name != OTHER]
    slots = _slots(tuple(sorted({*list(known)[:_MOST_KNOWN], *named})))
    taken: set[int] = set()
    # Of two in a chart that share a colour by chance the first by its digest keeps it.
    shown = {}
    for name in sorted(named, key=_digest):
        slot = slots[name]
        if len(taken) < len(PALETTE):
            while slot in taken:
                slot = (slot + 1) % len(PALETTE)
        taken.add(slot)
        shown[name] = PALETTE[slot]
    return [OTHER_COLOUR if name == OTHER else shown[name] for name in series]


def _slots(names: tuple[str, ...]) -> dict[str, int]:
    """Give each name the colour that it asks for, the next free one while there are free ones."""
    slots: dict[str, int] = {}
    free = set(range(len(PALETTE)))
    for name in sorted(names, key=_digest):
        wanted = _digest(name) % len(PALETTE)
        if free:
            while wanted not in free:
                wanted = (wanted + 1) % len(PALETTE)
            free.remove(wanted)
        slots[name] = wanted
    return slots


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode(errors="replace")).digest()[:8])
