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
        # The integrations need the libraries that they integrate, and raise no error of their own.
        if not module.name.endswith("__main__") and "tracking.integrations" not in module.name:
            importlib.import_module(module.name)
    documented = re.findall(r"^\| `(\w+)` \|", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted(public_errors(TreeringError) | public_errors(PricingError))
