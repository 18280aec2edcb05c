from __future__ import annotations

import pytest

from ingest.database.sql_statements import split_statements


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", []),
        (" ;; \n ; ", []),
        ("select 1; select 2", ["select 1", "select 2"]),
        ("select ';', E'it\\'s;', 'it''s;';", ["select ';', E'it\\'s;', 'it''s;'"]),
        ('select 1 as ";"; select 2;', ['select 1 as ";"', "select 2"]),
        ("-- one; two\nselect 1;", ["-- one; two\nselect 1"]),
        ("/* a; /* b; */ c; */ select 1;", ["/* a; /* b; */ c; */ select 1"]),
        ("/* never ends; select 1;", ["/* never ends; select 1;"]),
        ("do $$ begin; end; $$; select 1;", ["do $$ begin; end; $$", "select 1"]),
        ("do $a$ $b$; $b$ ; $a$; select 1;", ["do $a$ $b$; $b$ ; $a$", "select 1"]),
        ("select a$b; select c$b;", ["select a$b", "select c$b"]),
        ("select $1; select $2;", ["select $1", "select $2"]),
        (
            "create function f() returns int begin atomic select case when true then 1 end; select 2; end; select 3;",
            [
                "create function f() returns int begin atomic select case when true then 1 end; select 2; end",
                "select 3",
            ],
        ),
        ("begin; select 1; end;", ["begin", "select 1", "end"]),
        ("select 1; -- last words", ["select 1", "-- last words"]),
    ],
)
def test_a_script_splits_where_its_statements_end(script: str, statements: list[str]) -> None:
    assert [statement for _, statement in split_statements(script)] == statements


def test_each_statement_comes_with_its_line() -> None:
    assert split_statements("\n\nselect 1;\n\n-- why\nselect\n2;") == [(3, "select 1"), (5, "-- why\nselect\n2")]
