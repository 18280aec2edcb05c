"""Charges events as they leave for the database, and logs what could not be priced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.notices import add_flags
from pricing import Charge, PriceBook, UnknownModelError
from pricing.charge import charge
from pricing.names import is_openai_text, is_self_hosted

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.notices import Notices


class Costing:
    """Adds `estimated_cost`, `cost_source` and `price_id` to usage events.

    Args:
        fallback_model: OpenAI model whose price stands in for an unknown one of theirs; None leaves the cost unknown.
        notices: Where an unknown model is reported.
        book: Returns the price book to use now; default: the one without customer rows.
    """

    def __init__(
        self, fallback_model: str | None, notices: Notices, book: Callable[[], PriceBook] = PriceBook.default
    ) -> None:
        self._fallback_model = fallback_model
        self._notices = notices
        self._book = book

    def apply(self, event: dict[str, JsonValue]) -> None:
        """Charge one usage event, as `pricing.charge` decides."""
        try:
            found = charge(event, self._book(), self._fallback_model)
        except Exception as error:  # noqa: BLE001 -- no price is worth losing the event
            name = f"{event['provider']}/{event['model']}"
            self._notices.warn(f"price {event['model']}", f"{name} could not be priced: {error}")
            found = Charge(None, "unpriced")
        else:
            self._report(event, found)
        event["cost_source"] = found.source
        if found.total is not None:
            event["estimated_cost"] = format(found.total, "f")
        if found.price_id is not None:
            event["price_id"] = found.price_id
        add_flags(event, found.flags)

    def _report(self, event: dict[str, JsonValue], found: Charge) -> None:
        model, provider = str(event["model"]), str(event["provider"])
        if found.source == "fallback":
            stand_in = str(found.price_id).partition(":")[2].partition("#")[0]
            text = f"no price is known for {provider}/{model}; it is priced as {stand_in}"
            self._notices.warn(f"price {model}", text)
        elif found.unknown:
            what = " and ".join(found.unknown)
            rest = "its cost is unknown" if found.total is None else "the rest of its cost counts"
            text = f"no price is known for {provider}/{model} ({what}); {rest}"
            self._notices.warn(f"price {model}", text)
            if found.total is None and is_openai_text(model) and not is_self_hosted(provider):
                self._check_fallback()

    def _check_fallback(self) -> None:
        if self._fallback_model is None:
            return
        try:
            self._book().explain(self._fallback_model)
        except UnknownModelError as error:
            self._notices.warn("fallback", f"TREERING_FALLBACK_MODEL={self._fallback_model} has no price: {error}")
