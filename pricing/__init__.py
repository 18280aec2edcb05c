"""Price book and exact cost of LLM requests: pure arithmetic over dated rows, no network, no clock but `at`."""

from pricing.book import PriceBook
from pricing.charge import Charge, charge
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
    "charge",
    "extract_usage",
    "parse_customer_prices",
    "parse_price_row",
    "split_tokens",
]
