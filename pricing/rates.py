"""Exact arithmetic: the disjoint parts of a usage, each multiplied by its own rate."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pricing.errors import UsageError
from pricing.usage import MEASURE_UNITS, TokenParts, TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The caller's own decimal context may round at six digits. This one never rounds: a result that does not fit raises.
EXACT = Context(prec=60, traps=[DivisionByZero, Inexact, InvalidOperation, Overflow])
_TOKENS_PER_MTOK_EXPONENT = -6
_ZERO = Decimal(0)
_MS_PER_HOUR = Decimal(3_600_000)
# An hour is 2^7 x 3^2 x 5^5 milliseconds: a ninth has no last digit, so time alone is rounded, far below any bill.
_TIME_STEP = Decimal("1e-15")
_TIME_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, Overflow])


class UnitPrice(NamedTuple):
    """US dollars for so many units: 10 $ for 1,000 searches, 0.111 $ for 3,600 seconds."""

    amount: Decimal
    per: int = 1

    def charge(self, count: int | Decimal) -> Decimal:
        """Return what `count` units cost; only a price without a last digit is rounded, half to even at 1e-15."""
        amount = EXACT.multiply(self.amount, count)
        if self.per == 1:
            return amount
        try:
            return EXACT.divide(amount, self.per)
        except Inexact:
            quotient = _TIME_CONTEXT.divide(amount, self.per)
            return _TIME_CONTEXT.quantize(quotient, _TIME_STEP).normalize(_TIME_CONTEXT)

    def __str__(self) -> str:
        figure = f"{self.amount.normalize():f}"
        return figure if self.per == 1 else f"{figure}/{self.per}"


NO_UNIT_PRICES: Mapping[str, UnitPrice] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of one row for requests above one input size, in US dollars per million tokens.

    Attributes:
        above_tokens: Applies to the whole request when its input exceeds this many tokens; 0 for the first band.
        input: Uncached text input.
        cached_input: Input read from the prompt cache; None means billed as `input`.
        cache_write: Input written to the prompt cache; None means billed as `input`.
        cache_write_1h: Input written for an hour. None means billed as `input` where `cache_write` is None too, else
            unknown: longer lifetimes cost more.
        audio_input: Audio input; None means billed as `input`, unless the row says that audio is priced apart.
        cached_audio: Audio read from the cache; None means billed as `cached_input`, with the same exception.
        image_input: Image input; None means billed as `input`.
        cached_image: Images read from the cache; None means billed as `cached_input`.
        output: Text output. None where `image_output` is set means that all output is images.
        reasoning: Reasoning output; None means billed as `output`.
        audio_output: Audio output; None as for `audio_input`, against `output`.
        image_output: Image output; None means billed as `output`. Where it differs from `output`, output that nobody
            told apart has no price.
        request_fee: US dollars per request.
        per_hour: US dollars per hour that a request takes (a self-hosted server); None means that time is free.
        units: Prices of what is billed by other units, by kind, on top of the tokens.
        is_measured: Whether a request always uses something that is counted: without any count its cost is unknown,
            not 0.
    """

    above_tokens: int = 0
    input: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    cached_audio: Decimal | None = None
    image_input: Decimal | None = None
    cached_image: Decimal | None = None
    output: Decimal | None = None
    reasoning: Decimal | None = None
    audio_output: Decimal | None = None
    image_output: Decimal | None = None
    request_fee: Decimal = _ZERO
    per_hour: Decimal | None = None
    units: Mapping[str, UnitPrice] = field(default_factory=lambda: NO_UNIT_PRICES)
    is_measured: bool = False

    def priced(self) -> dict[str, Decimal]:
        """Return the figures that are set, by name: those of tokens, requests and time, not those of units."""
        values = {name: getattr(self, name) for name in FIGURES}
        return {name: value for name, value in values.items() if value is not None and (value or name != "request_fee")}

    def scaled(self, factor: Decimal) -> Rates:
        """Return the same band with every figure but those of units multiplied by `factor`, exactly."""
        return self.with_figures({name: EXACT.multiply(value, factor) for name, value in self.priced().items()})

    def with_figures(self, figures: Mapping[str, Decimal]) -> Rates:
        """Return the same band with these figures in place of its own."""
        return replace(self, **figures)  # type: ignore[arg-type]  # the names are those of figures


FIGURES = tuple(field.name for field in fields(Rates) if field.name not in ("above_tokens", "units", "is_measured"))
"""Names of the figures of a band, units left out."""

TOKEN_FIGURES = frozenset(FIGURES) - {"request_fee", "per_hour"}
"""Names of the figures that are US dollars per million tokens."""


@dataclass(frozen=True, slots=True)
class Band:
    """One band of a row, ready to multiply: US dollars per token, in the order of `TokenParts`."""

    above_tokens: int
    per_token: tuple[Decimal | None, ...]
    request_fee: Decimal
    per_hour: Decimal | None = None
    units: Mapping[str, UnitPrice] = field(default_factory=lambda: NO_UNIT_PRICES)
    is_measured: bool = False
    untold_output: Decimal | None = None
    tells_output_apart: bool = False
    is_free_of_tokens: bool = False

    def charge(
        self, usage: TokenUsage, duration_ms: Decimal | float | None = None
    ) -> tuple[Decimal, dict[str, Decimal], tuple[str, ...]]:
        """Return US dollars of everything that has a price, the same by part, and the names of what has none.

        The name is that of the part or unit; "usage" where nothing was counted of something that is billed by what is
        counted.
        """
        multiply, add = EXACT.multiply, EXACT.add
        total = self.request_fee
        parts: dict[str, Decimal] = {"request_fee": total} if total else {}
        unknown: tuple[str, ...] = ()
        rates = self.per_token
        if self.tells_output_apart and usage.image_output_tokens is None:
            rates = (*rates[:_TEXT_OUTPUT], self.untold_output, *rates[_TEXT_OUTPUT + 1 :])
        for name, count, rate in zip(_PART_NAMES, usage.parts, rates):  # noqa: B905 -- one length, and `strict` takes time
            if count:
                if rate is None:
                    unknown = (*unknown, name)
                    continue
                amount = multiply(rate, count)
                parts[name] = amount
                total = add(total, amount)
        if self.per_hour is not None:
            if duration_ms is None:
                unknown = (*unknown, "duration")
            else:
                parts["duration"] = amount = charge_time(self.per_hour, duration_ms)
                total = add(total, amount)
        if usage.units:
            unpriced = add_units(usage.units, self.units, parts)
            if usage.prompt_tokens or usage.completion_tokens:
                unpriced = tuple(kind for kind in unpriced if not measures(kind))  # the tokens are what is billed
            unknown = (*unknown, *unpriced)
            total = sum_exactly(parts.values())
        if self.is_measured and (usage.is_empty or (self.is_free_of_tokens and not any(map(measures, usage.units)))):
            unknown = (*unknown, "usage")
        return total, parts, unknown


_PART_NAMES = TokenParts._fields
_TEXT_OUTPUT = _PART_NAMES.index("text_output")


def add_units(
    units: Mapping[str, int | Decimal], prices: Mapping[str, UnitPrice], parts: dict[str, Decimal]
) -> tuple[str, ...]:
    """Add what units cost to `parts` and return the kinds that have no price.

    A kind with qualifiers ("web_search:preview") takes the price of the longest beginning that has one.
    """
    unknown: tuple[str, ...] = ()
    for kind, count in units.items():
        if not count:
            continue
        price = find_unit_price(kind, prices)
        if price is None:
            unknown = (*unknown, kind)
        else:
            parts[kind] = price.charge(count)
    return unknown


def find_unit_price(kind: str, prices: Mapping[str, UnitPrice]) -> UnitPrice | None:
    """Return the price of a kind, else that of the longest beginning of its name that has one."""
    while kind:
        if kind in prices:
            return prices[kind]
        kind = kind.rpartition(":")[0]
    return None


def measures(kind: str) -> bool:
    """Whether a kind of unit measures the work itself, not a tool beside it."""
    return kind.partition(":")[0] in MEASURE_UNITS


def sum_exactly(amounts: Iterable[Decimal]) -> Decimal:
    """Add up without rounding."""
    total = _ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def charge_time(per_hour: Decimal, duration_ms: Decimal | float) -> Decimal:
    """Return what a duration costs, rounded half to even at 1e-15 US dollars.

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
    cached = _first(rates.cached_input, rates.input)
    audio_input, cached_audio, audio_output = rates.audio_input, rates.cached_audio, rates.audio_output
    if not audio_priced_apart:
        audio_input = _first(audio_input, rates.input)
        cached_audio = _first(cached_audio, cached)
        audio_output = _first(audio_output, rates.output)
    hour = rates.cache_write_1h
    if hour is None and rates.cache_write is None:
        hour = rates.input
    in_order = (
        rates.input,
        cached,
        _first(rates.cache_write, rates.input),
        hour,
        audio_input,
        cached_audio,
        _first(rates.image_input, rates.input),
        _first(rates.cached_image, cached),
        rates.output,
        _first(rates.reasoning, rates.output),
        audio_output,
        _first(rates.image_output, rates.output),
    )
    tells_apart = rates.image_output is not None and rates.image_output != rates.output
    return Band(
        rates.above_tokens,
        tuple(_per_token(rate) for rate in in_order),
        rates.request_fee,
        rates.per_hour,
        rates.units,
        rates.is_measured or any(map(measures, rates.units)),
        _per_token(rates.image_output) if tells_apart and rates.output is None else None,
        tells_apart,
        any(map(measures, rates.units)) and not any(in_order),
    )


def _first(rate: Decimal | None, otherwise: Decimal | None) -> Decimal | None:
    return otherwise if rate is None else rate


def _per_token(rate: Decimal | None) -> Decimal | None:
    return None if rate is None else EXACT.scaleb(rate, _TOKENS_PER_MTOK_EXPONENT)
