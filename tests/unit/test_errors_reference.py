from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import ingest
from ingest.errors import TreeringError
from pricing.errors import PricingError

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"


def public_errors(base: type[Exception]) -> set[str]:
    """The names of a base and of everything below it that is ours."""
    below = [public_errors(error) for error in base.__subclasses__() if error.__module__.split(".")[0] != "tests"]
    return {base.__name__, *(name for names in below for name in names)}


def test_every_error_is_documented_and_no_other() -> None:
    for module in pkgutil.walk_packages(ingest.__path__, "ingest."):
        if not module.name.endswith("__main__"):
            _import(module.name)
    documented = re.findall(r"^\| `(\w+)` \|", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted(public_errors(TreeringError) | public_errors(PricingError))


def _import(name: str) -> None:
    """Import a module of ours; one that adapts to a framework has no errors of its own and may lack the framework."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] in {"ingest", "pricing"} or ".integrations." not in name:
            raise
