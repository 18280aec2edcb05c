"""Puts files where statements are kept: a folder, or anything that fsspec reaches (s3://bucket/prefix)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.costs.files import StatementFile

__all__ = ["put_files"]


def put_files(url: str, files: Sequence[StatementFile]) -> None:
    """Store files under their names, each whole or not at all; one of the same name is replaced.

    Args:
        url: A folder, which is made where it is missing, or an address that fsspec knows.
        files: What to store.

    Raises:
        ConfigurationError: The address needs a package that is not installed, is none, or cannot be written to.
    """
    try:
        if "://" in url:
            _put_remote(url, files)
        else:
            _put_local(Path(url).expanduser(), files)
    except OSError as error:  # what fsspec's file systems raise, too
        raise ConfigurationError(f"TREERING_STATEMENT_URL: {error.strerror or type(error).__name__}") from error


def _put_local(folder: Path, files: Sequence[StatementFile]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        draft = folder / f".{file.name}.part"
        with draft.open("wb") as writer:
            writer.write(file.content)
            writer.flush()
            os.fsync(writer.fileno())
        draft.replace(folder / file.name)


def _put_remote(url: str, files: Sequence[StatementFile]) -> None:
    try:
        import fsspec

        filesystem, root = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"TREERING_STATEMENT_URL: {error}; pip install 'treering[archive,s3]'") from error
    filesystem.makedirs(root, exist_ok=True)
    for file in files:
        # An object appears when it is closed, whole.
        filesystem.pipe_file(f"{root.rstrip('/')}/{file.name}", file.content)
