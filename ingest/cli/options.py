"""Options that several commands share."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of the embedded database and the journal. [default: TREERING_HOME]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def account_name() -> str:
    """The account on this machine, as the one who a command exported for; a container may have none."""
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):
        return f"uid {os.getuid()} (command)"
