"""The file `.env` that `treering init` writes and every command reads: settings of this folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_FILE: Final = Path(".env")
# Only what Treering itself reads: a product keeps its own variables in the same file.
_PREFIXES: Final = ("SUPABASE_", "TREERING_", "METRICS_", "ENABLE_OBSERVABILITY", "OPENAI_ADMIN_", "ANTHROPIC_ADMIN_")


def read_env_file(path: Path = ENV_FILE) -> dict[str, str]:
    """Return the settings of Treering in a file; nothing where there is none.

    Lines are `NAME=value`, with or without `export`; a value in single or double quotes is taken without them.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: it cannot be read ({type(error).__name__})") from None
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        name = name.strip()
        if equals and name.startswith(_PREFIXES):
            found[name] = _unquote(value.strip())
    return found


def use_env_file() -> None:
    """Take what the environment does not have from `.env` in this folder."""
    for name, value in read_env_file().items():
        if not os.environ.get(name, ""):
            os.environ[name] = value


def merge_env_file(text: str, values: Mapping[str, str]) -> str:
    """Return a file's text with these values: lines that set one are replaced in place, the others are added."""
    waiting = dict(values)
    lines = []
    for line in text.splitlines():
        name = line.strip().removeprefix("export ").partition("=")[0].strip()
        lines.append(f"{name}={_quote(waiting.pop(name))}" if name in waiting else line)
    lines += [f"{name}={_quote(value)}" for name, value in waiting.items()]
    return "\n".join(lines) + "\n"


def _quote(value: str) -> str:
    is_plain = all(sign.isalnum() or sign in "_-.:/@%+,=?&" for sign in value)
    return value if is_plain else "'" + value.replace("'", "") + "'"


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value
