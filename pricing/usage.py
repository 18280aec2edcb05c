"""What one request used: its token counts as one value, with their parts, and what is billed by other units."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pricing.errors import PartsExceedWholeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_UNITS: Final[Mapping[str, int | Decimal]] = MappingProxyType({})

FEE_UNITS: Final = frozenset(
    {
        *("web_search", "maps_grounding", "x_search", "web_fetch", "file_search"),
        *("collections_search", "container", "code_execution", "image_generation", "tool_call", "request"),
        "advisor_tokens",
    }
)
"""Units of tools, billed on top of tokens."""

MEASURE_UNITS: Final = frozenset(
    {
        *("audio_seconds", "video_seconds", "characters", "pages", "annotated_pages", "images", "input_images"),
        *("image_pixels", "video_pixels"),
        *("search_units", "messages"),
    }
)
"""Units that measure the work itself: a model that is billed by one of them costs something unknown without a count."""

UNITS: Final = FEE_UNITS | MEASURE_UNITS

MAX_UNITS: Final = 32
"""Most kinds of unit in one usage; real answers have one or two."""

MAX_COUNT: Final = 10**12
"""Largest count of one unit."""

_UNIT: Final = re.compile(r"[a-z][a-z0-9_]{0,39}(:[a-z0-9][a-z0-9_.-]{0,39}){0,3}")
_EXCEEDS: Final = "above_whole"
# A named tuple's own constructor takes a tenth of what a price may take.
_as_parts: Final = tuple.__new__


class TokenParts(NamedTuple):
    """Disjoint parts of one request's tokens: the first eight add up to its input, the rest to its output."""

    uncached_input: int
    cached_input: int
    cache_write: int
    cache_write_1h: int
    audio_input: int
    cached_audio: int
    image_input: int
    cached_image: int
    text_output: int
    reasoning: int
    audio_output: int
    image_output: int


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What one request used, counted as OpenAI counts: a whole includes its parts.

    Attributes:
        prompt_tokens: All input tokens, cached, written, audio and image ones included.
        completion_tokens: All output tokens, reasoning, audio and image ones included.
        cached_tokens: Part of the input read from the prompt cache, cached audio and images included.
        cache_write_tokens: Part of the input written to the prompt cache, whatever the lifetime.
        cache_write_1h_tokens: Part of `cache_write_tokens` that is kept for an hour.
        reasoning_tokens: Part of the output spent on reasoning.
        audio_input_tokens: Part of the input that is audio, cached or not.
        audio_output_tokens: Part of the output that is audio.
        cached_audio_tokens: Part of both `cached_tokens` and `audio_input_tokens`.
        image_input_tokens: Part of the input that is images, cached or not.
        cached_image_tokens: Part of both `cached_tokens` and `image_input_tokens`.
        image_output_tokens: Part of the output that is images. None: nobody told text and images apart, which matters
            where a model gives both at different prices.
        units: What is billed by other units, by kind ("web_search", "audio_seconds", …; `UNITS` names them), with
            qualifiers after colons where prices depend on them ("web_search:preview", "images:hd:1024x1024").
        parts: The same tokens as disjoint parts.

    Raises:
        UsageError: A count is negative or not a whole number, or a unit has no proper name or count.
        PartsExceedWholeError: Parts exceed the count they belong to.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    cached_audio_tokens: int = 0
    image_input_tokens: int = 0
    cached_image_tokens: int = 0
    image_output_tokens: int | None = None
    units: Mapping[str, int | Decimal] = field(default_factory=lambda: NO_UNITS)
    parts: TokenParts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        prompt, completion, cached = self.prompt_tokens, self.completion_tokens, self.cached_tokens
        written, hour, reasoning = self.cache_write_tokens, self.cache_write_1h_tokens, self.reasoning_tokens
        audio, cached_audio = self.audio_input_tokens, self.cached_audio_tokens
        image, cached_image = self.image_input_tokens, self.cached_image_tokens
        audio_output, image_output = self.audio_output_tokens, self.image_output_tokens or 0
        try:
            # The "or" of integers is negative exactly when one of them is, and refuses floats, None and Decimal.
            inner = (
                prompt - cached - written - (audio - cached_audio) - (image - cached_image),
                cached - cached_audio - cached_image,
                written - hour,
                hour,
                audio - cached_audio,
                cached_audio,
                image - cached_image,
                cached_image,
                completion - reasoning - audio_output - image_output,
                reasoning,
                audio_output,
                image_output,
            )
            parts = _as_parts(TokenParts, inner)
            smallest = prompt | completion | cached | written | hour | reasoning | audio | cached_audio | image
            smallest |= cached_image | audio_output | image_output
        except TypeError as error:
            raise UsageError("token counts must be whole numbers") from error
        if smallest < 0:
            raise UsageError("token counts must not be negative")
        if min(inner) < 0:
            self._refuse(parts)
        object.__setattr__(self, "parts", parts)
        if self.units:
            for kind, count in self.units.items():
                _check_unit(kind, count)

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all was counted."""
        return not (self.prompt_tokens or self.completion_tokens or any(self.units.values()))

    def _refuse(self, parts: TokenParts) -> None:
        if parts.uncached_input < 0:
            raise PartsExceedWholeError(
                f"cached ({self.cached_tokens}), cache write ({self.cache_write_tokens}), audio "
                f"({self.audio_input_tokens}) and image ({self.image_input_tokens}) tokens exceed the "
                f"{self.prompt_tokens} input tokens they are part of"
            )
        if parts.text_output < 0:
            raise PartsExceedWholeError(
                f"reasoning ({self.reasoning_tokens}), audio ({self.audio_output_tokens}) and image "
                f"({self.image_output_tokens or 0}) tokens exceed the {self.completion_tokens} output tokens they are "
                "part of"
            )
        raise PartsExceedWholeError(
            f"one-hour writes ({self.cache_write_1h_tokens}), cached audio ({self.cached_audio_tokens}) or cached "
            f"image ({self.cached_image_tokens}) tokens exceed the counts they are part of"
        )

    @classmethod
    def clamped(
        cls, counts: Mapping[str, int | None], units: Mapping[str, int | Decimal] = NO_UNITS
    ) -> tuple[TokenUsage, list[str]]:
        """Make a usage of counts that may contradict each other.

        Where parts overlap or exceed their whole, the one named first keeps its tokens: cached, written, audio, image;
        reasoning, audio, image.

        Args:
            counts: Counts of 0 or more by the name of the attribute; a missing one or None is 0.
            units: Units as for `TokenUsage`.

        Returns:
            The usage, and a flag ("cached_tokens:above_whole") for each part that was cut to its whole.
        """
        try:
            return cls(**{name: count for name, count in counts.items() if count is not None}, units=units), []
        except PartsExceedWholeError:
            return cls._cut(counts, units)

    @classmethod
    def _cut(cls, counts: Mapping[str, int | None], units: Mapping[str, int | Decimal]) -> tuple[TokenUsage, list[str]]:
        flags: list[str] = []
        prompt, completion = counts.get("prompt_tokens") or 0, counts.get("completion_tokens") or 0

        def part(name: str, whole: int, left: int) -> int:
            count = counts.get(name) or 0
            if count > whole:
                flags.append(f"{name}:{_EXCEEDS}")
            return min(count, left)

        cached = part("cached_tokens", prompt, prompt)
        written = part("cache_write_tokens", prompt, prompt - cached)
        hour = part("cache_write_1h_tokens", counts.get("cache_write_tokens") or 0, written)
        audio_whole, image_whole = counts.get("audio_input_tokens") or 0, counts.get("image_input_tokens") or 0
        cached_audio = part("cached_audio_tokens", min(cached, audio_whole), min(cached, audio_whole))
        cached_image = part("cached_image_tokens", min(cached, image_whole), min(cached - cached_audio, image_whole))
        left = prompt - cached - written
        audio = part("audio_input_tokens", prompt, left + cached_audio)
        image = part("image_input_tokens", prompt, left - audio + cached_audio + cached_image)
        reasoning = part("reasoning_tokens", completion, completion)
        audio_output = part("audio_output_tokens", completion, completion - reasoning)
        image_output = part("image_output_tokens", completion, completion - reasoning - audio_output)
        usage = cls(
            prompt, completion, cached, written, hour, reasoning, audio, audio_output, cached_audio, image,
            cached_image, None if counts.get("image_output_tokens") is None else image_output, units,
        )  # fmt: skip
        return usage, flags


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
    return TokenUsage(
        input_tokens,
        output_tokens,
        cached_input_tokens,
        cache_write_tokens,
        reasoning_tokens=reasoning_tokens,
        audio_input_tokens=audio_input_tokens,
        audio_output_tokens=audio_output_tokens,
    ).parts


def is_unit(kind: object) -> bool:
    """Whether a text can name a kind of unit, with or without qualifiers; it need not be one of `UNITS`."""
    return isinstance(kind, str) and _UNIT.fullmatch(kind) is not None


def _check_unit(kind: Any, count: Any) -> None:
    if not is_unit(kind):
        raise UsageError(f"no proper name of a unit: {kind!r:.60}")
    if isinstance(count, bool) or not isinstance(count, int | Decimal):
        raise UsageError(f"{kind} must be counted as an int or a Decimal")
    if isinstance(count, Decimal) and not count.is_finite():
        raise UsageError(f"{kind} must be a finite number")
    if not 0 <= count <= MAX_COUNT:
        raise UsageError(f"{kind} must be 0 to {MAX_COUNT}")
