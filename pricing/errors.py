"""The errors of the price book.

PricingError
├── UnknownModelError        no layer of the book knows the model under any of its names
├── UsageError               the token counts cannot be priced
│   └── PartsExceedWholeError    cached, written, audio or reasoning tokens exceed the total they belong to
└── PriceBookError           a row, a deployment or a region given to the book is wrong
"""

from __future__ import annotations


class PricingError(Exception):
    """Base of every error that `pricing` raises."""


class UnknownModelError(PricingError, LookupError):
    """No layer of the book knows the model under any of its names.

    Attributes:
        provider: Provider as the caller named it.
        model: Model as the caller named it.
    """

    def __init__(self, provider: str, model: str) -> None:
        super().__init__(f"no price is known for model {model!r} of provider {provider!r}")
        self.provider = provider
        self.model = model


class UsageError(PricingError, ValueError):
    """The token counts cannot be priced: negative, not whole numbers, or without a time zone on `at`."""


class PartsExceedWholeError(UsageError):
    """Parts of a count (cached, written, audio, reasoning) exceed the count they belong to."""


class PriceBookError(PricingError, ValueError):
    """A row, a deployment or a region given to the book is wrong; the message names it."""
