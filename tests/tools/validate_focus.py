"""Lets the FOCUS validator judge a FOCUS export of ours: `uv run python -m tests.tools.validate_focus [FILE]`.

Without a file it writes one of figures with every peculiarity. The validator needs Python 3.12 and other versions of
pandas and pyarrow than ours, so it runs in an environment of its own, which uv makes. FOCUS_PYTHON names the Python
where uv does not find or fetch one.

Of the two rules InvoiceId-C-004-C (must be null) and InvoiceId-C-005-C (must not be null), which the specification
offers as alternatives, the validator reports one as failed for every file; their parent InvoiceId-C-003-C counts.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ingest.costs.focus_file import write_focus
from tests.support.statements import a_statement

VALIDATOR = "focus-validator==2.2.1"
RULES = "1.2.0.1"
# The validator asks for pandas 2, which needs NumPy 1, which newer versions of pyarrow refuse.
WITH = ("--with", VALIDATOR, "--with", "pyarrow<20")
CRITERIA = (
    "USAGE_MEASUREMENT_SUPPORTED",
    "TAGGING_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "ACCOUNT_NAMING_SUPPORTED",
)
ALTERNATIVES = {"InvoiceId-C-004-C", "InvoiceId-C-005-C"}
# It reads its list of currencies by a path from the folder of packages.
START = (
    "import os, pathlib, focus_validator; os.chdir(pathlib.Path(focus_validator.__file__).parents[1]);"
    " from focus_validator.main import main; main()"
)
FAILED = re.compile(r"^\S+ (?P<rule>\S+): FAIL", re.MULTILINE)
SUMMARY = re.compile(r"^Total: (\d+) \| Pass: (\d+) \| Fail: (\d+) \| Skipped: (\d+)$", re.MULTILINE)


def validate(file: Path) -> tuple[set[str], str]:
    """Return the rules that a file breaks, and the validator's own summary.

    Raises:
        RuntimeError: The validator did not come to its end.
    """
    version = os.environ.get("FOCUS_PYTHON", "3.12")
    command = ["uv", "run", "--no-project", "--isolated", "--quiet", "--python", version, *WITH, "python", "-c", START]
    command += ["--data-file", str(file.resolve()), "--validate-version", RULES, "--block-download"]
    command += ["--applicability-criteria", ",".join(CRITERIA), "--focus-dataset", "CostAndUsage"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    summary = SUMMARY.search(result.stdout)
    if summary is None:
        raise RuntimeError(result.stdout[-2000:] + result.stderr[-2000:])
    return set(FAILED.findall(result.stdout)) - ALTERNATIVES, summary[0]


def main() -> int:
    """Validate a file; returns how many rules it breaks."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder, "statement.focus.csv")
        if len(sys.argv) == 1:
            file.write_bytes(write_focus(a_statement(dimensions=("provider", "feature", "model", "environment"))))
        failed, summary = validate(file)
    print(f"{VALIDATOR}, rules {RULES}: {summary}")
    print(f"broken: {', '.join(sorted(failed)) or 'none'}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
