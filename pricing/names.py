"""Names: how a model's name leads to the name that the book prices, and who made a model."""

from __future__ import annotations

import ipaddress
import re
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SELF_HOSTED_PROVIDERS: Final = frozenset(
    {
        *("self-hosted", "self_hosted", "ollama", "ollama_chat", "vllm", "hosted_vllm", "lmstudio", "lm-studio"),
        *("lm_studio", "llama.cpp", "llamacpp", "llamafile", "sglang", "localai", "tgi", "xinference", "koboldcpp"),
    }
)
"""Self-hosted models have no list price, and another provider's would be wrong: without a row the cost is unknown."""

FREE_SUFFIX: Final = ":free"
"""How OpenRouter names the variant of a model that costs nothing."""

# How other providers name such variants at the end: meta-llama/Llama-3.3-70B-Instruct-Turbo-Free at Together.
_FREE_ENDINGS: Final = {"together": "-free"}

_DATED = re.compile(r"(?P<family>.+?)[-@](?:20\d{2}-\d{2}-\d{2}|20\d{6}|latest|default)$")
_FINE_TUNE: Final = "ft:"
# Words that gateways and clouds put before a model's name, and the provider that they mean.
_PREFIXES: Final = {
    "bedrock": "aws", "bedrock_converse": "aws", "azure_ai": "azure", "fireworks_ai": "fireworks",
    "together_ai": "together", "vertex_ai": "google", "gemini": "google", "xai": "x-ai", "cohere_chat": "cohere",
    "voyage": "voyageai", "z-ai": "zai", "moonshot": "moonshotai", "perplexity-ai": "perplexity",
}  # fmt: skip
# Folders of a name that say where it is served, not what it is.
_FOLDERS: Final = (
    re.compile(r"(?:projects/[^/]+/locations/[^/]+/)?publishers/(?P<owner>[^/]+)/models/(?P<name>.+)"),
    re.compile(r"(?:projects/[^/]+/locations/[^/]+/)?models/(?P<name>.+)"),
    re.compile(r"accounts/[^/]+/models/(?P<name>.+)"),
    re.compile(r"(?:converse|invoke)/(?P<name>.+)"),
    re.compile(r"(?:eu|us|global|global-standard|[a-z]{2}(?:-[a-z]+)+-\d)/(?P<name>.+)"),
)
# How OpenRouter is told to choose among those who serve a model: the model stays the same.
# `:online` is not among them: its searches have a fee that only OpenRouter's own charge tells.
_ROUTED: Final = re.compile(r"(?P<name>.+):(?:nitro|floor|exacto)")
# Names that a price list has, by who would sell them: weights that OpenAI does not serve, trials that cost nothing or
# are over, and a model that is billed as whichever it chooses.
_WITHOUT_PRICE: Final = {
    "openai": re.compile(r"gpt-oss.*"),
    "google": re.compile(r"(?:gemini|learnlm)-.*-exp(?:-.*)?"),
    "moonshotai": re.compile(r"moonshot-v1-auto"),
}
# They bill makers' models in units of their own, at prices of their own.
_RESELLERS: Final = re.compile(
    r"(?:.*\.)?(?:snowflakecomputing\.com|cloud\.databricks\.com|azuredatabricks\.net|ml\.cloud\.ibm\.com)"
    r"|snowflake|databricks|watsonx|ibm\.watsonx\.ai"
)
_ARN: Final = re.compile(r"arn:aws[^:]*:bedrock:.*/(?P<name>[^/]+)")
_BEDROCK: Final = re.compile(
    r"(?P<geo>(?:us|eu|apac|jp|au|ca|sa|us-gov|global)\.)?"
    r"(?P<name>(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|openai|qwen|writer|stability|twelvelabs)\.[\w.:-]+)"
)
# Models with one maker whose price list they are on, by the names that only its own API gives them. Open weights are
# not here by the names that people serve them under (Llama, Qwen, gpt-oss, and mistral-nemo, deepseek-r1, command-r):
# on a host that nobody knows they may run on a machine of the customer's, which has no list price.
_MAKERS: Final = (
    (re.compile(r"claude\b.*"), "anthropic"),
    (re.compile(r"(?:gemini|imagen|veo)-.*"), "google"),
    (re.compile(r"grok\b(?!-1$).*"), "x-ai"),
    (
        re.compile(
            r"(?:mistral|ministral|codestral|magistral|devstral|pixtral|voxtral)-(?!.*instruct).*?(?:-?latest|-\d{4})"
            r"|(?:mistral-(?:medium|tiny|saba|embed|moderation|ocr)|codestral-embed|magistral-medium|devstral-medium)\b.*"
            r"|open-mi[sx]tral-.*"
        ),
        "mistral",
    ),
    (re.compile(r"deepseek-(?:chat|reasoner|flash|v4)\b(?!.*distill).*"), "deepseek"),
    (re.compile(r"command-[a-z0-9-]+-\d{2}-\d{4}|command(?:-light|-nightly)?|(?:rerank|embed|c4ai)-.*"), "cohere"),
    (re.compile(r"sonar\b.*"), "perplexity"),
    (re.compile(r"voyage-.*"), "voyageai"),
    (re.compile(r"(?:kimi|moonshot)-(?!k2$|.*instruct|.*-base$).*"), "moonshotai"),
    (re.compile(r"glm-(?!4-9b|.*-hf$).*"), "zai"),
)
# Names of OpenAI's kind whose calls are billed by text tokens, so that another model's price can stand in for theirs.
_OPENAI_TEXT: Final = re.compile(
    r"(?:ft:)?(?:gpt-(?!oss|image|live|realtime|transcribe).*|chatgpt-(?!image).*|o\d+(?:-.*)?|codex-.*|text-embedding-.*"
    r"|text-davinci-.*|davinci-.*|babbage-.*|computer-use-.*)"
)
_OPENAI_OTHER: Final = re.compile(r"(?:gpt-(?!oss).*|chatgpt-.*|dall-e-.*|sora-.*|whisper-.*|tts-.*|omni-moderation.*)")
_NOT_TEXT: Final = re.compile(r".*(?:transcribe|-tts|-audio|-realtime|-image|-diarize).*")
# Where a name can be cut, its first part left whole.
_PART: Final = re.compile(r"(?<=[a-z0-9])(?:[-_]|\.(?!\d))")
_ADDRESS: Final = re.compile(r"(?:https?://)?(?P<host>\[[0-9a-f:]+\]|[^:/\s]+)(?::(?P<port>\d{1,5}))?(?:/.*)?")
# OpenTelemetry names clouds with a dot too: aws.bedrock, az.ai.openai, gcp.gemini.
_HOST: Final = re.compile(r"(?!(?:aws|az|azure|gcp)\.)(?:[a-z0-9-]+\.)+[a-z]{2,}(?::\d+)?")
_LOCAL_ENDINGS: Final = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".svc", ".cluster.local")


def candidates(
    provider: str, model: str, *, is_provider: Callable[[str], bool], said: bool
) -> Iterator[tuple[str, str, str | None]]:
    """Yield (provider, model, how it follows from the name given), the most exact match first.

    Args:
        provider: Provider, lower case.
        model: Model, lower case.
        is_provider: Whether a word names a provider of the book.
        said: Whether the caller's provider is to be believed against what the model's name says.
    """
    if is_self_hosted(provider):
        yield provider, model, None
        return
    readings = list(_without_prefixes(provider, model, is_provider, said=said))
    if not said:
        for _, name, hop in tuple(readings):
            maker = maker_of(name)
            if maker is not None and maker not in {owner for owner, known, _ in readings if known == name}:
                readings.append((maker, name, _join(hop, f"priced as its maker {maker!r} does")))
    for owner, name, hop in readings:
        yield owner, name, hop
        if name.startswith(_FINE_TUNE):
            yield from _fine_tune(owner, name, hop)
            continue
        dated = _DATED.match(name)
        if dated is not None:
            family = dated["family"]
            yield owner, family, _join(hop, f"snapshot {name!r} is not listed: priced as its family {family!r}")


def maker_of(model: str) -> str | None:
    """Return the provider on whose price list a model stands by its bare name, None where nobody's or many's."""
    name = bare_name(model)
    if is_openai_text(name) or _OPENAI_OTHER.fullmatch(name):
        return "openai"
    return next((maker for pattern, maker in _MAKERS if pattern.fullmatch(name)), None)


def is_openai_text(model: str) -> bool:
    """Whether a model's name is one that OpenAI gives to models billed by text tokens, known to the book or not."""
    name = bare_name(model)
    return _OPENAI_TEXT.fullmatch(name) is not None and _NOT_TEXT.fullmatch(name) is None


@lru_cache(maxsize=1024)
def bare_name(model: str) -> str:
    """Return the last part of a model's name, lower case, without geography and maker as Bedrock writes them."""
    name = model.strip().lower()
    if name.startswith(_FINE_TUNE):
        return name
    name = name.rpartition("/")[2]
    bedrock = _BEDROCK.fullmatch(name)
    return bedrock["name"].partition(".")[2] if bedrock is not None else name


@lru_cache(maxsize=1024)
def is_self_hosted(provider: str) -> bool:
    """Whether a provider is a server of one's own: by its name, or as an address that no public provider has."""
    name = provider.strip().lower()
    if name in SELF_HOSTED_PROVIDERS:
        return True
    address = _ADDRESS.fullmatch(name)
    if address is None:
        return False
    return is_local(address["host"]) or ("." not in address["host"] and address["port"] is not None)


def is_host(provider: str) -> bool:
    """Whether a provider is a public host, which the catalogue may take for one that it knows by a word in the name."""
    return _HOST.fullmatch(provider) is not None


def is_reseller(provider: str) -> bool:
    """Whether a provider sells makers' models at prices of its own, which are in no layer."""
    return _RESELLERS.fullmatch(provider) is not None


def has_no_price(seller: str, model: str) -> bool:
    """Whether a price list's price of a model is none that anybody pays to this seller."""
    pattern = _WITHOUT_PRICE.get(seller)
    return pattern is not None and pattern.fullmatch(model.rpartition("/")[2]) is not None


def is_local(host: str) -> bool:
    """Whether a host is this machine or one of a private network."""
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(_LOCAL_ENDINGS):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_link_local or address.is_unspecified


@lru_cache(maxsize=1024)
def leaves_cache_out(provider: str, model: str) -> bool:
    """Whether a maker's own count of input leaves out what was read from and written to its cache."""
    return provider.strip().lower() in ("anthropic", "aws", "bedrock", "aws.bedrock") or "claude" in model.lower()


def gives_images(model: str) -> bool:
    """Whether a model's name says that it delivers images, text beside them or not."""
    return "image" in model or "banana" in model


def free_variant(provider: str, model: str, sellers: Iterable[str]) -> tuple[str, str] | None:
    """Return who sells a model for nothing and how its name says so; None where it does not.

    Args:
        provider: Provider, lower case.
        model: Model, lower case.
        sellers: Providers that the name can be read as a model of.
    """
    if is_self_hosted(provider):
        return None
    if model.endswith(FREE_SUFFIX):
        return "openrouter", FREE_SUFFIX
    endings = ((seller, _FREE_ENDINGS[seller]) for seller in sellers if seller in _FREE_ENDINGS)
    return next(((seller, ending) for seller, ending in endings if model.endswith(ending)), None)


def is_bedrock_path(provider: str, model: str) -> bool:
    """Tell an ARN and `bedrock/…` from the names of models on Bedrock, which hold no slash.

    A catalogue that finds a model anywhere in such a name does not see the geography in it, which has its own price.
    """
    return provider == "aws" and "/" in model


def families(model: str) -> Iterator[str]:
    """Yield shorter and shorter beginnings of a name of OpenAI's kind: gpt-4o-mini, gpt-4o for gpt-4o-mini-prod.

    A deployment named after its model begins with the model's name; a version ("gpt-5.7") is not cut.
    """
    name = bare_name(model)
    for end in reversed([found.start() for found in _PART.finditer(name)]):
        yield name[:end]


def _without_prefixes(
    provider: str, model: str, is_provider: Callable[[str], bool], *, said: bool
) -> Iterator[tuple[str, str, str | None]]:
    """Yield the name as given and what is left of it as prefixes are taken off, one after the other."""
    waiting: deque[tuple[str, str, str | None]] = deque([(provider, model, None)])
    seen = set()
    while waiting:
        owner, name, hop = waiting.popleft()
        if (owner, name) in seen:
            continue
        seen.add((owner, name))
        yield owner, name, hop
        waiting += _shorter(owner, name, hop, is_provider, said=said)


def _shorter(
    owner: str, name: str, hop: str | None, is_provider: Callable[[str], bool], *, said: bool
) -> Iterator[tuple[str, str, str | None]]:
    arn = _ARN.fullmatch(name)
    if arn is not None:
        yield owner if said else "aws", arn["name"], _join(hop, "the last part of an ARN")
        return
    routed = _ROUTED.fullmatch(name)
    if routed is not None:
        yield owner, routed["name"], _join(hop, f"{name[routed.end('name') :]!r} taken off")
        return
    for folder in _FOLDERS:
        found = folder.fullmatch(name)
        if found is not None:
            taken = name[: found.start("name")]
            yield owner, found["name"], _join(hop, f"{taken!r} taken off")
            return
    prefix, slash, rest = name.partition("/")
    meant = _PREFIXES.get(prefix, prefix)
    if slash and rest and is_provider(meant):
        seller = owner if said else meant
        yield seller, rest, _join(hop, f"provider prefix {prefix!r} taken off")
        return
    bedrock = _BEDROCK.fullmatch(name)
    if bedrock is not None and not said:
        yield "aws", name, _join(hop, "named as on Bedrock")
    if bedrock is not None and bedrock["geo"] and owner == "aws":
        yield owner, bedrock["name"], _join(hop, f"geography {bedrock['geo']!r} taken off")


def _fine_tune(provider: str, name: str, hop: str | None) -> Iterator[tuple[str, str, str | None]]:
    # ft:BASE:organization:suffix:id; never priced as BASE itself, whose tokens are cheaper.
    base = name.split(":")[1]
    step = _join(hop, f"fine-tune of {base!r}")
    yield provider, f"{_FINE_TUNE}{base}", step
    dated = _DATED.match(base)
    if dated is not None:
        yield provider, f"{_FINE_TUNE}{dated['family']}", step


def _join(*steps: str | None) -> str:
    return "; ".join(step for step in steps if step)
