"""A name never reads as another one."""

from __future__ import annotations

import pytest

from ingest.documents.names import visible_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("gpt-4o", "gpt-4o"),
        ("чат", "чат"),
        ("\u0441hat", "⚠ \u0441hat"),  # a Cyrillic es
        ("gpt-4\u03bf", "⚠ gpt-4\u03bf"),  # a Greek omicron
        ("user_\u202etxt.exe", "user_⟨U+202E⟩txt.exe"),
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("a\x00b\nc", "a⟨U+0000⟩b⟨U+000A⟩c"),
        ("\uff47\uff50\uff54", "⚠ \uff47\uff50\uff54"),
        ("日本語 chat", "日本語 chat"),
        ("café Ω", "⚠ café Ω"),
        ("chat 🎉", "chat 🎉"),
        ("می‌خواهم", "می‌خواهم"),  # its joiner belongs to the language
        ("", ""),
    ],
)
def test_a_name_is_shown_so_that_it_can_be_told_apart(name: str, shown: str) -> None:
    assert visible_name(name) == shown
