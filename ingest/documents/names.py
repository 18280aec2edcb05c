"""Names as people may read them: what reverses or hides text is written out, and look-alikes are marked."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["MARK", "plain_markdown", "visible_name"]

MARK: Final = "⚠ "
"""Stands before a name whose letters come from scripts that look alike."""

# Controls, embeddings and isolates that turn the direction, and characters without any width.
_HIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_SIGNS: Final = frozenset("\\`*_{}[]()<>#+-.!|:$~")
# Whose letters are drawn alike; names in one of them alone are as good as any.
_ALIKE: Final = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU")
# Letters that stand for Latin ones and belong to no language.
_STYLED: Final = ("FULLWIDTH", "MATHEMATICAL", "CIRCLED", "PARENTHESIZED", "SQUARED")


def visible_name(name: str) -> str:
    """Return a name as it may be shown.

    Args:
        name: As it was recorded; filters and links need it unchanged.

    Returns:
        The name with `⟨U+202E⟩` in place of characters that reverse or hide text, after `MARK` if its letters come from
        several scripts that look alike, or from signs that stand for letters.
    """
    if name.isascii() and name.isprintable():
        return name
    shown = _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", name)
    return MARK + shown if _is_mixed(name) else shown


def plain_markdown(text: str) -> str:
    """Return a text, made visible, in which Markdown formats nothing."""
    return "".join(f"\\{sign}" if sign in _SIGNS else sign for sign in visible_name(text))


def _is_mixed(name: str) -> bool:
    words = {unicodedata.name(sign, "").partition(" ")[0] for sign in name if unicodedata.category(sign)[0] in "LS"}
    return len(words & set(_ALIKE)) > 1 or bool(words & set(_STYLED) and _has_letters(name))


def _has_letters(name: str) -> bool:
    return any(sign.isalpha() for sign in name)
