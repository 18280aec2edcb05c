"""PgBouncer before a test's database, as Supabase's pooler stands before a project: users are named `postgres.REF`."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import psycopg
import pytest

from tests.support import toolchain
from tests.support.leftovers import make_folder
from tests.support.servers import free_port

if TYPE_CHECKING:
    from tests.support.servers import TestDatabase

REF = "abcdefghijklmnopqrst"
USER = f"postgres.{REF}"
PASSWORD = "only-for-the-pooler"
_STARTUP_TIMEOUT_S = 60

_CONFIGURATION = """
[databases]
postgres = host=127.0.0.1 port={port} dbname={name} user={owner} password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = plain
auth_file = {folder}/users.txt
pool_mode = {mode}
default_pool_size = {connections}
server_reset_query =
logfile = {folder}/pgbouncer.log
pidfile = {folder}/pgbouncer.pid
"""


@dataclass
class PgBouncer:
    """A running pooler.

    Attributes:
        database: What stands behind it.
        owner: Who its connections to Postgres belong to: who owns a project's database.
        password: That user's password.
        mode: "transaction" as on Supabase's port 6543, "session" as on 5432.
        connections: How many connections to Postgres there are for all callers.
    """

    database: TestDatabase
    owner: str
    password: str
    mode: Literal["transaction", "session"] = "transaction"
    connections: int = 2

    @property
    def url(self) -> str:
        """The address as a project shows it."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        program = toolchain.debian_program("pgbouncer")
        if not program.exists():
            pytest.skip("PgBouncer is not installed: `uv run python -m tests` as root installs it")
        self._folder = make_folder()
        self._port = free_port()
        configuration = _CONFIGURATION.format(
            port=self.database.server.cluster.port,
            name=self.database.name,
            owner=self.owner,
            password=self.password,
            own_port=self._port,
            folder=self._folder,
            mode=self.mode,
            connections=self.connections,
        )
        (self._folder / "pgbouncer.ini").write_text(configuration)
        (self._folder / "users.txt").write_text(f'"{USER}" "{PASSWORD}"\n')
        account = "postgres" if getpass.getuser() == "root" else None  # PgBouncer refuses to run as root
        if account is not None:
            for path in (self._folder, *self._folder.iterdir()):
                shutil.chown(path, account)
        self._process = subprocess.Popen(
            [program, self._folder / "pgbouncer.ini"],
            user=account,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + _STARTUP_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url, prepare_threshold=None).close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = self._folder / "pgbouncer.log"
                    raise RuntimeError(f"{error}\n{log.read_text() if log.exists() else ''}") from error
            time.sleep(0.02)
