"""Reads typed where they are made: a function is called by name and its document checked against its form."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from ingest.errors import UnexpectedResponseError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ingest.database.contract import Argument, Database, JsonValue

__all__ = ["fetch", "parse"]

T = TypeVar("T")

# More of them tell nothing new: one missing key in each of a thousand rows is one difference.
_MAX_FIELDS = 3


def fetch(database: Database, form: type[T], function: str, /, **arguments: Argument) -> T:
    """Call a function and return its document in the form that it is described in.

    Args:
        database: Opened as whoever asks.
        form: A model of `ingest.documents`, a list of them, or a plain type such as `int`.
        function: Name of the function, without its schema.
        **arguments: Its arguments, see `Database.call`.

    Raises:
        UnexpectedResponseError: The document has another form: the code and the migrations differ in version.
        DatabaseError: The database refused or failed the call.
    """
    return parse(form, database.call(function, **arguments), function)


def parse(form: type[T], document: JsonValue, function: str) -> T:
    """Return a document that a function has answered in the form that it is described in.

    Args:
        form: As for `fetch`.
        document: What the function answered.
        function: Its name, for the message.

    Raises:
        UnexpectedResponseError: It has another form.
    """
    try:
        validated: T = _adapter(cast("Hashable", form)).validate_python(document)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)[:_MAX_FIELDS]
        fields = ", ".join(".".join(map(str, detail["loc"])) or detail["msg"] for detail in details)
        raise UnexpectedResponseError(
            f"unexpected response from the database ({function}: {fields}); "
            "app and migrations may be of different versions"
        ) from error
    return validated


@lru_cache(maxsize=256)
def _adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)
