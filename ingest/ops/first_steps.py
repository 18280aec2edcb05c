"""Sets a deployment up: what `treering init` writes, where it must not end up, and what remains to be done."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ingest.errors import ConfigurationError
from ingest.ops.settings_checks import WELL_KNOWN
from ingest.settings import is_web_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.database.health import Finding

_REF: Final = re.compile(r"[a-z]{20}")

# In this order: each step needs those before it.
_ORDER: Final = (
    "settings", "project address", "API keys", "signing key", "journal", "Postgres door", "Supabase door", "migrations",
    "row level security", "rights of anon", "rights of viewers", "viewers", "sign-in", "members", "worker",
    "partitions",
)  # fmt: skip

_FOR_THE_APP: Final = (
    "SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_JWT_SIGNING_KEY", "SUPABASE_DB_URL", "TREERING_SECRET_KEY",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SignIn:
    """How people sign in to the app.

    Attributes:
        app_url: The app's public address.
        metadata_url: Where the provider describes itself.
        client_id: The app's name at the provider.
        client_secret: The app's password at the provider.
    """

    app_url: str
    metadata_url: str
    client_id: str
    client_secret: str

    @property
    def redirect_uri(self) -> str:
        """The address to register with the provider."""
        return f"{self.app_url.rstrip('/')}/oauth2callback"


def project_url(text: str) -> str:
    """Return the address of a project from what people paste: the address, one of its APIs, the dashboard, the ref."""
    text = text.strip().rstrip("/")
    if _REF.fullmatch(text):
        return f"https://{text}.supabase.co"
    parts = urlsplit(text)
    dashboard = re.search(r"/project/([a-z]{20})", parts.path)
    if parts.hostname in ("supabase.com", "app.supabase.com") and dashboard:
        return f"https://{dashboard[1]}.supabase.co"
    return re.sub(r"/(rest|auth|storage)/v1$", "", text)


def sign_in_addresses(app_url: str, metadata_url: str) -> tuple[str, str]:
    """Return the app's address and the provider's, the latter from its issuer too.

    Raises:
        ConfigurationError: One is no address.
    """
    addresses = app_url.strip(), metadata_url.strip().rstrip("/")
    for option, address in zip(("--app-url", "--provider"), addresses, strict=True):
        if not is_web_address(address):
            raise ConfigurationError(
                f"{option}: must be an address that begins with https:// (http:// on this machine)"
            )
    app, provider = addresses
    return app, provider if WELL_KNOWN in provider else f"{provider}{WELL_KNOWN}openid-configuration"


def secrets_toml(settings: dict[str, str], sign_in: SignIn, cookie_secret: str | None = None) -> str:
    """Return the text of the app's secrets: what it reads as environment, and how people sign in.

    Args:
        settings: What the app reads from its environment.
        sign_in: How people sign in.
        cookie_secret: The one in use, so that nobody is signed out; a new one by default.
    """
    lines = ["# Written by `treering init`. Streamlit reads the lines before [auth] into the app's environment.", ""]
    lines += [f"{name} = {_toml(value)}" for name, value in settings.items()]
    auth = {
        "redirect_uri": sign_in.redirect_uri,
        "cookie_secret": cookie_secret or secrets.token_urlsafe(48),
        "client_id": sign_in.client_id,
        "client_secret": sign_in.client_secret,
        "server_metadata_url": sign_in.metadata_url,
    }
    lines += ["", "[auth]", *(f"{name} = {_toml(value)}" for name, value in auth.items())]
    lines.append('client_kwargs = { scope = "openid profile email" }')
    if not {"SUPABASE_JWT_SIGNING_KEY", "SUPABASE_JWT_SECRET", "SUPABASE_DB_URL"} & settings.keys():
        lines.append('expose_tokens = ["id", "access"]')
    return "\n".join(lines) + "\n"


def read_secrets(path: Path) -> dict[str, Any]:
    """Return the app's secrets, empty where there is no file.

    Raises:
        ConfigurationError: It cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: it cannot be read ({type(error).__name__})") from None


def renewed_secrets(known: dict[str, Any], settings: dict[str, str], sign_in: SignIn) -> str | None:
    """Return the new text of the app's secrets, or None where `known`, what stands there, says the same.

    The cookie secret stays: nobody is signed out.

    Raises:
        ConfigurationError: It says something else and has entries that `treering init` does not write.
    """
    auth = known.get("auth", {})
    text = secrets_toml(settings, sign_in, auth.get("cookie_secret"))
    new = tomllib.loads(text)
    changes = [name for name in new.keys() - {"auth"} if known.get(name) != new[name]]
    changes += [f"auth.{name}" for name in new["auth"] if auth.get(name) != new["auth"][name]]
    if not changes:
        return None
    if known.keys() - {"auth", *_FOR_THE_APP} or auth.keys() - {"expose_tokens", *new["auth"]}:
        raise ConfigurationError(f"it has entries of yours, so change there by hand: {', '.join(sorted(changes))}")
    return text


def keep_out_of_git(folder: Path, names: Sequence[str]) -> list[str]:
    """Make git ignore files before they are written; return those that it did not ignore so far.

    Raises:
        ConfigurationError: One is in git's index already, or git cannot be asked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not _is_work_tree(folder):
        return []
    tracked = _git(folder, "ls-files", "--", *names).stdout.split()
    if tracked:
        raise ConfigurationError(
            f"{tracked[0]}: git tracks it, so what is written to it would be committed: `git rm --cached {tracked[0]}`"
        )
    open_ones = [name for name in names if _git(folder, "check-ignore", "--quiet", "--", name).returncode]
    if open_ones:
        path = folder / ".gitignore"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        gap = "" if not before or before.endswith("\n") else "\n"
        path.write_text(before + gap + "".join(f"/{name}\n" for name in open_ones), encoding="utf-8")
    return open_ones


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else may read, whole or not at all.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: it cannot be written ({error.strerror})") from error


def remaining_steps(findings: Sequence[Finding], sign_in: SignIn | None, app_command: str) -> list[str]:
    """Say what is left to do until the first chart, in the order in which it works.

    Args:
        findings: What the checks found.
        sign_in: How people sign in, if it was just set up.
        app_command: What starts the app.
    """
    place = {part: number for number, part in enumerate(_ORDER)}
    wrong = [finding for finding in findings if finding.level and finding.fix and finding.part in place]
    steps = [f"{one.part}: {one.fix}" for one in sorted(wrong, key=lambda one: place[one.part])]
    if sign_in is not None:
        steps.append(f"at the sign-in provider: register {sign_in.redirect_uri} as a redirect address")
    steps.append(f"start the app: {app_command}")
    return list(dict.fromkeys(steps))


def _toml(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON's strings are TOML's


def _is_work_tree(folder: Path) -> bool:
    return (
        shutil.which("git") is not None and _git(folder, "rev-parse", "--is-inside-work-tree").stdout.strip() == "true"
    )


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 -- fixed arguments, without a shell
        ["git", "-C", str(folder), *arguments],  # noqa: S607 -- the git of the caller's path
        capture_output=True,
        text=True,
        check=False,
    )
