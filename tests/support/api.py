"""Supabase's API for one database: the real PostgREST behind a gateway that checks keys as Supabase's does."""

from __future__ import annotations

import http.client
import os
import queue
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import jwt

from tests.support import clock, toolchain
from tests.support.leftovers import make_folder

if TYPE_CHECKING:
    from pathlib import Path

JWT_SECRET = "only-for-tests-and-at-least-32-characters-long"
PUBLISHABLE_KEY = "sb_publishable_for_tests"
SECRET_KEY = "sb_secret_for_tests"

_PREFIX = "/rest/v1"
_STARTUP_TIMEOUT_S = 60
_NOT_PASSED_ON = ("connection", "keep-alive", "transfer-encoding", "content-length", "server", "date")


def make_token(sub: str | None, role: str = "authenticated", **claims: object) -> str:
    """Sign a token as Supabase Auth does (HS256); further claims replace these."""
    everything: dict[str, object] = {"role": role, "iat": int(time.time()), "exp": int(time.time()) + 3600}
    if sub is not None:
        everything["sub"] = sub
    return jwt.encode({**everything, **claims}, JWT_SECRET, algorithm="HS256")


class Served(Protocol):
    """A database that PostgREST can log in to."""

    @property
    def authenticator_url(self) -> str: ...


@dataclass(frozen=True)
class Answer:
    """What the gateway says instead of asking PostgREST."""

    status: int
    body: str
    content_type: str = "application/json"
    location: str | None = None


@dataclass
class Api:
    """A running API. `url`, `PUBLISHABLE_KEY` and `SECRET_KEY` are what a client needs.

    Attributes:
        jwt_keys: What PostgREST checks tokens with: the secret, or a set of keys as JSON.
        schemas: The exposed schemas.
        tx_end: How PostgREST ends a request's transaction: "commit", or "rollback" to keep nothing.
        url: Address as in `SUPABASE_URL`.
        canned: Answers for the next requests, first in first out.
        connections: How many connections clients have opened.
    """

    jwt_keys: str = JWT_SECRET
    schemas: str = "observability"
    tx_end: str = "commit"
    url: str = ""
    canned: queue.SimpleQueue[Answer] = field(default_factory=queue.SimpleQueue)
    connections: int = 0

    def start(self, database: Served) -> None:
        self._is_changed = False
        self._folder = make_folder()
        self._postgrest = _start_postgrest(database, self._folder / "postgrest.sock", self)
        self._gateway = _Gateway(("127.0.0.1", 0), _Handler)
        self._gateway.api = self
        self._gateway.upstream = self._folder / "postgrest.sock"
        self.url = f"http://127.0.0.1:{self._gateway.server_port}"
        self._thread = threading.Thread(target=self._gateway.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def change(self, database: Served, *, jwt_keys: str | None = None, schemas: str | None = None) -> None:
        """Change what the project's settings change, at the same address."""
        self._is_changed = True
        self.jwt_keys, self.schemas = jwt_keys or self.jwt_keys, schemas or self.schemas
        self._postgrest.kill()
        self._postgrest.wait()
        (self._folder / "postgrest.sock").unlink(missing_ok=True)
        self._postgrest = _start_postgrest(database, self._folder / "postgrest.sock", self)

    def is_as_new(self) -> bool:
        """Whether somebody else can use it; forgets what came before."""
        self.connections = 0
        return not self._is_changed and self._postgrest.poll() is None and self.canned.empty()

    def stop(self) -> None:
        self._gateway.shutdown()
        self._thread.join()
        self._postgrest.kill()  # first: a request that it has not answered would be waited for
        self._postgrest.wait()
        self._gateway.close_all()
        shutil.rmtree(self._folder, ignore_errors=True)


def _start_postgrest(database: Served, address: Path, api: Api) -> subprocess.Popen[str]:
    settings = {
        "PGRST_DB_URI": database.authenticator_url,
        "PGRST_DB_SCHEMAS": api.schemas,
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_TX_END": api.tx_end,
        "PGRST_DB_POOL": "8",
        "PGRST_DB_MAX_ROWS": "1000",
        "PGRST_JWT_SECRET": api.jwt_keys,
        "PGRST_SERVER_UNIX_SOCKET": str(address),
        "PGRST_LOG_LEVEL": "error",
        "PGRST_OPENAPI_MODE": "disabled",
    }
    log = address.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [toolchain.postgrest()], env={**os.environ, **settings}, stdout=output, stderr=output, text=True
        )
    address.with_suffix(".pid").write_text(str(process.pid))
    deadline = time.monotonic() + _STARTUP_TIMEOUT_S
    while "Schema cache loaded" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"PostgREST did not start:\n{log.read_text()}")
        time.sleep(0.01)
    return process


def _on_the_real_clock(authorization: str) -> str:
    """Move a token's times to the clock that PostgREST sees; what is no token of ours stays as it is."""
    shift_s = clock.shift_s()
    if not shift_s:
        return authorization
    try:
        claims: dict[str, Any] = jwt.decode(
            authorization.removeprefix("Bearer "), JWT_SECRET, ["HS256"], {"verify_exp": False, "verify_aud": False}
        )
    except jwt.InvalidTokenError:
        return authorization
    moved: dict[str, Any] = {name: max(claims[name] - shift_s, 0) for name in ("iat", "nbf", "exp") if name in claims}
    return f"Bearer {jwt.encode({**claims, **moved}, JWT_SECRET, algorithm='HS256')}"


class _Gateway(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    api: Api
    upstream: Path

    def __init__(self, *arguments: object) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)  # type: ignore[arg-type]

    def process_request(self, request: object, client_address: object) -> None:
        connection = cast("socket.socket", request)
        self.api.connections += 1
        self._open.add(connection)
        super().process_request(connection, client_address)

    def shutdown_request(self, request: object) -> None:
        self._open.discard(cast("socket.socket", request))
        super().shutdown_request(cast("socket.socket", request))

    def close_all(self) -> None:
        """End the connections that clients keep alive, then wait for their threads."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client was faster
        self.server_close()


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


class _Handler(BaseHTTPRequestHandler):
    """One client connection with one connection to PostgREST behind it."""

    protocol_version = "HTTP/1.1"
    server: _Gateway

    _roles: ClassVar[dict[str, str]] = {PUBLISHABLE_KEY: "anon", SECRET_KEY: "service_role"}

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._upstream = _SocketConnection(self.server.upstream)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        try:
            answer = self.server.api.canned.get_nowait()
        except queue.Empty:
            pass
        else:
            headers = [("Content-Type", answer.content_type)]
            if answer.location is not None:
                headers.append(("Location", answer.location))
            return self._send(answer.status, answer.body.encode(), headers)
        key = self.headers.get("apikey")
        if key is None:
            return self._refuse("No API key found in request", "No `apikey` request header or url param was found.")
        authorization = self._authorization(key)
        if authorization is None:
            return self._refuse("Invalid API key", "Double check your API key.")
        if not self.path.startswith(f"{_PREFIX}/"):
            return self._send(404, b'{"message":"no Route matched with those values"}', [])
        passed = {
            name: value for name, value in self.headers.items() if name.lower() not in ("apikey", "authorization")
        }
        passed["Authorization"] = _on_the_real_clock(authorization)
        self._upstream.request(self.command, self.path.removeprefix(_PREFIX), body, passed)
        response = self._upstream.getresponse()
        passed_on = [pair for pair in response.getheaders() if pair[0].lower() not in _NOT_PASSED_ON]
        return self._send(response.status, response.read(), passed_on)

    do_GET = do_HEAD = do_PATCH = do_DELETE = do_POST  # noqa: N815 -- the names that http.server calls

    def _authorization(self, key: str) -> str | None:
        """Put the key's own role where the client has not sent a person's token; None for an unknown key."""
        sent = self.headers.get("authorization", f"Bearer {key}")
        if key in self._roles:
            return f"Bearer {make_token(None, self._roles[key])}" if sent == f"Bearer {key}" else sent
        try:
            jwt.decode(key, JWT_SECRET, algorithms=["HS256"], options={"verify_aud": False})
        except jwt.InvalidTokenError:
            return None
        return sent

    def _refuse(self, message: str, hint: str) -> None:
        self._send(401, f'{{"message":"{message}","hint":"{hint}"}}'.encode(), [("Content-Type", "application/json")])

    def _send(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- the name in http.server
        """Keep quiet."""
