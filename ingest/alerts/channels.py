"""What a notification channel is before its address is sealed for good."""

from __future__ import annotations

import base64
import re
import secrets
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from ingest.alerts.addresses import PRIVATE_ADDRESS, is_public

if TYPE_CHECKING:
    from pydantic import JsonValue, ValidationInfo

    from ingest.alerts.sealing import SecretBox

_WEB_ADDRESS = re.compile(r"https?://[^\s\\/?#@]+([/?#][^\s\\]*)?")
_SECRET = re.compile(r"whsec_([A-Za-z0-9+/]{4}){4,}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?|(?!whsec_).{16,200}")

# Apprise can also run things on this machine and post to any address; for the latter our own webhook checks where to.
REFUSED_SCHEMES = frozenset(
    ("json", "jsons", "xml", "xmls", "form", "forms", "dbus", "glib", "gio", "kde", "qt", "gnome", "macosx", "windows",
     "syslog")
)  # fmt: skip


class ChannelTarget(BaseModel):
    """An address with its secret. Never shown or logged.

    Attributes:
        kind: `webhook` for signed JSON, `apprise` for any service that apprise knows.
        url: Where to send.
        signing_secret: Key of a webhook's signature; made where none is given.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    kind: Literal["webhook", "apprise"] = "webhook"
    url: SecretStr
    signing_secret: SecretStr = Field(default_factory=lambda: SecretStr(make_signing_secret()))

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        url = value.get_secret_value()
        if len(url) > 2048:
            raise ValueError("an address must have at most 2048 characters")
        if info.data.get("kind") == "apprise":
            _check_apprise(url)
        elif not _WEB_ADDRESS.fullmatch(url):
            raise ValueError("an address must be http:// or https://, without user and password")
        return value

    @field_validator("signing_secret")
    @classmethod
    def _check_secret(cls, value: SecretStr) -> SecretStr:
        if not _SECRET.fullmatch(value.get_secret_value()):
            raise ValueError("a signing secret must have 16 to 200 characters; what follows whsec_ must be base64")
        return value

    @property
    def hint(self) -> str:
        """What of the address may be shown: the host of a webhook, else only the kind of service."""
        parts = urlsplit(self.url.get_secret_value())
        return (parts.hostname if self.kind == "webhook" else parts.scheme) or "unknown"

    def seal(self, box: SecretBox) -> dict[str, JsonValue]:
        """Return what `save_notification_channel` stores of it."""
        document = {"target_url": self.url.get_secret_value(), "signing_secret": self.signing_secret.get_secret_value()}
        return {"kind": self.kind, "sealed": box.seal(document), "target_hint": self.hint}

    def reveal(self) -> dict[str, JsonValue]:
        """Return it for a database that keeps it in Supabase Vault."""
        return {
            "kind": self.kind,
            "target_url": self.url.get_secret_value(),
            "signing_secret": self.signing_secret.get_secret_value(),
        }


def find_private_address(target: ChannelTarget) -> str | None:
    """Say that a target is not on the public internet, as far as its name can be looked up now; None where it is.

    The worker checks again when it connects, since a name may answer differently then.
    """
    url = target.url.get_secret_value()
    names = [urlsplit(url).hostname]
    if target.kind == "apprise" and find_spec("apprise") is not None:
        import apprise

        service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        names = [getattr(service, "smtp_host", None), getattr(service, "host", None)]
    for name in filter(None, names):
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None)}
        except OSError:
            continue  # what looks like a host is often a token
        if not all(is_public(address) for address in found):
            return PRIVATE_ADDRESS
    return None


def make_signing_secret() -> str:
    """Make a secret as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _check_apprise(url: str) -> None:
    scheme = urlsplit(url).scheme.lower()
    if not scheme or "://" not in url:
        raise ValueError("an apprise address must start with a service such as slack:// or mailto://")
    if scheme in REFUSED_SCHEMES:
        raise ValueError(f"{scheme}:// is not accepted: use a webhook for JSON")
    if find_spec("apprise") is None:
        return  # the worker has it, and says so where it cannot use the address
    import apprise

    if apprise.Apprise.instantiate(url, suppress_exceptions=True) is None:
        raise ValueError(f"apprise does not understand this {scheme}:// address")
