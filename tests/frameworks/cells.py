"""The cells of one row, named by CELLS in the environment; `python -m tests.frameworks` runs this for each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.frameworks.harness import COLUMNS, load, run_cell

if TYPE_CHECKING:
    from tests.support.openai_server import OpenAIServer
    from tests.unit.tracking.conftest import Recorded

pytestmark = pytest.mark.timeout(120)
MODULE = load(os.environ["CELLS"])


@pytest.mark.parametrize("column", [column for column in COLUMNS if column not in getattr(MODULE, "CANNOT", {})])
def test_a_cell_is_recorded_right(column: str, server: OpenAIServer, instrumented: Recorded) -> None:
    run_cell(MODULE, column, server, instrumented)
