"""Short forms for tests of prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pricing import calculate_cost

if TYPE_CHECKING:
    from pricing import Cost, PriceBook


def cost_of(book: PriceBook, model: str, input_tokens: int, output_tokens: int, **more: Any) -> Cost:
    """Price token counts with a book, as `calculate_cost` takes them."""
    return calculate_cost(model, input_tokens, output_tokens, book=book, **more)
