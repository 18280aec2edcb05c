"""The documents that the app's tests rest on have the form that the functions return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.app.recording import OPS, READS, differences, record, recorded, seed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database


def test_every_recorded_document_has_the_form_that_its_function_returns(
    service_db: Database, viewer: Callable[[str], Database]
) -> None:
    ops = viewer(OPS)
    seed(service_db, ops)
    found = {name: differences(recorded(name), document, is_whole=True) for name, document in record(ops)}
    assert found == {name: [] for name in READS}, "uv run python -m tests.app.record_documents"
