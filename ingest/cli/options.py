"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of the embedded database and the journal. [default: TREERING_HOME]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
