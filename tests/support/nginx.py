"""nginx before the app, with the configuration that docs/deploy has."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import toolchain
from tests.support.leftovers import make_folder
from tests.support.servers import free_port

CONFIGURATION = Path(__file__).parents[2] / "docs" / "deploy" / "nginx.conf"
_STARTUP_TIMEOUT_S = 60

_MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {ours}
}}
"""


class Nginx:
    """A running proxy.

    Args:
        app_port: Where the app listens.
        embedder: Origin of the product that may embed it.
    """

    def __init__(self, app_port: int, embedder: str) -> None:
        program = toolchain.debian_program("nginx")
        if not program.exists():
            pytest.skip("nginx is not installed: `uv run python -m tests` as root installs it")
        self.port = free_port()
        self.folder = make_folder()
        ours = CONFIGURATION.read_text()
        for documented, here in {
            "listen 80;": f"listen 127.0.0.1:{self.port};",
            "127.0.0.1:8501": f"127.0.0.1:{app_port}",
            "https://www.example.com": embedder,
            "/var/log/nginx": str(self.folder),
        }.items():
            assert documented in ours
            ours = ours.replace(documented, here)
        (self.folder / "nginx.conf").write_text(_MAIN.format(folder=self.folder, ours=ours))
        self._process = subprocess.Popen([program, "-c", self.folder / "nginx.conf", "-e", self.folder / "error.log"])
        self._wait()

    @property
    def log(self) -> str:
        """What it wrote of the requests to the app."""
        return (self.folder / "treering.log").read_text()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + _STARTUP_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "error.log").read_text()) from error
            time.sleep(0.02)
