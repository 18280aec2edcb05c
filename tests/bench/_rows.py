"""The row that a benchmark prints for each figure."""

from __future__ import annotations


def row(
    name: str, value: float, unit: str, *, peer: str | None = None, peer_value: float | None = None
) -> dict[str, object]:
    """Make a row; the ratio is ours divided by the peer's."""
    ratio = round(value / peer_value, 3) if peer_value else None
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "peer": peer,
        "peer_value": None if peer_value is None else round(peer_value, 3),
        "ratio": ratio,
    }
