"""The functions that the product calls, over the one recorder of its process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from ingest.notices import Notices
from ingest.record.fields import ARGUMENTS, DEFAULTS, DETAILS, ZERO_SAYS_NOTHING
from ingest.record.last_call import last_call, remember_later
from ingest.record.process import Process, make_recorder

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime
    from pathlib import Path
    from typing import Unpack

    from ingest.database import Database
    from ingest.record.fields import UsageFields
    from ingest.record.last_call import RecordedCall
    from ingest.record.open_calls import OpenCall
    from ingest.record.process import Scope
    from ingest.record.recorder import Stats

# As in ingest.record.encoding, which is not imported before recording starts.
_USAGE = b"u"
_PERFORMANCE = b"p"
_FEEDBACK = b"f"

_NOTICES = Notices()
_process = Process()


def record_usage(
    *,
    user_id: str | None,
    model: str,
    prompt_tokens: int,
    completion_tokens: int,
    **fields: Unpack[UsageFields],
) -> uuid.UUID:
    """Record one call of a model. It is on disk when this returns, and in the database soon after.

    Nothing raises for data or network trouble: invalid values are corrected or dropped, and listed in
    `metadata.treering_flags`, and each kind of trouble is logged once per time window.

    Args:
        user_id: Who asked; None becomes "anonymous". As every text here, at most 200 characters are kept.
        model: Model that answered, as the provider names it.
        prompt_tokens: Input tokens, with the cached and the audio ones. Where Anthropic's or Bedrock's own count is
            given one to one, which leaves the cache out, and the parts exceed it, they are added.
        completion_tokens: Output tokens, with the reasoning and the audio ones.
        **fields: What else is known of the call; see `UsageFields`.

    Returns:
        The event's id: a UUIDv7 unless the caller gave one.

    Raises:
        TypeError: There is no such argument.
    """
    if _process.is_off:
        return uuid7()
    if not ARGUMENTS.issuperset(fields):
        raise TypeError(f"record_usage() has no argument {', '.join(sorted(fields.keys() - ARGUMENTS))}")
    event_id, created_at = fields.pop("event_id", None), fields.pop("created_at", None)
    given: dict[str, object] = {
        "user_id": user_id,
        "model": model,
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        **DEFAULTS,
        **fields,
    }
    for name in ZERO_SAYS_NOTHING:
        if name in given and not given[name]:
            given[name] = None
    if not DETAILS.isdisjoint(fields):
        details = {name: given.pop(name) for name in DETAILS & fields.keys()}
        if any(details.values()) or details.get("image_output_tokens") is not None:
            given["usage_details"] = details
    return _record(_USAGE, given, event_id, created_at)


def record_performance(
    *,
    route: str,
    method: str,
    status_code: int,
    latency_ms: float,
    time_to_first_byte_ms: float | None = None,
    user_id: str | None = None,
    error_type: str | None = None,
    environment: str = "production",
    sample_weight: float = 1.0,
    metadata: Mapping[str, object] | None = None,
    created_at: datetime | None = None,
    event_id: uuid.UUID | str | None = None,
) -> uuid.UUID:
    """Record one HTTP request of the product, as `record_usage` does with a call of a model.

    Args:
        route: Template of the route, not the raw path.
        method: HTTP method.
        status_code: HTTP status.
        latency_ms: Time to the last byte.
        time_to_first_byte_ms: Time to the first byte of the body.
        user_id: Who asked.
        error_type: Kind of error.
        environment: production, staging, …
        sample_weight: How many requests this one stands for; 1 or more.
        metadata: Anything else that is JSON, at most 4 KiB.
        created_at: When the request came; see `record_usage`.
        event_id: The caller's own id; see `record_usage`.

    Returns:
        The event's id: a UUIDv7 unless the caller gave one.
    """
    if _process.is_off:
        return uuid7()
    fields: dict[str, object] = {
        "route": route,
        "method": method,
        "status_code": status_code,
        "latency_ms": latency_ms,
        "time_to_first_byte_ms": time_to_first_byte_ms,
        "user_id": user_id,
        "error_type": error_type,
        "environment": environment,
        "sample_weight": sample_weight,
        "metadata": metadata,
    }
    return _record(_PERFORMANCE, fields, event_id, created_at)


def record_feedback(event_id: uuid.UUID | str, *, is_good: bool) -> None:
    """Record what somebody thought of an answer: a thumb up or down, the last one about a call counts.

    Stands beside the calls where savings are suggested, so that a smaller model is not judged by its price alone.

    Args:
        event_id: Of the call, as `record_usage` returned it or `last_call()` has it.
        is_good: Whether the thumb is up.
    """
    if not _process.is_off:
        _record(_FEEDBACK, {"about": str(event_id), "rating": 1 if is_good else -1}, None, None)


def configure(
    *,
    database: Database | Callable[[], Database] | None = None,
    supabase_url: str | None = None,
    supabase_secret_key: str | None = None,
    supabase_db_url: str | None = None,
    home: Path | str | None = None,
    enable_observability: bool | None = None,
    fallback_model: str | None = None,
    providers: Mapping[str, str] | None = None,
    trusted_costs: Collection[str] | None = None,
    tags: Collection[str] | None = None,
    batch_size: int = 500,
    flush_interval_s: float = 1.0,
    journal_max_bytes: int = 256 * 1024 * 1024,
    user_from_request: bool = False,
    on_record: Callable[[RecordedCall], object] | None = None,
) -> None:
    """Set recording up and start it, best when the product starts; without this the first event starts it.

    Args:
        database: Where events go (an object must work after a fork), or a function that opens it; default: as set.
        supabase_url: Instead of `SUPABASE_URL`.
        supabase_secret_key: Instead of `SUPABASE_SECRET_KEY`.
        supabase_db_url: Instead of `SUPABASE_DB_URL`.
        home: Instead of `TREERING_HOME`.
        enable_observability: Instead of `ENABLE_OBSERVABILITY`.
        fallback_model: Instead of `TREERING_FALLBACK_MODEL`; "" for none.
        providers: Instead of `TREERING_PROVIDERS`: who answers at which host, {"llm-gw.example.com": "openai"}.
        trusted_costs: Instead of `TREERING_TRUSTED_COSTS`: who reports costs in US dollars.
        tags: Instead of `TREERING_TAGS`.
        batch_size: Most events of one call to the database, 1 to 10,000.
        flush_interval_s: Longest time in seconds that an event waits for others to travel with.
        journal_max_bytes: Size of this process's journal beyond which the oldest events are dropped.
        user_from_request: Take a model request's own `safety_identifier` or `user` for the user where none is set.
        on_record: Called with each call once it is in the journal, in its thread, which waits; its errors are logged.

    Raises:
        ConfigurationError: A setting is wrong, or needs a package that is missing; the message names its variable.
        ValueError: A size or time is out of range.
    """
    from ingest.database.opening import check_packages
    from ingest.record.recorder import Limits
    from ingest.settings import load_settings

    settings = load_settings(
        supabase_url=supabase_url,
        supabase_secret_key=supabase_secret_key,
        supabase_db_url=supabase_db_url,
        home=home,
        enable_observability=enable_observability,
        fallback_model=fallback_model,
        providers=providers,
        trusted_costs=trusted_costs,
        tags=tags,
    )
    check_packages(settings, is_given=database is not None)
    _process.user_from_request, _process.on_record = user_from_request, on_record
    limits = Limits(batch_size, flush_interval_s, journal_max_bytes)
    _process.configure(lambda: make_recorder(settings, database, limits))


def flush(timeout_s: float = 5.0) -> bool:
    """Wait until everything recorded so far is in the database, or refused by it for good.

    Args:
        timeout_s: Longest time to wait, in seconds. A try that fails until somebody repairs the set-up (a wrong key or
            address, missing migrations) ends the wait at once.

    Returns:
        False where that took longer or failed; the events are then still in the journal, and `stats().last_error`
        says what to do.
    """
    deadline = time.monotonic() + timeout_s
    _process.settle(timeout_s)
    recorder = _process.recorder
    return recorder.flush(max(0.0, deadline - time.monotonic())) if recorder is not None else True


async def aflush(timeout_s: float = 5.0) -> bool:
    """Do what `flush` does without blocking the event loop."""
    import asyncio  # takes longer to import than the rest of this package

    return await asyncio.to_thread(flush, timeout_s)


def shutdown(timeout_s: float = 5.0) -> bool:
    """Flush and stop; safe to repeat. Runs by itself when the interpreter exits. A later event starts it again.

    Args:
        timeout_s: Longest time to take, in seconds.

    Returns:
        Whether everything recorded so far was settled; what was not is delivered by the next process.
    """
    deadline = time.monotonic() + timeout_s
    _process.settle(timeout_s)
    return _process.stop(max(0.0, deadline - time.monotonic()), is_patient=True)


def stats() -> Stats:
    """Return counts since recording started; all zero if it has not."""
    from ingest.record.recorder import Stats

    recorder = _process.recorder
    return recorder.stats() if recorder is not None else Stats()


def is_on() -> bool:
    """Say whether events are recorded; starts recording where it has not started."""
    return not _process.is_off and (_process.recorder or _process.start()) is not None


def takes_user_of_request() -> bool:
    """Say whether the user that a model request names is taken where none is set."""
    return _process.user_from_request


def hash_salt() -> bytes | None:
    """Return the key of all hashes; None where recording is off."""
    recorder = _process.recorder or _process.start()
    return recorder.salt if recorder is not None else None


def keeps_blocks() -> bool:
    """Say whether hashes of the beginnings of prompts are recorded."""
    recorder = _process.recorder
    return recorder is not None and recorder.keeps_blocks


def open_call(fields: dict[str, object], event_id: uuid.UUID, created_at: datetime) -> OpenCall | None:
    """Keep a call whose answer is still coming, so that it survives the process; None where that cannot be done."""
    recorder = _process.recorder
    return recorder.open_call(fields, event_id, created_at) if recorder is not None else None


def named_hosts() -> tuple[Mapping[str, str], Collection[str]]:
    """Return the providers that the customer names by host, and whose reported costs are in US dollars."""
    recorder = _process.recorder or _process.start()
    return ({}, ()) if recorder is None else (recorder.providers, recorder.trusted_costs)


def add_source(settle: Callable[[float], None]) -> None:
    """Register what holds calls that are not events yet; `settle` records them all in the seconds given."""
    _process.sources.append(settle)


def scope() -> Scope | None:
    """Return what a call that begins now belongs to; None for the process."""
    return _process.scope()


def replace(process: Process) -> Process:
    """Record through `process` from now on; returns the one before."""
    global _process
    former, _process = _process, process
    return former


def _record(
    kind: bytes, fields: dict[str, object], event_id: uuid.UUID | str | None, created_at: datetime | None
) -> uuid.UUID:
    made = None
    while made is None:  # a recorder that is being shut down accepts nothing
        recorder = _process.recorder or _process.start()
        if recorder is None:
            return uuid7()
        made = recorder.record(kind, fields, event_id, created_at)
    if kind == _USAGE:
        remember_later(made, fields, created_at, recorder)
        if _process.on_record is not None:
            _tell(_process.on_record)
    return made


def _tell(listener: Callable[[RecordedCall], object]) -> None:
    call = last_call()
    try:
        if call is not None:
            listener(call)
    except Exception as error:  # noqa: BLE001 -- the listener's fault must not be the call's
        _NOTICES.warn("on_record", f"on_record failed: {type(error).__name__}")
