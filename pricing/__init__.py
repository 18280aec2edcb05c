"""Price book and exact cost of LLM requests: pure arithmetic over dated rows, no network, no clock but `at`."""

import importlib
import typing

if typing.TYPE_CHECKING:
    from pricing.book import PriceBook
    from pricing.charge import Charge
    from pricing.cost import calculate_cost
    from pricing.customer import parse_customer_prices
    from pricing.errors import PartsExceedWholeError, PriceBookError, PricingError, UnknownModelError, UsageError
    from pricing.extract import Extracted, extract_usage
    from pricing.rates import Rates, UnitPrice
    from pricing.results import Cost, Explanation
    from pricing.rows import PriceRow, parse_price_row
    from pricing.usage import TokenParts, TokenUsage, split_tokens

__all__ = [
    "Charge",
    "Cost",
    "Explanation",
    "Extracted",
    "PartsExceedWholeError",
    "PriceBook",
    "PriceBookError",
    "PriceRow",
    "PricingError",
    "Rates",
    "TokenParts",
    "TokenUsage",
    "UnitPrice",
    "UnknownModelError",
    "UsageError",
    "calculate_cost",
    "extract_usage",
    "parse_customer_prices",
    "parse_price_row",
    "split_tokens",
]

# A backend that records calls needs the names of models and not the book: each module is imported with its first name.
_MODULES = {
    name: module
    for module, names in {
        "pricing.book": ("PriceBook",),
        "pricing.charge": ("Charge",),
        "pricing.cost": ("calculate_cost",),
        "pricing.customer": ("parse_customer_prices",),
        "pricing.errors": (
            "PartsExceedWholeError",
            "PriceBookError",
            "PricingError",
            "UnknownModelError",
            "UsageError",
        ),
        "pricing.extract": (
            "Extracted",
            "extract_usage",
        ),
        "pricing.rates": (
            "Rates",
            "UnitPrice",
        ),
        "pricing.results": (
            "Cost",
            "Explanation",
        ),
        "pricing.rows": (
            "PriceRow",
            "parse_price_row",
        ),
        "pricing.usage": (
            "TokenParts",
            "TokenUsage",
            "split_tokens",
        ),
    }.items()
    for name in names
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(module), name)
    return value
