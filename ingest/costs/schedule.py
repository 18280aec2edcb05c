"""The worker's job that hands out the statement of each month, once to each target: the folder and channels."""

from __future__ import annotations

import base64
import hashlib
import html
import logging
from typing import TYPE_CHECKING

from ingest.alerts.notification import MOST_FILE_BYTES
from ingest.costs.files import FORMATS, hand_out
from ingest.costs.folder import put_files
from ingest.costs.statement import read_statement
from ingest.costs.wording import facts_of, headline_of, notes_of
from ingest.database import fetch, parse
from ingest.documents.statement import ClaimedStatement
from ingest.errors import ConfigurationError, TreeringError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from ingest.costs.files import StatementFile
    from ingest.costs.statement import CostStatement
    from ingest.database import Argument, Database, JsonValue

__all__ = ["hand_out_due_statements"]

logger = logging.getLogger("treering.statements")


def hand_out_due_statements(
    database: Database,
    worker: str,
    *,
    now: datetime,
    folder: str | None = None,
    threshold: Decimal,
) -> int:
    """Hand out every statement that is due; one that fails is tried again later and stops no other.

    A crash between writing to the folder and noting it writes the same files again; a message is in the outbox if and
    only if its statement counts as sent.

    Args:
        database: Opened as service_role.
        worker: Name of this worker, noted in the log of exports.
        now: The time, aware.
        folder: A folder or an address that fsspec knows; None where nothing goes to one.
        threshold: The fraction of a bill up to which bill and record agree.

    Returns:
        How many were handed out.

    Raises:
        DatabaseUnavailableError: The database is out of reach; a claimed statement is free again in half an hour.
    """
    count = 0
    asked: dict[str, Argument] = {"worker": worker, "has_folder": folder is not None, "as_of": now.isoformat()}
    while (answer := database.call("claim_statement", **asked)) is not None:
        claimed = parse(ClaimedStatement, answer, "claim_statement")
        try:
            count += _hand_out(database, claimed, worker, folder, threshold)
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with one target, the others get theirs
            said = str(error) if isinstance(error, TreeringError) else f"{type(error).__name__}: {error}"
            logger.warning("the statement of %s for %s: %s", claimed.month, claimed.target, said)
            database.call("fail_statement", claim_id=claimed.claim_id, error=said, as_of=now.isoformat())
    return count


def _hand_out(
    database: Database, claimed: ClaimedStatement, worker: str, folder: str | None, threshold: Decimal
) -> bool:
    def read(dimensions: Sequence[str]) -> CostStatement:
        return read_statement(
            database, claimed.month, timezone=claimed.timezone, dimensions=dimensions, threshold=threshold
        )

    statement = read(claimed.dimensions)
    # A FOCUS export is by provider whatever else.
    is_apart = "focus" in claimed.formats and "provider" not in claimed.dimensions
    by_provider = read(("provider", *claimed.dimensions)) if is_apart else statement
    files = [
        hand_out(database, by_provider if name == "focus" else statement, name, via="schedule", exported_by=worker)
        for name in FORMATS
        if name in claimed.formats
    ]
    noted: list[JsonValue] = [
        {"name": file.name, "size_bytes": len(file.content), "sha256": hashlib.sha256(file.content).hexdigest()}
        for file in files
    ]
    message: dict[str, JsonValue] | None = None
    if claimed.target == "folder":
        if folder is None:
            raise ConfigurationError("TREERING_STATEMENT_URL is not set")
        put_files(folder, files)
    else:
        message = make_message(statement, files, grace_days=claimed.grace_days)
    return fetch(database, bool, "finish_statement", claim_id=claimed.claim_id, files=noted, message=message)


def make_message(statement: CostStatement, files: Sequence[StatementFile], *, grace_days: int) -> dict[str, JsonValue]:
    """Write the message that carries a statement, as the outbox takes it: title, text, html and the files in base64.

    Raises:
        ConfigurationError: The files are larger than an e-mail may be.
    """
    size = sum(len(file.content) for file in files)
    if size > MOST_FILE_BYTES:
        raise ConfigurationError(
            f"the files have {size / 1e6:,.1f} MB, an e-mail takes {MOST_FILE_BYTES / 1e6:,.0f}: choose fewer formats"
            " or dimensions, or a folder (TREERING_STATEMENT_URL)"
        )
    title = f"Statement for {statement.period}: {headline_of(statement)}"
    lines = [f"{name}: {text}" for name, text in facts_of(statement)]
    lines.append(f"Files (attached to e-mails): {', '.join(file.name for file in files)}")
    waited = "1 day" if grace_days == 1 else f"{grace_days} days"
    lines.append(f"Calls and bills that arrive later than {waited} after the month are not in it.")
    lines += notes_of(statement)
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return {
        "title": title,
        "text": "\n".join([title, "", *lines]) + "\n",
        "html": f"<h3>{html.escape(title)}</h3><ul>{items}</ul>",
        "files": [
            {"name": file.name, "mime": file.mime, "content": base64.b64encode(file.content).decode()} for file in files
        ],
    }
