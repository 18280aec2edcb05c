"""Which process a part of the journal belongs to.

Each recorder owns one folder below the journal's, held by a lock on a file in it. The kernel releases the lock when
the process ends, however it ends; the next process to lock a folder owns what is left in it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_NAME = "lock"
_ATTEMPTS = 10  # another process may sweep a new folder away before it is locked; twice in a row is already unlikely


class Claim:
    """A locked folder: this process's own, or one it has taken over from a dead one."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor: int | None = descriptor

    @classmethod
    def create(cls, root: Path) -> Claim:
        """Make and lock a new folder below `root`.

        Raises:
            OSError: The folder cannot be made.
        """
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            # The time comes first so that the oldest folder sorts first.
            folder = root / f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
            folder.mkdir(mode=0o700)
            try:
                claim = cls._lock(folder)
            except FileNotFoundError:
                continue
            except OSError:  # a file system without locks: leave nothing behind at each attempt
                (folder / LOCK_NAME).unlink(missing_ok=True)
                folder.rmdir()
                raise
            if claim:
                return claim
        raise OSError(f"no folder below {root} could be locked")

    @classmethod
    def adopt_all(cls, root: Path) -> Iterator[Claim]:
        """Take over each folder whose owner is gone; one of another user is left to that user."""
        folders = sorted(root.iterdir()) if root.is_dir() else []
        for folder in folders:
            with contextlib.suppress(OSError):
                claim = cls._lock(folder)
                if claim:
                    yield claim

    @classmethod
    def is_abandoned(cls, folder: Path) -> bool:
        """Whether the folder's owner is gone.

        Raises:
            OSError: The folder is another user's.
        """
        claim = cls._lock(folder)
        if claim is not None:
            claim.forget()
        return claim is not None

    def release(self) -> None:
        """Release the folder and remove it if it is empty; safe to repeat."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            if all(path.name == LOCK_NAME for path in self.folder.iterdir()):
                (self.folder / LOCK_NAME).unlink(missing_ok=True)
                self.folder.rmdir()
        self.forget()

    def forget(self) -> None:
        """Close the lock's file: after a fork this leaves the parent's lock untouched."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @classmethod
    def _lock(cls, folder: Path) -> Claim | None:
        path = folder / LOCK_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if _try_lock(descriptor) and os.fstat(descriptor).st_ino == path.stat().st_ino:
                return cls(folder, descriptor)
        except FileNotFoundError:
            pass  # removed between opening and locking
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None


def _try_lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        raise OSError("the journal needs POSIX file locks")
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
