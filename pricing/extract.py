"""Usage in every provider's own words, as one `TokenUsage`.

The words tell the dialect, not the provider's name: gateways pass on what they were given. What genai-prices has for
this, `extract_usage`, is not used: it needs the provider and the flavour of its API named, refuses an answer in which
one field is missing or odd, and knows neither Mistral's, DeepSeek's and the proxies' words for the cache nor Gemini's
snake case. A test compares the two where both apply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any, Final

from pricing.dialects import Counts, Units, cohere_counts, gemini_counts
from pricing.names import gives_images, leaves_cache_out
from pricing.rates import measures
from pricing.reported import Report, to_amount, to_units
from pricing.tools import count_reported_tools, count_tools
from pricing.usage import MAX_UNITS, NO_UNITS, TokenUsage

_USD_PER_TICK_EXPONENT: Final = -10
_MONEY: Final = Context(prec=60)  # the thread's own context may round at six digits
# Providers that say what they charge in US dollars: https://openrouter.ai/docs/cookbook/administration/usage-accounting,
# https://docs.perplexity.ai/api-reference. xAI's unit is in the field's name.
_CHARGES_IN_USD: Final = frozenset({"openrouter", "perplexity"})
_RESEARCH: Final = "deep-research"
_LARGER_SEARCHES: Final = ("medium", "high")
_TIERS: Final = {
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
    "provisioned_throughput": "provisioned",
    "on_demand": "default",
}
_CACHED: Final = (
    *("cached_tokens", "cache_read_input_tokens", "cache_read_tokens", "prompt_cache_hit_tokens", "num_cached_tokens"),
    *("cached_prompt_text_tokens", "cached_input_tokens"),
)
_MEASURES: Final = (
    ("audio_seconds", "prompt_audio_seconds"),
    ("pages", "pages_processed"),
    ("characters", "characters"),
    ("search_units", "search_units"),
    ("image_pixels", "image_pixels"),  # Voyage
    ("video_pixels", "video_pixels"),
)
_WRITTEN: Final = (
    "cache_write_tokens",
    "cache_creation_input_tokens",
    "cache_write_input_tokens",
    "cache_creation_tokens",
)


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a provider reported of one answer.

    Attributes:
        usage: What was used.
        flags: Findings, `field:what` each.
        is_counted: Whether the work itself was counted; else `usage` has no tokens because nothing was said of them.
        total_tokens: Tokens in all where that is the only count.
        provider_cost: US dollars that the provider says it charged, where its unit is known.
        reported_cost: What was reported as a cost in a unit that nobody knows.
        service_tier: Tier that served it, where usage says so.
    """

    usage: TokenUsage = field(default_factory=TokenUsage)
    flags: tuple[str, ...] = ()
    is_counted: bool = False
    total_tokens: int | None = None
    provider_cost: Decimal | None = None
    reported_cost: Decimal | None = None
    service_tier: str | None = None


def extract_usage(
    reported: Any,
    *,
    provider: str | None = None,
    model: str | None = None,
    operation: str | None = None,
    answer: Any = None,
    is_cost_trusted: bool = False,
) -> Extracted:
    """Read what an answer used. Never raises, whatever was reported.

    Args:
        reported: The usage object of an answer, in the provider's own words: a mapping or a client library's object.
        provider: Who was asked; decides whether a charge is in US dollars.
        model: Model that answered; decides what counts where words leave it open.
        operation: chat, responses, embeddings, images.generate, …
        answer: The whole answer, in which calls of tools are counted.
        is_cost_trusted: Whether the customer says that this host reports US dollars.
    """
    flags: list[str] = []
    try:
        return _extract(
            Report(reported, flags),
            flags,
            provider or "",
            (model or "").lower(),
            operation or "",
            answer,
            is_cost_trusted,
        )
    except Exception as error:  # noqa: BLE001 -- an object of a stranger's library may do anything
        return Extracted(flags=(*flags, f"usage:unreadable_{type(error).__name__}"))


def _extract(
    report: Report, flags: list[str], provider: str, model: str, operation: str, answer: Any, is_cost_trusted: bool
) -> Extracted:
    counts, units, total = _counts(report, flags, provider, model, operation)
    units = {**count_tools(answer, model), **units, **count_reported_tools(report, model)}
    advised = _advisor_tokens(report, provider, model)
    if advised:
        units["advisor_tokens"] = advised
    size = report.get("search_context_size")  # Perplexity's, whose fee for a request grows with it
    if size in _LARGER_SEARCHES:
        units[f"request:{size}"] = 1
    if units:
        units = {kind: count for kind, count in list(units.items())[:MAX_UNITS] if count}
    usage, cut = TokenUsage.clamped(counts, units or NO_UNITS)
    cost, is_usd = _read_cost(report, flags, is_trusted=is_cost_trusted or provider.lower() in _CHARGES_IN_USD)
    return Extracted(
        usage,
        tuple(dict.fromkeys((*flags, *cut))) if flags or cut else (),
        bool(counts) or any(map(measures, units)),
        total,
        cost if is_usd else None,
        None if is_usd else cost,
        _read_tier(report),
    )


def _counts(
    report: Report, flags: list[str], provider: str, model: str, operation: str
) -> tuple[Counts, Units, int | None]:
    """Return counts by name, units, and the total where that is the only count."""
    if "prompt_token_count" in report or "candidates_token_count" in report or "total_token_count" in report:
        return gemini_counts(report, model), {}, None
    if "billed_units" in report or "tokens" in report or "meta" in report:
        return *cohere_counts(report, flags), None
    units = _measures(report, flags)
    prompt = report.count("prompt_tokens", "input_tokens")
    completion = report.count("completion_tokens", "output_tokens")
    total = report.count("total_tokens")
    if prompt is None and completion is None:
        if "image_pixels" in report and "text_tokens" in report:  # the total counts pixels as tokens at another price
            return {"prompt_tokens": report.count("text_tokens"), "completion_tokens": 0}, units, None
        if total is not None and _has_input_alone(provider, operation):
            return {"prompt_tokens": total, "completion_tokens": 0}, units, None
        return {}, units, total
    if prompt is None:
        prompt = max((total or 0) - (completion or 0), 0)
    if completion is None:
        completion = max((total or 0) - prompt, 0)
    counts = _openai_parts(report, model, operation, completion)
    prompt = _with_cache(report, prompt, completion, counts, total, provider, model, flags)
    completion, reasoning = _with_reasoning(prompt, completion, counts.get("reasoning_tokens"), total, flags)
    if _RESEARCH in model:
        prompt, completion = _with_research(report, prompt, completion, reasoning, flags)
    counts |= {"prompt_tokens": prompt, "completion_tokens": completion, "reasoning_tokens": reasoning}
    return _with_iterations(report, counts, flags, provider, model, operation), units, None


def _with_iterations(
    report: Report, counts: Counts, flags: list[str], provider: str, model: str, operation: str
) -> Counts:
    """Add what Anthropic bills beside its top-level counts, which cover the messages alone.

    A compaction is read and written by the model itself. An advisor is another model with other prices: its tokens are
    a unit of their own, see `_advisor_tokens`.
    """
    for entry in report.items("iterations"):
        if entry.get("type") == "compaction":
            more, _, _ = _counts(entry, flags, provider, model, operation)
            counts = {
                name: None if count is None and more.get(name) is None else (count or 0) + (more.get(name) or 0)
                for name, count in counts.items()
            }
            flags.append("iterations:compaction_added")
    return counts


def _advisor_tokens(report: Report, provider: str, model: str) -> int:
    """Count the tokens of other models that were asked for advice, input and output together."""
    total = 0
    for entry in report.items("iterations"):
        if entry.get("type") == "advisor_message":
            counts, _, _ = _counts(entry, [], provider, model, "")
            total += (counts.get("prompt_tokens") or 0) + (counts.get("completion_tokens") or 0)
    return total


def _openai_parts(report: Report, model: str, operation: str, completion: int) -> Counts:
    into = report.under("prompt_tokens_details", "input_tokens_details", "input_token_details")
    out = report.under("completion_tokens_details", "output_tokens_details", "output_token_details")
    cached = into.under("cached_tokens_details")
    written, hour = _written(report, into)
    return {
        "cached_tokens": _larger(report.largest(*_CACHED), into.largest(*_CACHED, "cache_read")),
        "cache_write_tokens": written,
        "cache_write_1h_tokens": hour,
        "reasoning_tokens": _larger(
            out.largest("reasoning_tokens", "thinking_tokens", "reasoning"),
            report.largest("reasoning_tokens", "thinking_tokens"),
        ),
        "audio_input_tokens": into.count("audio_tokens", "audio"),
        "audio_output_tokens": out.count("audio_tokens", "audio"),
        "cached_audio_tokens": cached.count("audio_tokens"),
        "image_input_tokens": into.count("image_tokens"),
        "cached_image_tokens": cached.count("image_tokens"),
        "image_output_tokens": _image_output(out, model, operation, completion),
    }


def _image_output(out: Report, model: str, operation: str, completion: int) -> int | None:
    """Return how much of an output is images; None where nobody told, which matters to models of images alone."""
    if not gives_images(model) and not operation.startswith("images"):
        return out.count("image_tokens")
    told = out.count("image_tokens")
    if told is None and (text := out.count("text_tokens")) is not None:
        told = max(completion - text, 0)
    return completion if told is None and operation.startswith("images") else told


def _written(report: Report, into: Report) -> tuple[int | None, int | None]:
    """Return tokens written to the cache in all and those kept for an hour."""
    hour = minutes = None
    # LangChain writes the lifetimes among the details themselves, its `cache_creation` being what has none.
    for lifetimes in (report.under("cache_creation"), into.under("cache_creation_token_details"), into):
        if lifetimes:
            hour = _larger(hour, lifetimes.count("ephemeral_1h_input_tokens"))
            minutes = _larger(minutes, lifetimes.count("ephemeral_5m_input_tokens"))
    for entry in report.items("cache_details"):  # Bedrock
        count = entry.count("input_tokens") or 0
        if entry.get("ttl") == "1h":
            hour = (hour or 0) + count
        else:
            minutes = (minutes or 0) + count
    by_lifetime = None if hour is None and minutes is None else (hour or 0) + (minutes or 0)
    return _larger(report.largest(*_WRITTEN), into.largest(*_WRITTEN, "cache_creation"), by_lifetime), hour


def _with_cache(
    report: Report,
    prompt: int,
    completion: int,
    counts: Counts,
    total: int | None,
    provider: str,
    model: str,
    flags: list[str],
) -> int:
    """Return the whole input: Anthropic and Bedrock leave out of it what the cache read and wrote."""
    cache = (counts["cached_tokens"] or 0) + (counts["cache_write_tokens"] or 0)
    if not cache:
        return prompt
    beside = ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_write_input_tokens")
    is_own_dialect = "input_tokens" in report and any(name in report for name in beside)
    if total is not None and total == prompt + completion:
        is_left_out = False
    elif total is not None and total == prompt + cache + completion:
        is_left_out = True
    else:
        is_left_out = is_own_dialect and "input_tokens_details" not in report
    if not is_left_out and cache > prompt and leaves_cache_out(provider, model):
        flags.append("prompt_tokens:cache_added")
        is_left_out = True
    return prompt + cache if is_left_out else prompt


def _with_reasoning(
    prompt: int, completion: int, reasoning: int | None, total: int | None, flags: list[str]
) -> tuple[int, int | None]:
    """Add the reasoning that xAI and Gemini leave out of the completion; the total tells how much it is."""
    missing = total - prompt - completion if total is not None else 0
    if missing <= 0 and reasoning is not None and reasoning > completion:
        missing = reasoning
    if missing <= 0:
        return completion, reasoning
    flags.append("reasoning_tokens:left_out_of_completion")
    return completion + missing, max(reasoning or 0, missing)


def _with_research(
    report: Report, prompt: int, completion: int, reasoning: int | None, flags: list[str]
) -> tuple[int, int]:
    """Add what Perplexity's deep research bills beside its counts: citations at the price of input, and reasoning.

    https://docs.perplexity.ai/getting-started/pricing
    """
    cited = report.count("citation_tokens")
    if cited is None:
        return prompt, completion
    if cited:
        flags.append("prompt_tokens:citations_added")
    told = report.count("completion_tokens")
    if reasoning and completion == told:
        flags.append("reasoning_tokens:left_out_of_completion")
        completion += reasoning
    return prompt + cited, completion


def _measures(report: Report, flags: list[str]) -> Units:
    """What is billed by other units: a transcription's seconds, a document's pages, characters that were spoken."""
    units: Units = {}
    for kind, name in _MEASURES:
        if name in report:
            amount = to_amount(report.get(name), name, flags)
            if amount:
                units[kind] = to_units(amount)
    if report.get("type") == "duration":
        amount = to_amount(report.get("seconds"), "seconds", flags)
        if amount:
            units["audio_seconds"] = to_units(amount)
    return units


def _has_input_alone(provider: str, operation: str) -> bool:
    """Whether all tokens are input: of embeddings and rankings."""
    return operation in ("embeddings", "rerank") or provider.lower() in ("voyageai", "voyage")


def _read_tier(report: Report) -> str | None:
    """Return the tier, with "+us" where Anthropic says that it answered within the United States, which costs more."""
    said = report.get("service_tier") or report.get("traffic_type")
    said = getattr(said, "value", said)
    tier = _TIERS.get(said.lower(), said) if isinstance(said, str) and said else None
    if report.get("speed") == "fast":
        tier = "fast"
    return f"{tier or 'default'}+us" if report.get("inference_geo") == "us" else tier


def _read_cost(report: Report, flags: list[str], *, is_trusted: bool) -> tuple[Decimal | None, bool]:
    """Return what the provider says it charged and whether that is in US dollars."""
    if "cost_in_usd_ticks" in report:
        ticks = to_amount(report.get("cost_in_usd_ticks"), "cost_in_usd_ticks", flags)
        if ticks is not None:
            return _MONEY.scaleb(ticks, _USD_PER_TICK_EXPONENT), True
    cost = report.get("cost")
    if cost is None:
        return None, False
    if not isinstance(cost, bool | int | float | str | Decimal):
        cost = report.under("cost").get("total_cost")
    amount = to_amount(cost, "cost", flags)
    if amount is None:
        return None, False
    upstream = to_amount(report.under("cost_details").get("upstream_inference_cost"), "upstream_inference_cost", flags)
    if upstream is not None and (report.get("is_byok") or not amount):
        # The customer's own key: the provider behind charges the customer, OpenRouter at most a fee.
        amount = _MONEY.add(amount, upstream)
    return amount, is_trusted


def _larger(*counts: int | None) -> int | None:
    largest: int | None = None
    for count in counts:
        if count is not None and (largest is None or count > largest):
            largest = count
    return largest
