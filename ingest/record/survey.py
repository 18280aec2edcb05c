"""What waits in the journals of all processes of a home folder, looked at without touching it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic_core import from_json

from ingest.record.claim import Claim
from ingest.record.event import time_of_uuid7
from ingest.record.journal import SUFFIX, UNREADABLE_SUFFIX
from ingest.record.open_calls import OPEN_SUFFIX, read_open_calls
from ingest.record.segment import peek

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

JOURNAL_FOLDER = "journal"


@dataclass(slots=True)
class Survey:
    """Undelivered events of a home folder.

    Attributes:
        waiting: Events of running processes.
        left: Events of processes that have ended.
        oldest_at: When the oldest of both was recorded; None where nothing waits or its time is unknown.
        unreadable: Files and folders that cannot be read, each with the reason.
    """

    waiting: int = 0
    left: int = 0
    oldest_at: datetime | None = None
    unreadable: list[str] = field(default_factory=list)


def survey_journals(home: Path) -> Survey:
    """Look at every journal below `home`; a home that does not exist has none."""
    survey = Survey()
    root = home / JOURNAL_FOLDER
    try:
        folders = sorted(root.iterdir()) if root.exists() else []
    except OSError as error:
        survey.unreadable.append(f"{root} ({error.strerror})")
        return survey
    for folder in folders:
        try:
            _look_into(folder, survey)
        except FileNotFoundError:
            continue  # delivered or taken over meanwhile
        except OSError as error:
            survey.unreadable.append(f"{folder} ({error.strerror})")
    return survey


def _look_into(folder: Path, survey: Survey) -> None:
    files = list(folder.iterdir())
    survey.unreadable += [f"{path} (of another version)" for path in files if path.suffix == UNREADABLE_SUFFIX]
    segments = sorted(path for path in files if path.suffix == SUFFIX)
    open_calls = [path for path in files if path.suffix == OPEN_SUFFIX]
    if not segments + open_calls:
        return
    is_abandoned = Claim.is_abandoned(folder)
    if is_abandoned:
        survey.left += sum(1 for path in open_calls for _ in read_open_calls(path))
    for path in segments:
        try:
            count, oldest = peek(path)
        except FileNotFoundError:
            continue
        except ValueError as error:
            survey.unreadable.append(f"{path} ({error})")
            continue
        if is_abandoned:
            survey.left += count
        else:
            survey.waiting += count
        moment = _time_of(oldest) if oldest is not None else None
        if moment is not None and (survey.oldest_at is None or moment < survey.oldest_at):
            survey.oldest_at = moment


def _time_of(record: bytes) -> datetime | None:
    try:
        return time_of_uuid7(uuid.UUID(str(from_json(record[1:])["event_id"])).int)
    except (ValueError, KeyError, TypeError):
        return None
