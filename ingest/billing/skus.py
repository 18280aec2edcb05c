"""What a cloud's SKU is for: the model and the kind of tokens in the name of its meter.

The names follow no reference. Azure: "gpt-4o-0806-Inp-glbl Tokens", "5.4 mini cd Inp Gl 1M Tokens". AWS:
"USE1-Claude4.6Opus-cache-read-input-token-count-cross-region-global", and for models of its marketplace
"USE1-MP:USE1_input_tokens_global_standard-Units" with the model in the service's name. Google:
"Gemini 2.5 Flash GA Text Input - Predictions".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ingest.billing.line_items import LineItem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Cloud = Literal["azure", "aws", "google"]

_INPUT: Final = frozenset({"inp", "input", "in", "inputs", "prompt"})
_OUTPUT: Final = frozenset({"outp", "output", "opt", "out", "outputs", "completion"})
_CACHED: Final = frozenset({"cached", "cchd", "ccchd", "cache", "cd", "caching"})
_WRITE: Final = frozenset({"wr", "write", "writes"})
_AUDIO: Final = frozenset({"aud", "audio", "speech"})
_IMAGE: Final = frozenset({"img", "image"})
_TIERS: Final[Mapping[str, frozenset[str]]] = {
    "batch": frozenset({"batch"}),
    "flex": frozenset({"flex"}),
    "priority": frozenset({"priority", "pp"}),
}
_SERVICES: Final[Mapping[str, frozenset[str]]] = {
    "storage": frozenset({"storage", "store"}),
    "search": frozenset({"search", "grounding", "searchunits"}),
    "provisioned": frozenset({"provisioned", "ptu", "throughput"}),
    "hosting": frozenset({"hosting", "hosted", "training", "tuning", "trng"}),
}
# How a call is routed and counted says nothing about its model.
_NOISE: Final = frozenset({
    "glbl", "gl", "global", "regnl", "rg", "regional", "region", "cross", "dz", "dzone", "zone", "data", "mp",
    "mantle", "on", "demand", "l", "std", "standard", "shortco", "longco", "long", "context", "co", "tokens", "token",
    "count", "1m", "1k", "1000", "million", "units", "txt", "text", "read", "5m", "1h", "ga", "predictions",
    "thinking", "video",
})  # fmt: skip
_KINDS: Final = frozenset().union(
    _INPUT, _OUTPUT, _CACHED, _WRITE, _AUDIO, _IMAGE, *_TIERS.values(), *_SERVICES.values()
)
_AWS_REGION: Final = re.compile(r"^(?:[A-Z]{2,4}\d-)?(?:MP:)?(?:[A-Z]{2,4}\d[-_])?")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MONTH_DAY: Final = re.compile(r"(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])(?:20\d\d)?")
_CLAUDE: Final = re.compile(
    r"claude[ -]*(?P<before>opus|sonnet|haiku)?[ -]*"
    r"(?P<major>\d)(?:[.-](?P<minor>\d)(?!\d))?[ -]*(?P<after>opus|sonnet|haiku)?"
)
_NOVA: Final = re.compile(r"nova[ -]*(?:(?P<major>[2-9])(?:\.\d)?)?[ -]*(?P<size>micro|lite|pro|premier|sonic)")


@dataclass(frozen=True, slots=True)
class Sku:
    """What a SKU is for.

    Attributes:
        read: Model and item; its charge is `usage` for tokens and `fee` for all else.
        service_tier: batch, flex or priority; "" for the standard tier.
    """

    read: LineItem
    service_tier: str


def read_sku(cloud: Cloud, meter: str, service: str) -> Sku:
    """Read the name of a SKU's meter.

    Args:
        cloud: Whose SKU it is.
        meter: `SkuMeter`, or what the export has in its place.
        service: `ServiceName`, and whatever else names the family (Azure's meter subcategory).
    """
    words = _words(cloud, meter)
    found = frozenset(words)
    tier = next((name for name, names in _TIERS.items() if found & names), "")
    used = next((name for name, names in _SERVICES.items() if found & names), "")
    item = "" if used else _item(found)
    model = _model(cloud, words, meter, service)
    is_tokens = bool(item) or (bool(found & {"tokens", "token"}) and not used)
    if is_tokens and model:
        return Sku(LineItem(model, item, "usage"), tier)
    return Sku(LineItem(model, used or item, "fee"), tier)


def _item(words: frozenset[str]) -> str:
    side = "output" if words & _OUTPUT else "input" if words & _INPUT else ""
    if words & _WRITE:
        return "cache_write"
    if words & _CACHED:
        return "cached_input"
    if words & _AUDIO and side:
        return f"audio_{side}"
    if words & _IMAGE and side:
        return f"image_{side}"
    return side


def _words(cloud: Cloud, meter: str) -> list[str]:
    text = meter
    if cloud == "aws":
        text = _CAMEL.sub(" ", _AWS_REGION.sub("", meter).replace("1h", " 1h ").replace("5m", " 5m "))
    return [word for word in re.split(r"[^a-z0-9.]+", text.lower()) if word.strip(".")]


def _model(cloud: Cloud, words: Sequence[str], meter: str, service: str) -> str:
    for text in (meter.lower(), service.lower()):
        claude = _CLAUDE.search(text)
        if claude is not None and (claude["before"] or claude["after"]):
            return _claude_name(claude)
        nova = _NOVA.search(text)
        if nova is not None:
            return "-".join(filter(None, ("nova", nova["major"], nova["size"])))
    rest = [word for word in words if word not in _KINDS and word not in _NOISE]
    if cloud == "azure":
        return _azure_name([word for word in rest if not _MONTH_DAY.fullmatch(word)], service)
    name = "-".join(rest)
    if cloud == "aws" and name.startswith("llama") and not name.endswith("instruct"):
        return f"{name}-instruct"  # Bedrock serves no others
    return name if re.search(r"\d", name) else ""


def _claude_name(found: re.Match[str]) -> str:
    name = found["before"] or found["after"]
    version = "-".join(filter(None, (found["major"], found["minor"])))
    # Anthropic put the name before the version from its fourth generation on.
    return f"claude-{name}-{version}" if int(found["major"]) >= 4 else f"claude-{version}-{name}"


def _azure_name(words: Sequence[str], service: str) -> str:
    name = "-".join(words)
    if name[:1].isdigit() and ("gpt" in service.lower() or "openai" in service.lower()):
        name = f"gpt-{name}"
    name = re.sub(r"^gpt(\d)", r"gpt-\1", name).replace("gpt-35-", "gpt-3.5-")
    name = re.sub(r"^(?:text-)?embedding-ada(?:-002)?$", "text-embedding-ada-002", name)
    return name if re.search(r"\d", name) else ""
