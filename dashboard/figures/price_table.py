"""The prices in force as tables, and why a price applies. Pure, from a price book."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pandas as pd

from ingest.documents.words import DASH
from pricing import PriceBook, PricingError, parse_price_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ingest.database import JsonValue
    from pricing import Explanation, PriceRow

TIERS: Final = {"default": "Standard", "batch": "Batch", "flex": "Flex", "priority": "Priority"}
LAYERS: Final = {"customer": "Yours", "treering": "Treering", "litellm": "Second catalogue", "genai": "Catalogue"}
RATES: Final = {
    "input": "Input",
    "cached_input": "Cached input",
    "cache_write": "Cache write",
    "output": "Output",
    "reasoning": "Reasoning",
    "audio_input": "Audio input",
    "audio_output": "Audio output",
    "request_fee": "Per request",
    "per_hour": "Per hour",
}
# Parameter of the address of Settings: whose price is missing, as provider/model.
ASKED: Final = "price"
# Providers whose models the catalogue prices; those of the customer's own rows come on top.
PROVIDERS: Final = (
    "openai", "azure", "anthropic", "aws", "cohere", "deepseek", "fireworks", "google", "groq", "mistral",
    "openrouter", "perplexity", "together", "x-ai",
)  # fmt: skip


def price_address(model: str, provider: str = "") -> dict[str, str]:
    """Return the parameters of the form of a new price, with the model filled in and the provider where it is known."""
    return {"tab": "prices", ASKED: f"{provider}/{model}"}


def prices_in_force(book: PriceBook, provider: str, tier: str, search: str, at: datetime) -> pd.DataFrame:
    """Return one line for each model that has a price for a tier at a time.

    Columns: model, the rates by their names (US dollars per million tokens; request_fee per request, per_hour per
    hour; only those that occur), from, to, layer, source.
    """
    lines = []
    wanted = search.strip().lower()
    for model in book.models(provider):
        if wanted not in model:
            continue
        try:
            found = book.explain(model, provider=provider, service_tier=tier, at=at)
        except PricingError:
            continue
        if found.row is not None and found.band is not None:
            lines.append({"model": model, **_line(found.row), **rates_of(found)})
    frame = pd.DataFrame(lines, columns=["model", *RATES, "from", "to", "layer", "source"])
    empty = [name for name in RATES if frame[name].isna().all() and name not in ("input", "output")]
    return frame.drop(columns=empty)


def own_prices(prices: Iterable[Mapping[str, JsonValue]], now: datetime) -> pd.DataFrame:
    """Return the customer's rows as they were appended, the newest first, with their state."""
    columns = ["model", "provider", "tier", "state", "from", "to", "rates", "source", "by"]
    lines = [
        {
            "model": price.get("model"),
            "provider": price.get("provider"),
            "tier": TIERS.get(str(price.get("service_tier")), "Every tier"),
            "state": _state(price, now),
            "from": _day(price.get("valid_from")),
            "to": _day(price.get("valid_to")),
            "rates": _rates_in_words(price.get("rates")),
            "source": price.get("source"),
            "by": price.get("created_by") or DASH,
        }
        for price in prices
    ]
    return pd.DataFrame(lines[::-1], columns=columns)


def explain_in_words(found: Explanation) -> list[str]:
    """Return how a name and a time led to a price, one sentence a step."""
    steps = [_sentence(step) for step in found.steps]
    if found.row is None:
        return [*steps, "The cost of such a call is unknown."]
    row = found.row
    begins = f"from {row.valid_from:%d %b %Y %H:%M} UTC" if row.valid_from else "from the start"
    ends = f"to {row.valid_to:%d %b %Y %H:%M} UTC" if row.valid_to else "with no end date"
    steps.append(f"It prices {found.provider}/{found.model} {begins} {ends}: {row.price_id}.")
    if row.source_url:
        steps.append(f"Source: {row.source_url}.")
    if found.passed_over:
        steps.append(f"Rows not used: {', '.join(found.passed_over)}.")
    return steps


def rates_of(found: Explanation) -> dict[str, float]:
    """Return the rates that apply, by name, for display."""
    return {} if found.band is None else {name: float(rate) for name, rate in found.band.priced().items()}


def check_price(price: Mapping[str, JsonValue]) -> PriceRow:
    """Read a price document as `add_price` takes it.

    Raises:
        PriceBookError: It is wrong; the message says what.
    """
    entry = {key: price[key] for key in ("provider", "service_tier", "valid_from", "valid_to", "rates") if key in price}
    return parse_price_row({**entry, "models": [price["model"]], "source_url": price["source"]})


def _line(row: PriceRow) -> dict[str, str]:
    return {
        "from": f"{row.valid_from:%Y-%m-%d}" if row.valid_from else DASH,
        "to": f"{row.valid_to:%Y-%m-%d}" if row.valid_to else DASH,
        "layer": LAYERS[row.layer],
        "source": row.source_url or DASH,
    }


def _sentence(step: str) -> str:
    text = step
    for layer, name in LAYERS.items():
        text = text.replace(f"row of layer '{layer}' is in force", f"the row in force is from the layer {name}")
    return f"{text[0].upper()}{text[1:]}."


def _state(price: Mapping[str, JsonValue], now: datetime) -> str:
    begins, ends = price.get("valid_from"), price.get("valid_to")
    if price.get("is_superseded") is True:
        return "Corrected"
    if isinstance(ends, str) and pd.Timestamp(ends) <= now:
        return "Ended"
    if isinstance(begins, str) and pd.Timestamp(begins) > now:
        return "Scheduled"
    return "Started"


def _day(value: JsonValue) -> str:
    return f"{pd.Timestamp(value):%Y-%m-%d %H:%M}" if isinstance(value, str) else DASH


def _rates_in_words(rates: JsonValue) -> str:
    if not isinstance(rates, dict):
        return DASH
    return ", ".join(f"{RATES.get(name, name).lower()} {rate}" for name, rate in rates.items())
