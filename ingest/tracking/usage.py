"""What an answer used and what its provider charged, as arguments of `record_usage`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pricing.reported import extras, plain, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from pricing.extract import Extracted

__all__ = ["extras", "plain", "read_usage", "view"]


def read_usage(
    reported: Any,
    *,
    provider: str | None = None,
    model: str | None = None,
    operation: str | None = None,
    answer: Any = None,
    is_cost_trusted: bool = False,
) -> dict[str, Any] | None:
    """Make arguments of `record_usage` out of a provider's usage object.

    Args:
        reported: The usage object of an answer.
        provider: Who was asked.
        model: Model that answered.
        operation: chat, responses, embeddings, …
        answer: The answer, or what of it tells calls of tools (`output`, `tools`).
        is_cost_trusted: Whether the customer says that this host reports US dollars.

    Returns:
        Counts, charge and findings (`flags`); `total_tokens` where that is all there is; None where there is nothing.
    """
    extract_usage, fields_of = _readers()
    extracted = extract_usage(
        reported,
        provider=provider,
        model=model,
        operation=operation,
        answer=answer,
        is_cost_trusted=is_cost_trusted,
    )
    fields = fields_of(extracted)
    return fields if len(fields) > 1 or fields["flags"] else None


@lru_cache(maxsize=1)
def _readers() -> tuple[Callable[..., Extracted], Callable[[Extracted], dict[str, Any]]]:
    # Their dataclasses would take a third of the time of `import ingest`, and an import in a call is a look-up in each.
    from pricing.calls import fields_of
    from pricing.extract import extract_usage

    return extract_usage, fields_of
