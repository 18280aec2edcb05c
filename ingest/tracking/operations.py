"""What each address of OpenAI's API does, and what it is billed by where the answer does not say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Operation(NamedTuple):
    """A kind of call.

    Attributes:
        name: As it is recorded.
        is_text: Whether its tokens can be counted here, from its texts, where none are reported.
        takes_stream_options: Whether usage on its stream must be asked for.
        has_input_alone: Whether all its tokens are input.
        takes_files: Whether it works on files that are uploaded with it.
    """

    name: str
    is_text: bool = False
    takes_stream_options: bool = False
    has_input_alone: bool = False
    takes_files: bool = False


CHAT = Operation("chat", is_text=True, takes_stream_options=True)
RESPONSES = Operation("responses", is_text=True)
REALTIME = Operation("realtime")
REALTIME_TRANSCRIPTION = Operation("realtime.transcription")

_POSTED = {
    "/chat/completions": CHAT,
    "/responses": RESPONSES,
    "/responses/compact": Operation("responses.compact", is_text=True),
    "/embeddings": Operation("embeddings", is_text=True, has_input_alone=True),
    "/completions": Operation("completions", is_text=True, takes_stream_options=True),
    "/moderations": Operation("moderations", is_text=True, has_input_alone=True),
    "/audio/transcriptions": Operation("audio.transcription", takes_files=True),
    "/audio/translations": Operation("audio.translation", takes_files=True),
    "/audio/speech": Operation("audio.speech"),
    "/images/generations": Operation("images.generate"),
    "/images/edits": Operation("images.edit", takes_files=True),
    "/images/variations": Operation("images.variation", takes_files=True),
    "/decisions": Operation("decisions"),
}
_BY_NAME = {operation.name: operation for operation in _POSTED.values()}
# A response that is made in the background is read, or stopped, here.
_ONE_RESPONSE = re.compile(r"/responses/([^/?]+)(/cancel)?")


def operation_at(method: str, url: str) -> Operation | None:
    """Return what a request does; None where no model works for it (files, vector stores, lists of models)."""
    return _POSTED.get(url.partition("?")[0]) if method.lower() == "post" else None


def operation_named(name: str) -> Operation:
    """Return an operation by its name; one whose tokens are not counted here where the name is unknown."""
    return _BY_NAME.get(name) or Operation(name)


def response_at(method: str, url: str) -> str | None:
    """Return the id of the response that a request reads or stops; None where it does neither."""
    found = _ONE_RESPONSE.fullmatch(url.partition("?")[0])
    if found is None or method.lower() != ("post" if found[2] else "get"):
        return None
    return found[1] if found[1] not in ("compact", "input_tokens") else None


def units_of(operation: Operation, body: Mapping[str, Any]) -> dict[str, int]:
    """Return what a request is billed by, by the answer of older models, which say nothing: characters or images."""
    if operation.name == "audio.speech":
        text = body.get("input")
        return {"characters": len(text)} if isinstance(text, str) and text else {}
    if operation.name.startswith("images."):
        quality, size = body.get("quality") or "standard", body.get("size") or "1024x1024"
        count = body.get("n") or 1
        return {f"images:{quality}:{size}": count} if isinstance(count, int) else {}
    return {}
