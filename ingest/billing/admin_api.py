"""Asks a provider's administration API: with failures retried, and amounts read digit by digit."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import httpx
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from ingest.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

_TIMEOUT_S: Final = 60.0
_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
_LONGEST_WAIT_S: Final = 120.0
_GIVE_UP: Final = float("inf")
_PASSING_STATUSES: Final = (408, 409, 429)

M = TypeVar("M", bound=BaseModel)

# A count that an answer leaves out, or gives as null, is none.
Count = Annotated[int, Field(ge=0), BeforeValidator(lambda value: 0 if value is None else value)]


class AdminApi:
    """A connection to one provider's administration API.

    Args:
        provider: The provider's name, as messages give it.
        key_variable: Environment variable that holds the key, as messages give it.
        url: Address of the API, paths are below it.
        headers: What every request says, its key among it.
        sleep: Waits for a number of seconds.
        transport: What carries the requests instead of real connections.
    """

    def __init__(
        self,
        provider: str,
        key_variable: str,
        *,
        url: str,
        headers: Mapping[str, str],
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._provider = provider
        self._key_variable = key_variable
        self._sleep = sleep
        self._client = httpx.Client(base_url=url, headers=dict(headers), timeout=_TIMEOUT_S, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, query: Mapping[str, str | int | list[str]]) -> object:
        """Return the JSON document at `path`, its numbers as exact decimals.

        Raises:
            ProviderError: The provider refused or failed, or its answer is not JSON.
        """
        for pause_s in (*_PAUSES_S, _GIVE_UP):
            wait_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads retries, guards nothing
            try:
                response = self._client.get(path, params=query)
            except httpx.TransportError as error:
                problem = f"it could not be reached ({type(error).__name__})"
            else:
                if response.status_code == httpx.codes.OK:
                    return self._decode(path, response.text)
                problem = f"it answered {response.status_code}{_reason(response)}"
                if response.status_code in (401, 403):
                    raise ProviderError(f"{self._key_variable}: not accepted for {path}: {problem}")
                is_passing = response.status_code in _PASSING_STATUSES or response.status_code >= 500
                wait_s = max(wait_s, _retry_after_s(response)) if is_passing else _GIVE_UP
            if wait_s > _LONGEST_WAIT_S:
                break
            self._sleep(wait_s)
        raise ProviderError(f"{self._provider}'s {path} cannot be read: {problem}")

    def parse(self, model: type[M], documents: Sequence[object], path: str) -> list[M]:
        """Read parts of an answer as a model.

        Raises:
            ProviderError: One of them is of another form.
        """
        try:
            return [model.model_validate(document) for document in documents]
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, detail["loc"])) or "all" for detail in error.errors()[:3])
            raise ProviderError(f"{self._provider}'s {path} returned an unexpected response ({fields})") from error

    def _decode(self, path: str, body: str) -> object:
        def refuse(constant: str) -> object:
            raise ValueError(constant)

        try:
            document: JsonValue = json.loads(body, parse_float=Decimal, parse_constant=refuse)
        except ValueError as error:
            raise ProviderError(f"{self._provider}'s {path} returned something that is not JSON") from error
        return document


def _reason(response: httpx.Response) -> str:
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {str(message)[:200]}"


def _retry_after_s(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)) / timedelta(seconds=1)
    except (ValueError, TypeError):  # no date, or one without a time zone
        return 0.0
