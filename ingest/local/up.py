"""Everything on one machine: embedded Postgres, migrations, worker and dashboard."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from ingest.database import PostgresDatabase, fetch
from ingest.documents.pipeline import RolledUp
from ingest.errors import UpError
from ingest.local.supervisor import Supervisor

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Mapping

    from ingest.database import Database
    from ingest.settings import Settings

VIEWER_ID = "local-ops"
BASE_PATH = "dashboard/observability"
DEFAULT_PORT = 8501

_HOST = "127.0.0.1"
_READY_TIMEOUT_S = 120.0
_POLL_S = 0.2
_ROLL_UP_TIMEOUT_S = 120.0

# The children use the embedded database, whatever the shell says about another one.
_FOREIGN_VARIABLES = (
    "SUPABASE_URL", "SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_PUBLISHABLE_KEY",
    "SUPABASE_ANON_KEY", "SUPABASE_JWT_SECRET", "SUPABASE_DB_URL",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `treering up` was asked for.

    Attributes:
        settings: Where the data goes; only `home` and `fallback_model` count.
        port: Port of the dashboard on this machine.
        demo: Fill the database with demo usage.
    """

    settings: Settings
    port: int = DEFAULT_PORT
    demo: bool = False

    @property
    def address(self) -> str:
        """Where the dashboard is."""
        return f"http://localhost:{self.port}/{BASE_PATH}"


def run_up(options: UpOptions, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Run until `stop` is set, then stop everything in order: dashboard, worker, database.

    Raises:
        UpError: It runs already, the port is taken, a part is not installed, or the dashboard does not come up.
        ChildEndedError: A child ended by itself; the rest was stopped.
        EmbeddedServerError: The database does not start.
    """
    from ingest.local.embedded import EmbeddedPostgres

    home = options.settings.home
    script = dashboard_script()
    with _only_one(home, options.address):
        _check_port(options.port)
        is_first = not (home / "postgres").exists()
        say("creating the database (first start) …" if is_first else "starting the database …")
        with EmbeddedPostgres(home) as server, contextlib.ExitStack() as stack:
            database = PostgresDatabase(server.authenticator_uri)
            stack.callback(database.close)
            database.call("add_member", user_id=VIEWER_ID, role="ops")
            supervisor = Supervisor(home / "logs")
            stack.callback(_stop, supervisor, say)
            env = _child_environment(os.environ, home, options.address)
            supervisor.start("worker", [sys.executable, "-m", "ingest.cli", "worker"], env=env)
            supervisor.start(
                "dashboard",
                dashboard_command(script, options.port),
                env=env | {"TREERING_LOCAL_VIEWER": VIEWER_ID},
                cwd=script.parent.parent,  # Streamlit looks for .streamlit/config.toml where it is started
            )
            _serve(options, database, supervisor, stop, say)


def _serve(
    options: UpOptions, database: Database, supervisor: Supervisor, stop: threading.Event, say: Callable[[str], None]
) -> None:
    _wait_until_healthy(options.port, supervisor, stop)
    if stop.is_set():
        return
    say(_welcome(options))
    if options.demo:
        _fill_with_demo(options, database, supervisor, stop, say)
    while not stop.wait(_POLL_S):
        supervisor.check()
        _check_database(options.settings.home)


def _fill_with_demo(
    options: UpOptions, database: Database, supervisor: Supervisor, stop: threading.Event, say: Callable[[str], None]
) -> None:
    from ingest.local.demo import DAYS, load_demo

    def should_stop() -> bool:
        supervisor.check()
        return stop.is_set()

    say("loading demo data …")
    totals = load_demo(
        database,
        now=datetime.now(UTC),
        fallback_model=options.settings.fallback_model,
        should_stop=should_stop,
    )
    if totals.is_complete and _roll_up_everything(database, should_stop):
        say(f"demo data: {totals.calls:,} new calls, {totals.requests:,} new requests within the last {DAYS} days")


def _roll_up_everything(database: Database, should_stop: Callable[[], bool]) -> bool:
    """Show what was just loaded on the pages now, not in five minutes."""
    deadline = time.monotonic() + _ROLL_UP_TIMEOUT_S
    while not should_stop() and time.monotonic() < deadline:
        if not fetch(database, RolledUp, "roll_up").pending_batches:
            database.call("refresh_aggregates")
            return True
    return False


def _check_database(home: Path) -> None:
    try:
        pid = int((home / "postgres" / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        raise UpError(f"the database stopped unexpectedly; its log is in {home / 'postgres' / 'log'}") from None


def _wait_until_healthy(port: int, supervisor: Supervisor, stop: threading.Event) -> None:
    url = f"http://{_HOST}:{port}/{BASE_PATH}/_stcore/health"
    deadline = time.monotonic() + _READY_TIMEOUT_S
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while not stop.is_set():
            supervisor.check()
            with contextlib.suppress(httpx.TransportError):
                if client.get(url).is_success:
                    return
            if time.monotonic() > deadline:
                raise UpError(f"the dashboard did not answer within {_READY_TIMEOUT_S:.0f} s: see logs/dashboard.log")
            stop.wait(_POLL_S)


def _welcome(options: UpOptions) -> str:
    return "\n".join([
        "",
        f"  Dashboard: {options.address}",
        "",
        "  In your backend (pip install treering):",
        "",
        "    from ingest import configure, record_usage",
        f"    configure(home={str(options.settings.home)!r})",
        '    record_usage(user_id="user_1", model="gpt-4o", prompt_tokens=150, completion_tokens=50, feature="chat")',
        "",
        "  Ctrl-C stops everything.",
        "",
    ])  # fmt: skip


def _stop(supervisor: Supervisor, say: Callable[[str], None]) -> None:
    say("stopping …")
    supervisor.stop()


@contextlib.contextmanager
def _only_one(home: Path, address: str) -> Generator[None]:
    import fcntl  # not on Windows, where the embedded server does not run either

    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / "up.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UpError(_already_running(lock.name, home)) from None
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "address": address}))
        lock.flush()
        yield


def _already_running(lock_path: str, home: Path) -> str:
    place = f"treering up is already running in {home}"
    try:
        holder = json.loads(Path(lock_path).read_text(encoding="utf-8"))
        return f"{place} (process {holder['pid']}): open {holder['address']}"
    except ValueError:  # it is just being written
        return place


def _check_port(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left is free, as Streamlit sees it
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UpError(
                    f"port {port} is used by another program: stop it, or choose another with --port {port + 1}"
                ) from None
            raise UpError(f"port {port} cannot be used: {error.strerror}; choose another with --port") from error


def dashboard_script() -> Path:
    """Return the app's script, wherever it is installed.

    Raises:
        UpError: Streamlit is not installed.
    """
    if find_spec("streamlit") is None:
        raise UpError("the dashboard is not installed: run pip install 'treering[all]'")
    spec = find_spec("dashboard")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("app.py")


def dashboard_command(script: Path, port: int, address: str = _HOST) -> list[str]:
    """Return the command that starts the app; its look comes from `.streamlit/config.toml` beside the script."""
    return [
        sys.executable, "-m", "streamlit", "run", str(script),
        f"--server.port={port}",
        f"--server.address={address}",
        f"--server.baseUrlPath={BASE_PATH}",
        "--server.headless=true",
        "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
    ]  # fmt: skip


def _child_environment(environ: Mapping[str, str], home: Path, address: str) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if name not in _FOREIGN_VARIABLES}
    own = {"TREERING_DASHBOARD_URL": address, "TREERING_SECRET_KEY": _secret_key(home)}
    return own | kept | {"TREERING_HOME": str(home), "PYTHONUNBUFFERED": "1"}


def _secret_key(home: Path) -> str:
    """Read the key that seals channels' addresses; at the first start it is made, readable for its owner alone."""
    from ingest.alerts.sealing import make_key

    path = home / "secret.key"
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(make_key())
    return path.read_text(encoding="ascii")
