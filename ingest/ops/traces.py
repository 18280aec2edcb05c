"""Reads recorded LLM traffic, line by line, as calls that `record_usage` can take.

Three formats: Azure's LLM inference trace (CSV), Mooncake's conversation trace (JSON lines) and Treering's own (JSON
lines with the arguments of `record_usage`). A line that cannot be read becomes a `BadLine` and does not stop the rest.
"""

from __future__ import annotations

import csv
import hashlib
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID  # noqa: TC003 -- pydantic reads the annotations at run time

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ingest.documents.lines import read_lines
from ingest.errors import FileTooLargeError, TraceError
from ingest.record.blocks import POSITIONS
from ingest.record.event_id import derive_event_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FORMATS = ("azure", "mooncake", "jsonl")

# Mooncake's trace has offsets only. Counting them from the day the trace was published keeps a replay repeatable.
MOONCAKE_START_AT = datetime(2024, 6, 26, tzinfo=UTC)

DEFAULT_MODEL = "gpt-4o"
DEFAULT_USER_ID = "replay"

# OpenAI caches prompts from 1,024 tokens on; Mooncake's blocks have 512 tokens each.
_PREFIX_BLOCKS = 2
_TOKENS_PER_BLOCK = 512
_BYTES_PER_TOKEN = 4

Count = Annotated[int, Field(strict=True, ge=0, le=10**12)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Money = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


class RecordedCall(BaseModel):
    """One line of Treering's own format: the arguments of `record_usage`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: str | None = None
    model: str | None = None
    prompt_tokens: Count
    completion_tokens: Count
    session_id: str | None = None
    tenant_id: str | None = None
    tags: dict[str, str] | None = None
    feature: str | None = None
    environment: str | None = None
    provider: str | None = None
    operation: str | None = None
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    audio_input_tokens: Count | None = None
    audio_output_tokens: Count | None = None
    cache_write_1h_tokens: Count | None = None
    cached_audio_tokens: Count | None = None
    image_input_tokens: Count | None = None
    cached_image_tokens: Count | None = None
    image_output_tokens: Count | None = None
    units: dict[str, Decimal] | None = None
    service_tier: str | None = None
    streamed: bool | None = None
    status: Literal["ok", "error", "cancelled"] | None = None
    error_type: str | None = None
    finish_reason: str | None = None
    latency_ms: Milliseconds | None = None
    time_to_first_token_ms: Milliseconds | None = None
    request_group_id: str | None = None
    attempt: Annotated[int, Field(ge=1)] | None = None
    prompt_hash: str | None = None
    prefix_hash: str | None = None
    prefix_tokens: Count | None = None
    prompt_blocks: str | None = None
    max_output_tokens: Count | None = None
    provider_cost: Annotated[Decimal, Field(allow_inf_nan=False)] | None = None
    request_fees: Money | None = None
    reported_cost: Money | None = None
    response_id: str | None = None
    usage_source: Literal["reported", "tokenizer", "heuristic"] | None = None
    metadata: dict[str, Any] | None = None
    created_at: AwareDatetime | None = None
    event_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was left out.

    Attributes:
        number: Line of the file, from 1.
        reason: What is wrong with it.
    """

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class TracedCall:
    """A line that can be recorded.

    Attributes:
        number: Line of the file, from 1.
        arguments: Arguments of `record_usage`; always with `created_at` and `event_id`.
    """

    number: int
    arguments: dict[str, Any]

    @property
    def created_at(self) -> datetime:
        """When the call was made."""
        value = self.arguments["created_at"]
        assert isinstance(value, datetime)
        return value


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a trace does not say about its calls.

    Attributes:
        model: Model of the calls that name none.
        feature: Feature of the calls that name none.
        environment: Environment of the calls that name none.
        users: Spread calls that name no user over this many synthetic users; 0 gives them all to one.
    """

    model: str = DEFAULT_MODEL
    feature: str | None = None
    environment: str | None = None
    users: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """A file that holds a trace. Made by `open_trace`.

    Attributes:
        path: The file, plain or gzipped.
        format: azure, mooncake or jsonl.
        sha256: Hash of the unpacked content: the same for a trace and its gzipped copy.
        line_count: Physical lines, with header and empty ones.
    """

    path: Path
    format: str
    sha256: str
    line_count: int
    _parse: Callable[[str], dict[str, Any] | None] = field(repr=False)

    def calls(self, mapping: Mapping, *, shift: timedelta = timedelta(0)) -> Iterator[TracedCall | BadLine]:
        """Read the calls in the file's order.

        Args:
            mapping: What to fill in where the trace says nothing.
            shift: Added to each call's time. Moved calls are other calls: they get other event ids.

        Raises:
            TraceError: The file became unreadable.
        """
        for number, raw in _numbered_lines(self.path):
            try:
                arguments = self._parse(raw.decode("utf-8-sig" if number == 1 else "utf-8").strip())
                if arguments is not None:
                    yield TracedCall(number, self._complete(number, arguments, mapping, shift))
            except UnicodeDecodeError:
                yield BadLine(number, "not UTF-8")
            except ValidationError as error:
                yield BadLine(number, _explain(error))
            except (ValueError, OverflowError) as error:
                yield BadLine(number, str(error))

    def last_created_at(self) -> datetime | None:
        """The time of the trace's latest call; None when no line can be read."""
        times = (call.created_at for call in self.calls(Mapping()) if isinstance(call, TracedCall))
        return max(times, default=None)

    def _complete(self, number: int, arguments: dict[str, Any], mapping: Mapping, shift: timedelta) -> dict[str, Any]:
        key = f"{self.sha256}:{number}"
        defaults = {
            "user_id": _user_id(key, mapping.users),
            "model": mapping.model,
            "feature": mapping.feature,
            "environment": mapping.environment,
        }
        filled = {name: value for name, value in defaults.items() if value is not None} | arguments
        own_id = filled.get("event_id")
        filled["created_at"] = _created_at(filled.get("created_at"), own_id) + shift
        if own_id is None or shift:
            filled["event_id"] = derive_event_id(filled["created_at"], str(own_id or key))
        return filled


def open_trace(path: Path, trace_format: str) -> Trace:
    """Look at a trace: hash it, count its lines, check its header.

    Args:
        path: The file; gzip is recognised by its content, whatever the file is called.
        trace_format: One of `FORMATS`.

    Raises:
        TraceError: The file is missing, damaged, empty or visibly of another format.
    """
    digest = hashlib.sha256()
    line_count = 0
    header = ""
    for number, raw in _numbered_lines(path):
        digest.update(raw)
        line_count = number
        if number == 1:
            header = raw.decode("utf-8-sig", errors="replace").strip()
    if line_count == 0:
        raise TraceError(f"{path} is empty")
    parse = _azure_parser(header, path) if trace_format == "azure" else _PARSERS[trace_format]
    return Trace(path, trace_format, digest.hexdigest(), line_count, parse)


def _numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        yield from enumerate(read_lines(path), start=1)
    except (OSError, EOFError, zlib.error, FileTooLargeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TraceError(f"{path} cannot be read: {reason}") from error


def _azure_parser(header: str, path: Path) -> Callable[[str], dict[str, Any] | None]:
    columns = next(csv.reader([header]), [])
    wanted = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise TraceError(f"{path} is not an Azure trace: its first line lacks {', '.join(missing)}")
    at, context, generated = (columns.index(name) for name in wanted)

    def parse(line: str) -> dict[str, Any] | None:
        if not line or line == header:
            return None
        cells = next(csv.reader([line]))
        if len(cells) != len(columns):
            raise ValueError(f"has {len(cells)} columns instead of {len(columns)}")
        return {
            "created_at": _utc_time(cells[at]),
            "prompt_tokens": _count("ContextTokens", cells[context]),
            "completion_tokens": _count("GeneratedTokens", cells[generated]),
        }

    return parse


def _utc_time(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"TIMESTAMP is not a time: {text[:40]!r}") from None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.strip().isdigit()) or len(text) > 18:
        raise ValueError(f"{name} is not a count: {text[:40]!r}")
    return int(text)


class _MooncakeLine(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    timestamp: Count
    input_length: Count
    output_length: Count
    hash_ids: list[int] = []


def _parse_mooncake(line: str) -> dict[str, Any] | None:
    if not line:
        return None
    call = _MooncakeLine.model_validate_json(line)
    arguments: dict[str, Any] = {
        "created_at": MOONCAKE_START_AT + timedelta(milliseconds=call.timestamp),
        "prompt_tokens": call.input_length,
        "completion_tokens": call.output_length,
    }
    if call.hash_ids:
        arguments["prompt_hash"] = _hash_blocks(call.hash_ids)
        arguments["prompt_blocks"] = _hash_beginnings(call)
    if len(call.hash_ids) >= _PREFIX_BLOCKS:
        arguments["prefix_hash"] = _hash_blocks(call.hash_ids[:_PREFIX_BLOCKS])
    return arguments


def _hash_beginnings(call: _MooncakeLine) -> str:
    """As `track` hashes a prompt, for one whose content is told by a number for each 512 tokens."""
    size = min(call.input_length * _BYTES_PER_TOKEN, 2**32 - 1)
    found, running, taken = [size.to_bytes(4).hex()], hashlib.sha256(), 0
    for position in POSITIONS:
        # What a position lies in must be equal up to the end of its block.
        needed = -(-position // (_TOKENS_PER_BLOCK * _BYTES_PER_TOKEN))
        if position > size or needed > len(call.hash_ids):
            break
        for block in call.hash_ids[taken:needed]:
            running.update(b"%d," % block)
        taken = needed
        found.append(running.copy().hexdigest()[:8])
    return "".join(found)


def _hash_blocks(blocks: list[int]) -> str:
    return hashlib.sha256(",".join(map(str, blocks)).encode()).hexdigest()[:32]


def _parse_jsonl(line: str) -> dict[str, Any] | None:
    if not line:
        return None
    return RecordedCall.model_validate_json(line).model_dump(exclude_none=True)


_PARSERS: dict[str, Callable[[str], dict[str, Any] | None]] = {"mooncake": _parse_mooncake, "jsonl": _parse_jsonl}


def _user_id(key: str, users: int) -> str:
    if users <= 0:
        return DEFAULT_USER_ID
    number = int.from_bytes(hashlib.sha256(f"user:{key}".encode()).digest()[:8], "big") % users + 1
    return f"user_{number:0{len(str(users))}d}"


def _created_at(value: datetime | None, event_id: UUID | None) -> datetime:
    if value is not None:
        return value.astimezone(UTC)
    if event_id is not None and event_id.version == 7:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=event_id.int >> 80)
    raise ValueError("created_at is missing: without it a repeated replay would count twice")


def _explain(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    parts = []
    for detail in details:
        place = ".".join(map(str, detail["loc"]))
        message = f"{detail['msg'][:1].lower()}{detail['msg'][1:]}"
        parts.append(f"{place}: {message}" if place else message)
    return "; ".join(parts)
