"""Which provider answers at an address."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

_HOSTS = {
    "api.openai.com": "openai",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.perplexity.ai": "perplexity",
    "api.together.xyz": "together",
    "api.x.ai": "x-ai",
    "generativelanguage.googleapis.com": "google",
    "openrouter.ai": "openrouter",
}
_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com", ".azure-api.net")


@lru_cache(maxsize=256)
def provider_of(url: str) -> str:
    """Name the provider at `url`: as the price book names it where it knows the address, else by the host's name."""
    host = (urlsplit(url).hostname or "").lower()
    if host in _HOSTS:
        return _HOSTS[host]
    if host.endswith(_AZURE):
        return "azure"
    if host.endswith(".api.openai.com"):  # data residency
        return "openai"
    if not host or _is_local(host):
        return "openai"
    from genai_prices.data_snapshot import get_snapshot

    try:
        return str(get_snapshot().find_provider(None, None, url).id)
    except LookupError:
        return host


def _is_local(host: str) -> bool:
    if host == "localhost" or "." not in host:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
