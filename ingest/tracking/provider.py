"""Which provider answers at an address."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pricing.names import is_local, maker_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOSTS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.perplexity.ai": "perplexity",
    "api.together.ai": "together",
    "api.together.xyz": "together",
    "api.voyageai.com": "voyageai",
    "api.x.ai": "x-ai",
    "generativelanguage.googleapis.com": "google",
    "openrouter.ai": "openrouter",
}
_ENDINGS = {
    ".openai.azure.com": "azure",
    ".cognitiveservices.azure.com": "azure",
    ".services.ai.azure.com": "azure",
    ".azure-api.net": "azure",
    ".api.openai.com": "openai",  # data residency
    ".aiplatform.googleapis.com": "vertex_ai",
    "-aiplatform.googleapis.com": "vertex_ai",
}
# Where servers of one's own listen unless told otherwise.
_PORTS = {11434: "ollama", 8000: "vllm", 1234: "lmstudio", 30000: "sglang"}
_SELF_HOSTED = "self-hosted"
# What gateways, frameworks and OpenTelemetry call them.
_OTHER_NAMES = {
    "amazon_bedrock": "aws",
    "anthropic_text": "anthropic",
    "aws.bedrock": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure_ai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "vertex_ai",
    "gemini": "google",
    "google_genai": "google",
    "google_vertexai": "vertex_ai",
    "hosted_vllm": "vllm",
    "ibm.watsonx.ai": "watsonx",
    "mistral_ai": "mistral",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai_beta": "vertex_ai",
    "vertexai": "vertex_ai",
    "x_ai": "x-ai",
    "xai": "x-ai",
}


def provider_of(url: str, model: str = "", named: Mapping[str, str] | None = None) -> str:
    """Name the provider at `url`: as the price book names it where it knows the address, else by the host's name.

    Args:
        url: Base address of the client.
        model: Model that is asked for: at a private address it tells a gateway to a maker from a server of models.
        named: Hosts that the customer names, with or without a port, lower case.
    """
    if named:
        host, port = _address(url)
        known = named.get(f"{host}:{port}") or named.get(host)
        if known is not None:
            return known
    return _provider_of(url, model)


@lru_cache(maxsize=1024)
def _provider_of(url: str, model: str) -> str:
    host, port = _address(url)
    if host and not _is_private(host):
        return _public_provider(url, host)
    if port in _PORTS:
        return _PORTS[port]
    return _SELF_HOSTED if _is_own_model(model) else "openai"


def provider_at(url: str, maker: str, named: Mapping[str, str]) -> str:
    """Name the provider at the address of a maker's own client: the maker, where the address does not tell another.

    Args:
        url: Base address of the client.
        maker: Whose API the client speaks.
        named: As of `provider_of`.
    """
    found = provider_of(url, named=named)
    is_named = bool(named) and found in named.values()
    return found if is_named or found not in ("openai", _SELF_HOSTED, host_of(url)) else maker


def short_name(name: str) -> str:
    """Name a provider as the price book does, whatever a gateway or framework calls it."""
    word = name.strip().lower()
    return _OTHER_NAMES.get(word, word)


def host_of(url: str) -> str:
    """Return the host of an address, lower case; "" where it has none."""
    return _address(url)[0]


@lru_cache(maxsize=256)
def _address(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        return (parts.hostname or "").lower(), parts.port
    except ValueError:
        return "", None


@lru_cache(maxsize=256)
def _public_provider(url: str, host: str) -> str:
    if host in _HOSTS:
        return _HOSTS[host]
    for ending, provider in _ENDINGS.items():
        if host.endswith(ending):
            return provider
    if host.startswith("bedrock") and host.endswith(".amazonaws.com"):
        return "aws"
    from genai_prices.data_snapshot import get_snapshot  # half a second, for addresses that are not above

    try:
        return str(get_snapshot().find_provider(None, None, url).id)
    except LookupError:
        return host


def _is_private(host: str) -> bool:
    return ("." not in host.strip("[]") and ":" not in host) or is_local(host)


def _is_own_model(model: str) -> bool:
    """Whether a name is one that servers of open weights use: `name:tag`, `org/Name`, or no maker's at all."""
    if not model or model.startswith("ft:"):
        return False
    name = model.rpartition("/")[2]
    has_tag = ":" in name and not name.endswith(":0")  # Bedrock's versions end in :0
    return has_tag or ("/" in model and name != name.lower()) or maker_of(model) is None
