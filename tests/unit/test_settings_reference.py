from __future__ import annotations

import re
from pathlib import Path

from pydantic import AliasChoices
from pydantic_core import PydanticUndefined

from ingest.settings import Settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
ROW = re.compile(
    r"^\| (?P<variables>`[A-Z_`, ]+`) \| `(?P<field>\w+)` \| (?P<default>[^|]*)\| [^|]+\.[^|]*\|$", re.MULTILINE
)


def documented() -> dict[str, tuple[list[str], str]]:
    """Each field with its environment variables and its default, as the page has them."""
    rows = ROW.finditer(REFERENCE.read_text(encoding="utf-8"))
    return {row["field"]: (re.findall(r"\w+", row["variables"]), row["default"].strip()) for row in rows}


def test_every_setting_is_documented_once_and_no_other() -> None:
    fields = re.findall(r"^\| `[^|]+ \| `(\w+)` \|", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(fields) == sorted(Settings.model_fields)
    assert sorted(documented()) == sorted(Settings.model_fields)


def test_every_variable_is_documented_under_its_name() -> None:
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variables = alias.choices if isinstance(alias, AliasChoices) else [alias]
        assert documented()[name][0] == variables


def test_every_default_is_documented() -> None:
    for name, field in Settings.model_fields.items():
        default = documented()[name][1]
        if name == "home":
            assert default == "the platform's user data folder"
        elif name == "hash_salt":  # made at first use, in `ingest.record.hashing`
            assert (field.default, default) == (None, "a random key kept in `TREERING_HOME`")
        elif field.default in (None, (), PydanticUndefined):
            assert default == ""
        else:
            assert default.strip("`") == str(field.default).replace("True", "true").replace("False", "false")
