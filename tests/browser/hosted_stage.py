"""A hosted project on loopback: Postgres behind the pooler, the API with asymmetric keys, a provider, a proxy."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dashboard
from ingest.cli.env_file import read_env_file
from tests.support.api import PUBLISHABLE_KEY, SECRET_KEY, Api
from tests.support.cli import run_cli
from tests.support.keys import key_set, make_key
from tests.support.leftovers import make_folder
from tests.support.nginx import Nginx
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider
from tests.support.pgbouncer import PgBouncer
from tests.support.project import OWNER, OWNER_PASSWORD, hand_to_owner
from tests.support.servers import free_port

if TYPE_CHECKING:
    from tests.support.servers import TestDatabase

BASE_PATH = "dashboard/observability"
EMBED_SECRET = "known-to-the-product-and-the-app-alone"
KEY = make_key("ES256", "project-key")
_STARTUP_TIMEOUT_S = 60


class HostedStage:
    """What a newcomer has, and what they start.

    Attributes:
        folder: Where they work.
        provider: Who signs people in.
        product_port: Where the product that embeds the app is served.
    """

    def __init__(self, database: TestDatabase) -> None:
        self.database = database
        self.folder = make_folder()
        self.provider = OidcProvider()
        self.api = Api(jwt_keys=key_set(), schemas="public")
        self.pooler = PgBouncer(database, OWNER, OWNER_PASSWORD)
        self.product_port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._proxies: list[Nginx] = []
        hand_to_owner(database)
        self.provider.start()
        self.api.start(database)
        self.pooler.start()
        self.app_port = free_port()
        self.nginx = self._proxy(self.app_port)

    @property
    def address(self) -> str:
        """Where the app is for people: behind the proxy."""
        return f"http://127.0.0.1:{self.nginx.port}/{BASE_PATH}"

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()
        for proxy in self._proxies:
            proxy.stop()
        self.pooler.stop()
        self.api.stop()
        self.provider.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what a newcomer types --

    def treering(self, *words: str) -> str:
        """Run a command in the folder, with the file of settings that is there; what it printed returns."""
        ours = {name: value for name, value in self._environment().items() if name.startswith("TREERING_")}
        with contextlib.chdir(self.folder):
            return run_cli(*words, env={**ours, **read_env_file()}).output

    def faults(self) -> dict[str, str]:
        """What doctor finds wrong, with the fix, by part."""
        document = json.loads(self.treering("doctor", "--json"))
        return {one["part"]: f"{one['message']}: {one['fix']}" for one in document["parts"] if one["level"] != "ok"}

    def init(self) -> str:
        (self.folder / "key.json").write_text(json.dumps(KEY))
        words = [
            "init", "--no-input", "--url", f"{self.api.url}/rest/v1", "--publishable-key", PUBLISHABLE_KEY,
            "--secret-key", SECRET_KEY, "--db-url", self.pooler.url, "--signing-key", "key.json",
            "--app-url", self.address, "--provider", f"{self.provider.url}/.well-known/openid-configuration",
            "--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET,
        ]  # fmt: skip
        command = [sys.executable, "-m", "ingest.cli", *words]
        result = subprocess.run(
            command, cwd=self.folder, env=self._environment(), capture_output=True, text=True, timeout=240, check=False
        )
        return result.stdout

    def start_worker(self) -> None:
        self._start([sys.executable, "-m", "ingest.cli", "worker"], self.folder)

    def start_app(self) -> None:
        """Start the app in the folder, with what `init` wrote and nothing else."""
        self._start(_app_command(self.app_port), self.folder)
        _wait_for(self.app_port)

    def start_app_with(self, **auth: Any) -> str:
        """Start a second app that has no key of its own and passes sign-ins on; its address returns."""
        folder, port = self.folder / "second", free_port()
        proxy = self._proxy(port)
        address = f"http://127.0.0.1:{proxy.port}/{BASE_PATH}"
        (folder / ".streamlit").mkdir(parents=True)
        section = {
            "redirect_uri": f"{address}/oauth2callback",
            "cookie_secret": "a-secret-of-more-than-thirty-two-characters",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "server_metadata_url": f"{self.provider.url}/.well-known/openid-configuration",
            **auth,
        }
        root = {"SUPABASE_URL": self.api.url, "SUPABASE_PUBLISHABLE_KEY": PUBLISHABLE_KEY}
        lines = [f"{name} = {json.dumps(value)}" for name, value in root.items()]
        lines += ["[auth]", *(f"{name} = {json.dumps(value)}" for name, value in section.items())]
        (folder / ".streamlit" / "secrets.toml").write_text("\n".join(lines))
        self._start(_app_command(port), folder)
        _wait_for(port)
        return address

    def record_a_call(self) -> None:
        """Record one call from a backend that has the settings in its environment."""
        code = (
            "import ingest; ingest.configure(); "
            "ingest.record_usage(user_id='user_ana', model='gpt-4o', prompt_tokens=150, completion_tokens=50); "
            "assert ingest.flush(60); ingest.shutdown(30)"
        )
        settings = {"SUPABASE_URL": self.api.url, "SUPABASE_SECRET_KEY": SECRET_KEY}
        subprocess.run([sys.executable, "-c", code], env=self._environment() | settings, check=True, timeout=120)

    def _proxy(self, app_port: int) -> Nginx:
        proxy = Nginx(app_port, f"http://127.0.0.1:{self.product_port}")
        self._proxies.append(proxy)
        return proxy

    def _start(self, command: list[str], folder: Path) -> None:
        log = (self.folder / "processes.log").open("ab")
        process = subprocess.Popen(command, cwd=folder, env=self._environment(), stdout=log, stderr=log)
        log.close()
        self._processes.append(process)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE_", "TREERING_"))}
        ours = {"TREERING_HOME": str(self.folder / "home"), "TREERING_UPDATE_PRICES": "false"}
        return {**kept, **ours, "TREERING_EMBED_SECRET": EMBED_SECRET, "PYTHONPATH": str(Path(__file__).parents[2])}


def _app_command(port: int) -> list[str]:
    script = Path(dashboard.__file__).parent / "app.py"
    options = {"port": port, "baseUrlPath": BASE_PATH, "address": "127.0.0.1"}
    words = [f"--server.{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", str(script), *words]


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _STARTUP_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)
