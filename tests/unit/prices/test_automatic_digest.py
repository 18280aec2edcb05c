"""What tells the automatic repricing that a model's price was corrected."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from ingest.prices.automatic import _digest
from pricing import PriceBook
from pricing import book as books
from pricing.overlay import Overlay, overlay
from pricing.rates import UnitPrice

if TYPE_CHECKING:
    import pytest


def _with_fee(amount: str) -> Overlay:
    """Return the overlay with another price of Anthropic's searches."""
    kept = overlay()
    fills = tuple(
        replace(fill, units={**fill.units, "web_search": UnitPrice(Decimal(amount), 1000)})
        if fill.provider == "anthropic"
        else fill
        for fill in kept.fills
    )
    return kept._replace(fills=fills)


def test_a_model_whose_fees_alone_were_corrected_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [("anthropic", "claude-3-haiku-20240307"), ("openai", "gpt-4o"), ("anthropic", "claude-next")]
    before = [_digest(PriceBook(), *name) for name in names]
    assert [_digest(PriceBook(), *name) for name in names] == before
    corrected = _with_fee("11")
    monkeypatch.setattr(books, "overlay", lambda: corrected)
    after = [_digest(PriceBook(), *name) for name in names]
    assert [old != new for old, new in zip(before, after, strict=True)] == [True, False, False]
    assert before[2] == ""
