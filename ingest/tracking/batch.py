"""`record_batch`: records the answers of a finished batch at the price of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ingest.record import capture
from ingest.record.context import check_context, merge
from ingest.tracking.answer import Answer, error_kind
from ingest.tracking.operations import Operation, operation_at, operation_named
from ingest.tracking.request import Asked
from ingest.tracking.usage import plain, view

_TIMES = ("completed_at", "finalizing_at", "in_progress_at", "created_at")
_OK = 200


def record_batch(
    batch: Any,
    output: Any,
    *,
    fields_of: Callable[[str], Mapping[str, Any]] | None = None,
    **fields: Any,
) -> int:
    """Record each line of a finished batch's output or error file as a call of its own, of `service_tier` "batch".

    Safe to repeat: a line has an event id of its own, made of the batch's id and the line's, so that a second run, by
    another process too, stores nothing twice.

        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                record_batch(batch, client.files.content(file_id), feature="nightly")

    Args:
        batch: The batch as `client.batches.retrieve` gives it, or the same as a mapping.
        output: The file: what `client.files.content` gives, its bytes or text, a `Path`, or an iterable of lines.
        fields_of: Says more of one line by its `custom_id`: `lambda name: {"user_id": users[name]}`.
        **fields: As of `usage_context`, for every line.

    Returns:
        How many lines were recorded, failed ones included.

    Raises:
        TypeError: A field is none of `usage_context`, or `output` is no file.
        ValueError: The batch has no id or time, or a line is not JSON.
    """
    from ingest.record.event_id import derive_event_id  # it imports pydantic, which `import ingest` shall not

    check_context(fields)
    whole = plain(batch)
    batch_id = whole.get("id")
    moment = next((whole[name] for name in _TIMES if isinstance(whole.get(name), int | float)), None)
    if not isinstance(batch_id, str) or moment is None:
        raise ValueError("record_batch takes a batch with its id and times, as client.batches.retrieve gives it")
    if not capture.is_on():
        return 0
    endpoint = str(whole.get("endpoint") or "").removeprefix("/v1")
    operation = operation_at("post", endpoint) or operation_named("batch")
    ended_at = datetime.fromtimestamp(moment, UTC)
    recorded = 0
    for line in _lines(output):
        custom_id = str(line.get("custom_id") or "")
        said = merge(fields, _checked(fields_of(custom_id))) if fields_of is not None and custom_id else fields
        event_id = derive_event_id(ended_at, f"batch:{batch_id}:{line.get('id') or custom_id}")
        _record(line, operation, {**said, "event_id": event_id, "created_at": ended_at})
        recorded += 1
    return recorded


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    check_context(fields)
    return dict(fields)


def _record(line: Mapping[str, Any], operation: Operation, said: dict[str, Any]) -> None:
    from ingest.tracking.call import Call

    response = view(line.get("response") or {})
    status = response.get("status_code")
    body = view(response.get("body") or {})
    call = Call(operation, "openai", Asked(), is_streamed=False)
    answer = Answer()
    answer.add_whole(body)
    answer.background = None
    answer.service_tier = "batch"
    call.answer = answer
    call.is_timed = False  # a batch's hours say nothing of one answer
    error = line.get("error") or body.get("error")
    call.add_fields(said)
    if error is not None or status != _OK:
        kind = error_kind(error) if error is not None else None
        call.finish("error", kind or f"http_{status}", was_delivered=False)
    else:
        call.finish()


def _lines(output: Any) -> Iterator[Mapping[str, Any]]:
    from pydantic_core import from_json

    for number, line in enumerate(_raw_lines(output), 1):
        found = line
        if isinstance(line, bytes | str):
            if not line.strip():
                continue
            try:
                found = from_json(line)
            except ValueError as error:
                raise ValueError(f"line {number} of the batch's file is not JSON") from error
        if not isinstance(found, Mapping):
            raise ValueError(f"line {number} of the batch's file is not an object")
        yield found


def _raw_lines(output: Any) -> Iterable[Any]:
    if isinstance(output, Path):
        with output.open("rb") as file:
            yield from file
        return
    content = output if isinstance(output, bytes | str) else getattr(output, "content", None)
    if isinstance(content, bytes | str):
        yield from content.splitlines() if isinstance(content, bytes) else content.split("\n")
    elif isinstance(output, Iterable):
        yield from output
    else:
        raise TypeError(f"record_batch takes the file of a batch, not {type(output).__name__}")
