"""Splits a migration into its statements, at the same places as the Supabase command line does."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
      --[^\n]*                                              # comment to the end of the line
    | (?P<comment>/\*)                                      # block comment, which may nest
    | [eE]'(?:[^'\\]|\\.|'')*'                              # string with escapes
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$) .*? (?P=dollar)       # dollar-quoted body
    | (?P<word>[^\W\d][\w$]*)
    | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def split_statements(sql: str) -> list[tuple[int, str]]:
    """Split a script at the semicolons between its statements.

    Args:
        sql: The script. Semicolons in strings, comments, dollar-quoted bodies and `begin atomic … end` do not split.

    Returns:
        For each statement its first line (from 1) and its text without the semicolon. A comment belongs to the
        statement after it; one after the last statement is an entry of its own.
    """
    pieces: list[tuple[int, int]] = []
    start = position = depth = 0
    previous_word = ""
    while token := _TOKEN.search(sql, position):
        position = token.end()
        if token["comment"]:
            position = _end_of_comment(sql, position)
        elif token["word"]:
            word = token["word"].lower()
            depth = _depth_after(word, previous_word, depth)
            previous_word = word
        elif token["end"] and depth == 0:
            pieces.append((start, token.start()))
            start = position
    pieces.append((start, len(sql)))

    statements = []
    for begin, end in pieces:
        text = sql[begin:end].strip()
        if text:
            statements.append((sql.count("\n", 0, sql.index(text, begin)) + 1, text))
    return statements


def _end_of_comment(sql: str, position: int) -> int:
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(sql, position)):
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return len(sql) if depth else position


def _depth_after(word: str, previous_word: str, depth: int) -> int:
    """Count the ends that a `begin atomic` body still needs."""
    if word == "atomic" and previous_word == "begin":
        return depth + 1
    if depth and word in ("case", "end"):
        return depth + (1 if word == "case" else -1)
    return depth
