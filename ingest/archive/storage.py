"""Where the archive lies: a folder, or anything that fsspec reaches (s3://bucket/prefix for Supabase Storage).

A month has one folder, `usage/month=2026-05`, with a `manifest.json` and the Parquet files that it names. A file that
no manifest names does not count: a run that was killed left it, and a later run removes it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import ValidationError

from ingest.archive.manifest import Manifest
from ingest.archive.schema import KINDS
from ingest.errors import ArchiveError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsspec import AbstractFileSystem

    from ingest.archive.schema import Kind

_MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 64 * 1024 * 1024  # a part takes 2 KiB of it and holds a million rows


class Storage:
    """Reads and writes the files of the archive.

    Args:
        url: A folder or an address that fsspec knows.

    Raises:
        ConfigurationError: The address needs a package that is not installed, or is none.
    """

    def __init__(self, url: str) -> None:
        try:
            self.filesystem: AbstractFileSystem
            self.filesystem, self._root = fsspec.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"TREERING_ARCHIVE_URL: {error}") from error
        self._root = self._root.rstrip("/")
        self.url = url

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return isinstance(self.filesystem, LocalFileSystem)

    def path_of(self, kind: Kind, month: dt.date, file: str) -> str:
        """The file's path within the file system."""
        return f"{self._folder(kind, month)}/{file}"

    def url_of(self, kind: Kind, month: dt.date, file: str) -> str:
        """The file's address for other programs."""
        return str(self.filesystem.unstrip_protocol(self.path_of(kind, month, file)))

    def read_manifest(self, kind: Kind, month: dt.date) -> Manifest:
        """Read the manifest of a month; an empty one where there is none.

        Raises:
            ArchiveError: It cannot be understood.
        """
        try:
            with self.filesystem.open(self.path_of(kind, month, _MANIFEST), "rb") as file:
                text = file.read(_MAX_MANIFEST_BYTES + 1)
        except FileNotFoundError:
            return Manifest(kind=kind, month=month)
        if len(text) > _MAX_MANIFEST_BYTES:
            raise ArchiveError(f"{self.url_of(kind, month, _MANIFEST)} is longer than {_MAX_MANIFEST_BYTES:,} bytes")
        try:
            return Manifest.model_validate_json(text)
        except ValidationError as error:
            raise ArchiveError(
                f"{self.url_of(kind, month, _MANIFEST)} is not a valid manifest: {error.error_count()} errors"
            ) from error

    def read_manifests(self) -> Iterator[Manifest]:
        """Read all manifests, by kind and month."""
        for kind in KINDS:
            for month in self._months(kind):
                manifest = self.read_manifest(kind, month)
                if manifest.generations:
                    yield manifest

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest of a month in one step: readers see the old one or the new one."""
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / _MANIFEST
            draft.write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
            self.put(draft, manifest.kind, manifest.month, _MANIFEST)

    def put(self, source: Path, kind: Kind, month: dt.date, file: str) -> None:
        """Store a file; when this returns it is on the disk or with the service, whole."""
        path = self.path_of(kind, month, file)
        if not self.is_local:
            self.filesystem.put_file(str(source), path)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.draft")
        with source.open("rb") as reader, draft.open("wb") as writer:
            while block := reader.read(1 << 20):
                writer.write(block)
            writer.flush()
            os.fsync(writer.fileno())
        draft.replace(target)
        _sync_folder(target.parent)

    @contextlib.contextmanager
    def fetch(self, kind: Kind, month: dt.date, file: str) -> Iterator[Path]:
        """Give the stored file as a local one.

        Raises:
            ArchiveError: It is not there.
        """
        path = self.path_of(kind, month, file)
        if self.is_local:
            if not Path(path).exists():
                raise ArchiveError(f"{path} is missing")
            yield Path(path)
            return
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / file
            try:
                self.filesystem.get_file(path, str(local))
            except FileNotFoundError:
                raise ArchiveError(f"{self.url_of(kind, month, file)} is missing") from None
            yield local

    def sweep(self, manifest: Manifest) -> int:
        """Remove the month's files that its manifest does not name; returns how many."""
        kept = {part.file for part in manifest.parts()} | {_MANIFEST}
        folder = self._folder(manifest.kind, manifest.month)
        removed = 0
        for path in self._list(folder):
            if Path(path).name not in kept:
                self.filesystem.rm_file(path)
                removed += 1
        return removed

    def _months(self, kind: Kind) -> Iterator[dt.date]:
        for path in sorted(self._list(f"{self._root}/{kind}")):
            name = Path(path.rstrip("/")).name
            if name.startswith("month="):
                yield dt.date.fromisoformat(f"{name.removeprefix('month=')}-01")

    def _list(self, folder: str) -> list[str]:
        self.filesystem.invalidate_cache()
        try:
            return [str(path) for path in self.filesystem.ls(folder, detail=False) if path.rstrip("/") != folder]
        except FileNotFoundError:
            return []

    def _folder(self, kind: Kind, month: dt.date) -> str:
        return f"{self._root}/{kind}/month={month:%Y-%m}"


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
