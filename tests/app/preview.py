"""Run the app on made-up figures, to look at it: `TREERING_LOCAL_VIEWER=local-ops streamlit run tests/app/preview.py`.

`PREVIEW` in the environment chooses the state: filled (default), empty, member, error.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path

from dashboard.reads import connection
from ingest.errors import DatabaseUnavailableError
from tests.app.fake_database import FakeDatabase

STATES = {
    "filled": FakeDatabase(customers=137),
    "empty": FakeDatabase(is_empty=True, firing=0),
    "member": FakeDatabase(access="member"),
    "error": FakeDatabase(error=DatabaseUnavailableError("connection to 127.0.0.1:5432 refused")),
}


def _open(*_: object, **__: object) -> FakeDatabase:
    return STATES[os.environ.get("PREVIEW", "filled")]


setattr(connection, "open_viewer_database", _open)  # noqa: B010 -- the app's one seam
runpy.run_path(str(Path(__file__).parents[2] / "dashboard" / "app.py"), run_name="__main__")
