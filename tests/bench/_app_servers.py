"""The app as `treering up` serves it, and beside it a Streamlit page with nothing on it."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import psutil

from ingest.local.up import BASE_PATH, dashboard_command
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_READY_S = 60.0
_FOREIGN = ("SUPABASE_", "TREERING_")


class AppServer:
    """A running Streamlit server: its address and its memory."""

    def __init__(self, address: str, process_id: int) -> None:
        self.address = address
        self._process = psutil.Process(process_id)

    def resident_mb(self) -> float:
        """Memory that the server holds now, in MB."""
        return float(self._process.memory_info().rss) / 2**20


@contextmanager
def serve(script: Path, **settings: str) -> Iterator[AppServer]:
    """Run a Streamlit script with the flags of `treering up`.

    Args:
        script: What is run.
        **settings: Environment of the server; the bench's own settings of Treering are left out.
    """
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    process = subprocess.Popen(dashboard_command(script, port), env=kept | settings, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/{BASE_PATH}"
    try:
        _wait(f"{address}/_stcore/health")
        yield AppServer(address, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(url: str) -> None:
    deadline = time.monotonic() + _READY_S
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                if client.get(url).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
    raise TimeoutError(f"no answer from {url}")
