"""The door through Supabase's API: PostgREST, by the `supabase` package."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING, cast

from ingest.database.sqlstate import database_error, function_not_found
from ingest.errors import DatabaseError, DatabaseUnavailableError, InvalidArgumentError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import httpx
    from postgrest import APIError, SyncPostgrestClient
    from pydantic import SecretStr

    from ingest.database.contract import Argument, JsonValue

_SCHEMA = "observability"

# A viewer's query ends after 8 s on Supabase; maintenance functions have longer limits of their own.
_TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 10.0

_TOKEN_LIFETIME_S = 3600
_TOKEN_RENEWAL_S = 1800

_SQLSTATE = re.compile(r"[0-9A-Z]{5}")

_RETRYABLE_STATUS = (408, 425, 429)  # and every 5xx


class SupabaseDatabase:
    """Calls functions through Supabase's API. Thread-safe; usable after a fork. Retries nothing.

    Args:
        url: Address of the project.
        key: A secret key to act as service_role, or the publishable key.
        access_token: Token of the person who is looking; without one the key itself tells the role.
    """

    def __init__(self, url: str, key: str, *, access_token: str | None = None) -> None:
        self._url = url
        self._key = key
        self._token: Callable[[], str | None] = lambda: access_token
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._is_closed = False

    @classmethod
    def for_viewer(cls, url: str, key: str, jwt_secret: SecretStr, *, user_id: str) -> SupabaseDatabase:
        """Open the API as one person, with tokens signed by the project's secret and renewed in time."""
        database = cls(url, key)
        database._token = _TokenMint(jwt_secret, user_id)
        return database

    def __repr__(self) -> str:
        return f"SupabaseDatabase({self._url!r})"

    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        """Call `observability.<function>` by one HTTP request; see `Database.call`."""
        import httpx
        from postgrest import APIError

        connection = self._ready_connection()
        try:
            return connection.call(self._token(), function, arguments)
        except APIError as error:
            # Without its cause, whose text holds the details: parts of the row that was refused.
            raise _translate(error, connection.last_status(), function, arguments) from None
        except httpx.TimeoutException as error:
            raise DatabaseUnavailableError(f"the API did not respond in time ({type(error).__name__})") from error
        except httpx.HTTPError as error:
            raise DatabaseUnavailableError(f"the API cannot be reached: {error}") from error
        except UnicodeEncodeError as error:
            raise InvalidArgumentError(f"an argument is not valid Unicode: {error.reason}", sqlstate="22P05") from error
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError(f"an argument is not JSON: {error}", sqlstate="22P02") from error

    def close(self) -> None:
        """Close all connections; further calls are refused."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._is_closed = True
        if connection is not None and connection.pid == os.getpid():
            connection.http.close()

    def _ready_connection(self) -> _Connection:
        with self._lock:
            if self._is_closed:
                raise DatabaseUnavailableError("this database was closed", retryable=False)
            if self._connection is None or self._connection.pid != os.getpid():
                # After a fork the parent's connection is dropped, not closed: its sockets belong to the parent.
                self._connection = _Connection(self._url, self._key)
            return self._connection


class _Connection:
    """The supabase client of one process, with the connections that it keeps alive."""

    def __init__(self, url: str, key: str) -> None:
        import httpx
        from supabase import ClientOptions, create_client

        self.pid = os.getpid()
        self._local = threading.local()
        self.http = httpx.Client(
            timeout=httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
            http2=True,
            event_hooks={"response": [self._remember_status]},
        )
        options = ClientOptions(
            httpx_client=self.http, auto_refresh_token=False, persist_session=False, postgrest_client_retry=False
        )
        # A first use from several threads at once must not build the lazily made parts twice.
        self._api: SyncPostgrestClient = create_client(url, key, options).postgrest

    def call(self, token: str | None, function: str, arguments: dict[str, Argument]) -> JsonValue:
        api = self._api.schema(_SCHEMA)
        if token is not None:
            api.auth(token)
        self._local.status = 0
        # supabase-py declares text values only and sends any JSON.
        result = api.rpc(function, cast("dict[str, str]", arguments)).execute()
        return None if self.last_status() == 204 else cast("JsonValue", result.data)

    def last_status(self) -> int:
        """HTTP status of this thread's last answer, which supabase-py's errors do not always carry; 0 for none."""
        return getattr(self._local, "status", 0)

    def _remember_status(self, response: httpx.Response) -> None:
        self._local.status = response.status_code


class _TokenMint:
    """Signs a viewer's token as Supabase Auth would, and renews it before it expires."""

    def __init__(self, secret: SecretStr, user_id: str) -> None:
        self._secret = secret
        self._user_id = user_id
        self._token = ""
        self._renewed_at = float("-inf")

    def __call__(self) -> str:
        import jwt  # comes with supabase

        if time.monotonic() - self._renewed_at >= _TOKEN_RENEWAL_S:
            now = int(time.time())
            claims = {
                "sub": self._user_id,
                "role": "authenticated",
                "aud": "authenticated",
                "iat": now,
                "exp": now + _TOKEN_LIFETIME_S,
            }
            self._token = jwt.encode(claims, self._secret.get_secret_value(), algorithm="HS256")
            self._renewed_at = time.monotonic()
        return self._token


def _translate(error: APIError, status: int, function: str, arguments: Iterable[str]) -> DatabaseError:
    code, message = error.code or "", error.message or "the API gave no reason"
    if code == "PGRST202":
        return function_not_found(function, arguments)
    if _SQLSTATE.fullmatch(code):
        return database_error(message, code)
    if status in (401, 403):
        return PermissionDeniedError(message)
    if status >= 500 or status in _RETRYABLE_STATUS:
        return DatabaseUnavailableError(f"the API answered {status}: {message}")
    if code == "PGRST106":
        message = f"{message}; add {_SCHEMA} to the exposed schemas in the project's API settings"
    return DatabaseError(message)
