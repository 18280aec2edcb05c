"""The door through Supabase's API: PostgREST, by the `supabase` package."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, cast

from ingest.database.api_keys import KeyKind, kind_of
from ingest.database.sqlstate import database_error, function_not_found
from ingest.database.viewer_token import PassedToken, TokenMint
from ingest.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    InvalidArgumentError,
    PermissionDeniedError,
    RequestTooLargeError,
    SignInExpiredError,
    UnexpectedResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import httpx
    from postgrest import APIError, SyncPostgrestClient

    from ingest.database.contract import Argument, JsonValue
    from ingest.database.signing import SigningKey

_SCHEMA = "observability"

# A viewer's query ends after 8 s on Supabase; maintenance functions have longer limits of their own.
_TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 10.0

_SQLSTATE = re.compile(r"[0-9A-Z]{5}")

_RETRYABLE_STATUS = (408, 425, 429)  # and every 5xx
_TOO_LARGE = 413
_MAX_MESSAGE_CHARACTERS = 300  # a proxy's words, not a page of it

_CHECK_KEY = "check SUPABASE_SECRET_KEY: it must be a secret key of this project"
_CHECK_PUBLISHABLE_KEY = "check SUPABASE_PUBLISHABLE_KEY: it must be the publishable key of this project"
_CLOCK = "the token was made a moment ago, so this machine's clock is behind: synchronise it (NTP)"
_PASSED_ON = (
    "the project does not accept the sign-in's token: add the provider to Supabase under Authentication > Third-party "
    "auth, or set SUPABASE_JWT_SIGNING_KEY or SUPABASE_DB_URL for the app"
)
_WRONG_KEY = {
    "SUPABASE_JWT_SECRET": "the project does not accept tokens signed with SUPABASE_JWT_SECRET: newer projects sign "
    "with keys of their own, so make one (`supabase gen signing-key --algorithm ES256`), import it under JWT Keys and "
    "set SUPABASE_JWT_SIGNING_KEY",
    "SUPABASE_JWT_SIGNING_KEY": "the project does not accept tokens signed with SUPABASE_JWT_SIGNING_KEY: import the "
    "same key, with its kid, under JWT Keys in the project's settings",
}
_CHECK_URL = "check SUPABASE_URL: something other than Supabase's API answers there"
_EXPOSE = f"add {_SCHEMA} to the exposed schemas in the project's API settings"
_ADVICE = {
    402: "the project is over its quota or has an unpaid invoice: see its billing page at Supabase",
    404: _CHECK_URL,
    405: _CHECK_URL,
    406: _EXPOSE,
    540: "the project is paused: resume it at Supabase",
}


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
        self._advice = _CHECK_PUBLISHABLE_KEY if kind_of(key) is KeyKind.PUBLISHABLE else _CHECK_KEY
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._is_closed = False

    @classmethod
    def for_viewer(
        cls, url: str, key: str, signing_key: SigningKey, *, user_id: str, tenant_id: str | None = None
    ) -> SupabaseDatabase:
        """Open the API as one person, of one tenant where it is named, with tokens signed here and renewed in time."""
        database = cls(url, key)
        database._token = TokenMint(signing_key, user_id, tenant_id)
        database._advice = _WRONG_KEY[signing_key.variable]
        return database

    @classmethod
    def for_sign_in(cls, url: str, key: str, token: str) -> SupabaseDatabase:
        """Open the API as one person, with the token of their sign-in; see `PassedToken`."""
        database = cls(url, key)
        database._token = PassedToken(token)
        database._advice = _PASSED_ON
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
            raise _translate(error, connection.last_answer(), self._advice, function, arguments) from None
        except httpx.TimeoutException as error:
            raise DatabaseUnavailableError(f"the API did not respond in time ({type(error).__name__})") from error
        except httpx.HTTPError as error:
            raise DatabaseUnavailableError(f"the API cannot be reached: {error}") from error
        except UnicodeEncodeError as error:
            raise InvalidArgumentError(f"an argument is not valid Unicode: {error.reason}", sqlstate="22P05") from error
        except (TypeError, ValueError) as error:
            if connection.last_answer()[0]:
                raise UnexpectedResponseError(f"the API's answer cannot be read; {_CHECK_URL}") from error
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
            event_hooks={"response": [self._remember_answer]},
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
        self._local.answer = (0, "")
        # supabase-py declares text values only and sends any JSON.
        result = api.rpc(function, cast("dict[str, str]", arguments)).execute()
        return None if self.last_answer()[0] == 204 else cast("JsonValue", result.data)

    def last_answer(self) -> tuple[int, str]:
        """Status of this thread's last answer (0 for none), which errors do not always tell, and its new address."""
        answer: tuple[int, str] = getattr(self._local, "answer", (0, ""))
        return answer

    def _remember_answer(self, response: httpx.Response) -> None:
        self._local.answer = (response.status_code, response.headers.get("location", "").partition("?")[0])


def _translate(
    error: APIError, answer: tuple[int, str], refused: str, function: str, arguments: Iterable[str]
) -> DatabaseError:
    code, message = error.code or "", (error.message or "the API gave no reason")[:_MAX_MESSAGE_CHARACTERS]
    status, location = answer
    if code == "PGRST202":
        return function_not_found(function, arguments)
    if _SQLSTATE.fullmatch(code):
        return database_error(message, code)
    if code == "PGRST106":
        return DatabaseError(f"{message}; {_EXPOSE}")
    if 300 <= status < 400:
        return DatabaseError(f"the API answered {status}: set SUPABASE_URL to the address it redirects to, {location}")
    if status in (401, 403):
        if message == "JWT expired" and refused == _PASSED_ON:
            return SignInExpiredError("The sign-in has expired.")
        if message == "JWT expired" and refused in _WRONG_KEY.values():
            return PermissionDeniedError(f"{message}; {_CLOCK}")
        # The gateway judges the key before PostgREST judges the token.
        is_key = "API key" in message and refused != _CHECK_KEY
        return PermissionDeniedError(f"{message}; {_CHECK_PUBLISHABLE_KEY if is_key else refused}")
    advice = f"; {_ADVICE[status]}" if status in _ADVICE else ""
    if status >= 500 or status in _RETRYABLE_STATUS:
        return DatabaseUnavailableError(f"the API answered {status}: {message}{advice}")
    if status == _TOO_LARGE:
        return RequestTooLargeError(f"the API answered {status}: {message}")
    return DatabaseError(f"the API answered {status}: {message}{advice}")
