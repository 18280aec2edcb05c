"""One call of a model from its start to the one event that is recorded of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from ingest.record import capture
from ingest.record.context import current_fields, merge
from ingest.record.last_call import RecordedCall, remember
from ingest.tracking import background_responses, seen
from ingest.tracking.answer import Answer
from ingest.tracking.counting import Job, submit
from ingest.tracking.emit import emit, report
from ingest.tracking.failures import name_of, reached_a_model
from ingest.tracking.frames import Frames
from ingest.tracking.operations import Operation, operation_named
from ingest.tracking.usage import read_usage

if TYPE_CHECKING:
    import uuid

    from ingest.record.open_calls import OpenCall
    from ingest.tracking.request import Asked

_CHARACTERS_PER_TOKEN = 4
_NOTE_INTERVAL_S = 0.25
RETRIED_KEY = "treering_retried_ms"
TOOL_RETRIES_KEY = "treering_tool_retries"


class Call:
    """A call that is under way; `finish` records it, once however often it is called.

    Args:
        operation: What is done: one of `operations`, or its name.
        provider: Who is called.
        asked: What was asked.
        is_streamed: Whether the answer comes in chunks.
        fields: What the product says of this call, over its context.
        answer: Takes the answer; default: one of OpenAI's API.

    Attributes:
        answer: What is known of the answer.
        attempt: Which attempt of the client this is.
        claim: Notes the call; False where somebody else has recorded it.
        host: Host that is called, where it is known.
        hides_usage: Whether the chunk that carries usage alone was not asked for by the caller.
        is_inside: Whether the client library is at work, which may close its response itself.
        is_left: Whether the caller's loop over the answer was left.
        is_retrieval: Whether this looks for a response that was asked for before.
        is_seen: Whether the whole answer was taken.
        is_timed: Whether the time until its end is that of the answer.
        is_waiting: Whether the client waits for its next attempt.
        units: What it is billed by where the answer does not say.
    """

    __slots__ = (
        "_event_id",
        "_fields",
        "_frames",
        "_group",
        "_is_open",
        "_kept",
        "_kind",
        "_note_at",
        "_noted",
        "_process_id",
        "_retried_ms",
        "_scope",
        "answer",
        "asked",
        "attempt",
        "claim",
        "created_at",
        "hides_usage",
        "host",
        "is_inside",
        "is_left",
        "is_retrieval",
        "is_seen",
        "is_streamed",
        "is_timed",
        "is_waiting",
        "operation",
        "provider",
        "started_at",
        "units",
    )

    def __init__(
        self,
        operation: str | Operation,
        provider: str,
        asked: Asked,
        *,
        is_streamed: bool,
        fields: dict[str, Any] | None = None,
        answer: Answer | None = None,
    ) -> None:
        self._kind = operation_named(operation) if isinstance(operation, str) else operation
        self.operation = self._kind.name
        self.provider = provider
        self.asked = asked
        self.is_streamed = is_streamed
        self.answer = answer or Answer()
        self.attempt = 1
        self.claim = seen.made
        self.host = ""
        self.hides_usage = False
        self.is_inside = False
        self.is_left = False
        self.is_retrieval = False
        self.is_seen = False
        self.is_timed = True
        self.is_waiting = False
        self.units: dict[str, int] = {}
        self.created_at = datetime.now(UTC)
        self.started_at = perf_counter()
        self._event_id: uuid.UUID | None = None
        self._kept: OpenCall | None = None
        self._note_at = 0.0
        self._noted = (0, 0)
        self._retried_ms = 0.0
        self._group: str | None = None
        self._frames: Frames | None = None
        self._fields = merge(current_fields(), fields or {})
        self._is_open = [True]
        self._process_id = os.getpid()
        self._scope = capture.scope()

    @property
    def is_finished(self) -> bool:
        """Whether the event was recorded."""
        return not self._is_open

    @property
    def has_user(self) -> bool:
        """Whether the product said who asks."""
        return self._fields.get("user_id") is not None

    def add_defaults(self, fields: dict[str, Any]) -> None:
        """Take what holds for every call of a client."""
        if fields:
            self._fields = merge(fields, self._fields)

    def add_fields(self, fields: dict[str, Any]) -> None:
        """Take what the product says later."""
        if fields:
            self._fields = merge(self._fields, fields)
            if self._kept is not None:
                self.keep()

    def continue_from(self, asking: Call) -> None:
        """Take what is known of the call that asked for the response that this one looks for."""
        self.asked, self.provider, self.host = asking.asked, asking.provider, asking.host
        self._fields = asking._fields

    def keep(self) -> Call:
        """Have a call whose answer comes in chunks survive the process, as a cancelled one. Never raises."""
        try:
            self._release()
            self._event_id = uuid7()
            fields = self._measured("cancelled", None)
            counts = {"prompt_tokens": len(self.asked.prompt) // _CHARACTERS_PER_TOKEN, "completion_tokens": 0}
            known = {name: value for name, value in self._fields.items() if value is not None}
            everything = {**fields, **counts, "usage_source": "heuristic", **known}
            event_id = everything.pop("event_id", self._event_id)
            self._kept = capture.open_call(everything, event_id, everything.pop("created_at"))
            self._note_at, self._noted = 0.0, (0, 0)
        except Exception as error:  # noqa: BLE001 -- a fault of ours is not the caller's
            report(error)
        return self

    def mute(self) -> Call:
        """Record nothing of this call."""
        self._is_open.clear()
        return self

    def see(self, chunk: Any) -> bool:
        """Take a chunk; says whether it carries usage alone. Never raises."""
        try:
            if type(chunk) is bytes or type(chunk) is str:
                return self._see_piece(chunk)
            carries_usage_alone = self.answer.add_chunk(chunk)
            if self._kept is not None and (self.answer.last_at or 0.0) >= self._note_at:
                self._note(self._kept)
            return carries_usage_alone
        except Exception as error:  # noqa: BLE001 -- a fault of ours is not the caller's
            report(error)
            return False

    def add_chunk(self, chunk: Any) -> bool:
        """Take a chunk on its way to the caller; returns whether to hide it from the caller. Never raises."""
        carries_usage_alone = self.see(chunk)
        if not self.hides_usage:
            return False
        if not carries_usage_alone:
            # Asked for usage, OpenAI sends `usage: null` with every other chunk: as if it were not there.
            named = getattr(chunk, "__pydantic_fields_set__", None)
            if named is not None and getattr(chunk, "usage", None) is None:
                named.discard("usage")
        return carries_usage_alone

    def _note(self, kept: OpenCall) -> None:
        """Tell the disk how much of the answer has come."""
        answer = self.answer
        last_at = answer.last_at or perf_counter()
        characters, count = self._noted
        characters += sum(map(len, answer.texts[count:]))
        self._noted = characters, len(answer.texts)
        self._note_at = last_at + _NOTE_INTERVAL_S
        kept.note(characters, (last_at - self.started_at) * 1000)

    def _release(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def _see_piece(self, piece: bytes | str) -> bool:
        if type(piece) is str and not self.answer.may_be_body(piece):
            return False
        if self._frames is None:
            self._frames = Frames(self.see, self.answer)
        for _ in self._frames.feed(piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace")):
            pass
        return False

    def finish(self, status: str = "ok", error_type: str | None = None, *, was_delivered: bool = True) -> None:
        """Record the call; the first one counts. Never raises.

        Args:
            status: ok, error or cancelled, unless the answer itself said otherwise.
            error_type: Kind of error.
            was_delivered: Whether the request reached a model, so that its tokens are billed.
        """
        try:
            self._is_open.pop()
        except IndexError:
            return
        if os.getpid() != self._process_id:
            return  # a fork's copy: the parent records it
        if self._scope is not None and self._scope.is_over:
            return  # left over from a test
        try:
            if self.is_retrieval or self.answer.background is not None:
                identity = background_responses.identity_of(self.answer.background, self)
                if identity is None:
                    self.answer = Answer()  # what is kept of this call is how it began
                    self._release()
                    return
                (self._event_id, self.created_at), status, error_type = identity, "ok", None
            self._record(status, error_type, was_delivered=was_delivered)
        except Exception as error:  # noqa: BLE001 -- as above
            report(error)
            self._release()

    def end_of_stream(self) -> None:
        """Record a stream that came to its end, as a failed one where the provider did not say that it was the end."""
        try:
            is_cut = not self.answer.is_over
        except Exception as error:  # noqa: BLE001 -- as above
            report(error)
            is_cut = False
        self.finish(*(("error", "stream_ended_early") if is_cut else ()))

    def stop_by_caller(self) -> None:
        """Record that the caller wants no more; a call that was complete by then is not cancelled."""
        self.finish("ok" if self.answer.is_complete else "cancelled")

    def fail(self, error: BaseException) -> None:
        """Record that `error` ended the call."""
        seen.note_error(error)
        if not isinstance(error, Exception):
            self.finish("cancelled")  # KeyboardInterrupt, CancelledError, GeneratorExit
            return
        self.finish(
            "error", self.answer.error_type or name_of(error, self.answer), was_delivered=self._may_be_billed(error)
        )

    def record_lost_attempt(self, error: BaseException) -> None:
        """Record an attempt whose answer the client did not wait for: the provider bills it. Then the next begins."""
        if reached_a_model(error) and not self.is_finished:
            self._group = self._group or uuid7().hex
            try:
                self._record("error", name_of(error, self.answer), was_delivered=True)
            except Exception as fault:  # noqa: BLE001 -- as above
                report(fault)
        self.attempt += 1
        self.is_waiting = True
        self._group = self._group or uuid7().hex

    def begin_attempt(self) -> None:
        """Begin the next attempt, after the pause before it: times are those of the attempt."""
        self.is_waiting = False
        self.created_at = datetime.now(UTC)
        now = perf_counter()
        self._retried_ms += (now - self.started_at) * 1000
        self.started_at = now
        if self._event_id is not None:
            self.keep()

    def _may_be_billed(self, error: BaseException) -> bool:
        return bool(self.answer.texts) or self.answer.usage is not None or reached_a_model(error)

    def _record(self, status: str, error_type: str | None, *, was_delivered: bool) -> None:
        answer = self.answer
        if not self.claim(self):
            self._release()
            return
        if status == "ok" and (answer.error_type or "error" in answer.finish_reasons):
            status, error_type = "error", answer.error_type or "provider_error"
        elif status == "ok" and answer.is_cancelled:
            status = "cancelled"
        fields = self._measured(status, error_type) | {"prefix_share": self.asked.prefix_share}
        reported = self._read_usage()
        if reported is not None and answer.is_partial:
            reported.pop("completion_tokens", None)  # what it says of the output is a first guess
        if reported is not None and "completion_tokens" in reported:
            if answer.texts and not reported["prompt_tokens"] and not reported["completion_tokens"]:
                reported["flags"].append("usage:zero_beside_text")
            emit(fields, reported, self._fields)
            self._release()
        elif not was_delivered or (status == "error" and self.is_streamed and not answer.texts and answer.error_type):
            is_priced = self._kind.is_text and fields["model"] != "unknown"  # tokens alone: 0 of them cost 0
            free = {} if is_priced else {"provider_cost": 0}
            emit(fields, {"prompt_tokens": 0, "completion_tokens": 0, **free}, self._fields)
            self._release()
        elif not self._kind.is_text:
            emit(fields, self._by_units(reported), self._fields)
            self._release()
        else:
            job = Job(fields, self._fields, self.asked.prompt, tuple(answer.texts), answer.has_other_parts, reported)
            kept, self._kept = self._kept, None
            submit(job._replace(on_recorded=kept.close if kept is not None else None, call=remember(RecordedCall())))

    def _by_units(self, reported: dict[str, Any] | None) -> dict[str, Any]:
        """What is known of a call whose answer tells no usage, and whose tokens cannot be counted here."""
        counted: dict[str, Any] = {**(reported or {}), "prompt_tokens": 0, "completion_tokens": 0}
        if self.units:
            return {**counted, "units": self.units, "usage_source": "tokenizer"}
        return {**counted, "flags": [*counted.get("flags", ()), "usage:not_reported"], "usage_source": "heuristic"}

    def _read_usage(self) -> dict[str, Any] | None:
        answer = self.answer
        if answer.is_unknown:
            return {"flags": ["stream:unknown"]}
        if answer.usage is None and not answer.items:
            return None
        return read_usage(
            answer.usage,
            provider=str(self._fields.get("provider") or self.provider),
            model=answer.model or self.asked.model,
            operation=self.operation,
            answer=answer.report(self.operation),
            is_cost_trusted=not {self.provider, self.host}.isdisjoint(capture.named_hosts()[1]),
        )

    def _measured(self, status: str, error_type: str | None) -> dict[str, Any]:
        answer, asked = self.answer, self.asked
        is_whole = self.is_streamed and status != "error"
        end = answer.last_at if is_whole and answer.last_at is not None else perf_counter()
        first = answer.first_token_at
        fields: dict[str, Any] = {
            "user_id": None,
            "model": answer.model or asked.model,
            "provider": self.provider or "unknown",
            "operation": self.operation,
            "streamed": self.is_streamed,
            "status": status,
            "error_type": error_type,
            "finish_reason": answer.finish_reason,
            "latency_ms": round((end - self.started_at) * 1000, 3),
            "time_to_first_token_ms": None if first is None else round((first - self.started_at) * 1000, 3),
            "request_group_id": self._group,
            "attempt": self.attempt,
            "prompt_hash": asked.prompt_hash,
            "prefix_hash": asked.prefix_hash,
            "prompt_blocks": asked.prompt_blocks,
            "max_output_tokens": asked.max_output_tokens,
            "service_tier": answer.service_tier,
            "response_id": answer.response_id,
            "created_at": self.created_at,
            "event_id": self._event_id,
        }
        if self.operation == "embeddings":
            fields["feature"] = "embeddings"
        if answer.background is not None or not self.is_timed:
            fields |= {"latency_ms": answer.background and answer.background.latency_ms, "time_to_first_token_ms": None}
        noted = {RETRIED_KEY: round(self._retried_ms, 3), TOOL_RETRIES_KEY: asked.tool_retries}
        if any(noted.values()):
            fields["metadata"] = {name: value for name, value in noted.items() if value}
        return fields
