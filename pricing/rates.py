"""Exact arithmetic: token counts split into disjoint parts, each multiplied by its own rate."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pricing.errors import PartsExceedWholeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

# The caller's own decimal context may round at six digits. This one never rounds: a result that does not fit raises.
EXACT = Context(prec=60, traps=[DivisionByZero, Inexact, InvalidOperation, Overflow])
_TOKENS_PER_MTOK_EXPONENT = -6
_ZERO = Decimal(0)
_MS_PER_HOUR = Decimal(3_600_000)
# An hour is 2^7 x 3^2 x 5^5 milliseconds: a ninth has no last digit, so time alone is rounded, far below any bill.
_TIME_STEP = Decimal("1e-15")
_TIME_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, Overflow])


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of one row for requests above one input size, in US dollars per million tokens.

    Attributes:
        above_tokens: Applies to the whole request when its input exceeds this many tokens; 0 for the first band.
        input: Uncached text input.
        cached_input: Input read from the prompt cache; None means billed as `input`.
        cache_write: Input written to the prompt cache; None means billed as `input`.
        audio_input: Audio input; None means billed as `input`, unless the row says that audio is priced apart.
        output: Text output.
        reasoning: Reasoning output; None means billed as `output`.
        audio_output: Audio output; None as for `audio_input`, against `output`.
        request_fee: US dollars per request.
        per_hour: US dollars per hour that a request takes (a self-hosted server); None means that time is free.
    """

    above_tokens: int = 0
    input: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    audio_input: Decimal | None = None
    output: Decimal | None = None
    reasoning: Decimal | None = None
    audio_output: Decimal | None = None
    request_fee: Decimal = _ZERO
    per_hour: Decimal | None = None

    def priced(self) -> dict[str, Decimal]:
        """Return the figures that are set, by name, the band's start left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "above_tokens"}
        return {name: value for name, value in values.items() if value is not None and (value or name != "request_fee")}

    def scaled(self, factor: Decimal) -> Rates:
        """Return the same band with every figure multiplied by `factor`, exactly."""
        figures = {name: EXACT.multiply(value, factor) for name, value in self.priced().items()}
        fee = figures.pop("request_fee", _ZERO)
        return Rates(above_tokens=self.above_tokens, request_fee=fee, **figures)


class TokenParts(NamedTuple):
    """Disjoint parts of one request's tokens: the first four add up to its input, the rest to its output."""

    uncached_input: int
    cached_input: int
    cache_write: int
    audio_input: int
    text_output: int
    reasoning: int
    audio_output: int


def split_tokens(
    input_tokens: int,
    output_tokens: int,
    cached_input_tokens: int = 0,
    cache_write_tokens: int = 0,
    reasoning_tokens: int = 0,
    audio_input_tokens: int = 0,
    audio_output_tokens: int = 0,
) -> TokenParts:
    """Split OpenAI's inclusive counts into disjoint parts.

    Cached, written and audio input are taken as disjoint from each other, as OpenAI reports them for chat.

    Raises:
        UsageError: A count is negative or not an int.
        PartsExceedWholeError: Parts exceed the count they belong to.
    """
    try:
        # The "or" of integers is negative exactly when one of them is, and refuses floats, None and Decimal.
        smallest = (
            input_tokens
            | output_tokens
            | cached_input_tokens
            | cache_write_tokens
            | reasoning_tokens
            | audio_input_tokens
            | audio_output_tokens
        )
    except TypeError as error:
        raise UsageError("token counts must be whole numbers") from error
    if smallest < 0:
        raise UsageError("token counts must not be negative")
    uncached_input = input_tokens - cached_input_tokens - cache_write_tokens - audio_input_tokens
    if uncached_input < 0:
        raise PartsExceedWholeError(
            f"cached ({cached_input_tokens}), cache write ({cache_write_tokens}) and audio ({audio_input_tokens}) "
            f"tokens exceed the {input_tokens} input tokens they are part of"
        )
    text_output = output_tokens - reasoning_tokens - audio_output_tokens
    if text_output < 0:
        raise PartsExceedWholeError(
            f"reasoning ({reasoning_tokens}) and audio ({audio_output_tokens}) tokens exceed the {output_tokens} "
            "output tokens they are part of"
        )
    return TokenParts(
        uncached_input,
        cached_input_tokens,
        cache_write_tokens,
        audio_input_tokens,
        text_output,
        reasoning_tokens,
        audio_output_tokens,
    )


@dataclass(frozen=True, slots=True)
class Band:
    """One band of a row, ready to multiply: US dollars per token, in the order of `TokenParts`."""

    above_tokens: int
    per_token: tuple[Decimal | None, ...]
    request_fee: Decimal
    per_hour: Decimal | None = None

    def charge(
        self, tokens: TokenParts, duration_ms: Decimal | float | None = None
    ) -> tuple[Decimal | None, Mapping[str, Decimal]]:
        """Return the exact sum and its parts in US dollars; (None, {}) when something that was used has no rate."""
        multiply = EXACT.multiply
        add = EXACT.add
        total = self.request_fee
        parts: dict[str, Decimal] = {"request_fee": total} if total else {}
        for name, count, rate in zip(TokenParts._fields, tokens, self.per_token, strict=True):
            if count:
                if rate is None:
                    return None, _NOTHING
                amount = multiply(rate, count)
                parts[name] = amount
                total = add(total, amount)
        if self.per_hour is not None:
            if duration_ms is None:
                return None, _NOTHING
            parts["duration"] = amount = charge_time(self.per_hour, duration_ms)
            total = add(total, amount)
        return total, MappingProxyType(parts)


_NOTHING: Mapping[str, Decimal] = MappingProxyType({})


def charge_time(per_hour: Decimal, duration_ms: Decimal | float) -> Decimal:
    """Return what a duration costs, rounded half to even at 1e-15 US dollars, the only figure that is rounded.

    Raises:
        UsageError: The duration is negative or not a finite number.
    """
    # The shortest text of a float is what its owner measured and what JSON carries.
    milliseconds = Decimal(str(duration_ms))
    if not milliseconds.is_finite() or milliseconds < 0:
        raise UsageError("a duration must be 0 ms or more")
    amount = _TIME_CONTEXT.divide(_TIME_CONTEXT.multiply(per_hour, milliseconds), _MS_PER_HOUR)
    return _TIME_CONTEXT.quantize(amount, _TIME_STEP).normalize(_TIME_CONTEXT)


def compile_band(rates: Rates, *, audio_priced_apart: bool) -> Band:
    """Resolve what inherits from what and scale a band's figures from millions of tokens to one token."""
    audio_input = rates.audio_input
    audio_output = rates.audio_output
    if not audio_priced_apart:
        audio_input = rates.input if audio_input is None else audio_input
        audio_output = rates.output if audio_output is None else audio_output
    in_order = (
        rates.input,
        rates.input if rates.cached_input is None else rates.cached_input,
        rates.input if rates.cache_write is None else rates.cache_write,
        audio_input,
        rates.output,
        rates.output if rates.reasoning is None else rates.reasoning,
        audio_output,
    )
    per_token = tuple(None if rate is None else EXACT.scaleb(rate, _TOKENS_PER_MTOK_EXPONENT) for rate in in_order)
    return Band(rates.above_tokens, per_token, rates.request_fee, rates.per_hour)
