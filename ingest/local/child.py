"""Becomes the command it is given, bound to the life of its parent: `python -m ingest.local.child PARENT_PID COMMAND…`.

A supervisor that is killed outright cannot stop its children. On Linux the kernel does it for us.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Bind this process to its parent and run the command in its place."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we were bound to it
        sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 -- no shell is the point


if __name__ == "__main__":
    main()
