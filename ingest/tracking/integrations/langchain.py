"""Records what LangChain and LangGraph call: `model.invoke(…, config={"callbacks": [TreeringHandler()]})`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import BaseCallbackHandler

from ingest.record.context import check_context
from ingest.tracking.emit import report
from ingest.tracking.integrations import told
from ingest.tracking.makers.words import finish_reason
from ingest.tracking.usage import view

if TYPE_CHECKING:
    from uuid import UUID

    from ingest.tracking.call import Call

_PER_CALL: Final = "treering"
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_OWN_IDS: Final = ("lc_run-", "run-")  # of LangChain, where it has none of the provider's


class TreeringHandler(BaseCallbackHandler):  # type: ignore[misc]  # not installed where types are checked
    """A callback handler that records each call of a model, however deep in a chain, graph or agent.

    One handler may serve all chains of a process. An answer from LangChain's cache was no call and is left out. What
    `track` or `instrument` records as well is recorded once. One call says its own fields by
    `config={"metadata": {"treering": {...}}}`.

    Args:
        **fields: As of `usage_context`, for every call, under what `usage_context` says.

    Raises:
        TypeError: A field is none of `usage_context`.
    """

    run_inline = True  # in the caller's own thread and task, whose user it is

    def __init__(self, **fields: Any) -> None:
        check_context(fields)
        self._calls = told.ToldCalls(fields)

    def on_chat_model_start(
        self,
        serialized: Any,  # noqa: ARG002 -- LangChain names it
        messages: Any,
        *,
        run_id: UUID,
        metadata: Any = None,
        **options: Any,
    ) -> None:
        """Note that a chat model is asked."""
        try:
            asked = [{"role": message.type, "content": message.content} for message in messages[0]]
            self._begin(run_id, asked, metadata, options)
        except Exception as error:  # noqa: BLE001 -- a fault of ours is not LangChain's
            report(error)

    def on_llm_start(
        self,
        serialized: Any,  # noqa: ARG002 -- LangChain names it
        prompts: Any,
        *,
        run_id: UUID,
        metadata: Any = None,
        **options: Any,
    ) -> None:
        """Note that a model is asked for a text."""
        try:
            self._begin(run_id, list(prompts), metadata, options)
        except Exception as error:  # noqa: BLE001 -- as above
            report(error)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **_: Any) -> None:  # noqa: ARG002
        """Note a piece of an answer."""
        call = self._calls.find(str(run_id))
        if call is not None:
            call.is_streamed = True
            piece = token if isinstance(token, str) else ""
            call.see({"choices": [{"delta": {"content": piece}}]})

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """Record an answer."""
        call = self._calls.end(str(run_id))
        if call is not None:
            try:
                if _is_from_cache(response):
                    call.mute()
                    return
                _take(call, response)
            except Exception as error:  # noqa: BLE001 -- as above
                report(error)
            call.finish()

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Record a failure, or that the caller wants no more."""
        call = self._calls.end(str(run_id))
        if call is not None:
            told.fail(call, error)

    def _begin(self, run_id: UUID, asked: list[Any], metadata: Any, options: dict[str, Any]) -> None:
        known, settings = view(metadata), view(options.get("invocation_params"))
        said = dict(known.get(_PER_CALL) or {})
        check_context(said)
        model = known.get("ls_model_name") or settings.get("model") or settings.get("model_name")
        limit = next((settings[name] for name in _LIMITS if isinstance(settings.get(name), int)), None)
        self._calls.begin(
            str(run_id),
            provider=known.get("ls_provider"),
            request={
                "model": model,
                "messages": asked,
                "tools": settings.get("tools"),
                "max_tokens": limit or known.get("ls_max_tokens"),
            },
            said=said,
        )


def _is_from_cache(response: Any) -> bool:
    """Whether LangChain's own cache gave the answer: LangChain writes over its usage that it cost nothing."""
    used = getattr(getattr(response.generations[0][0], "message", None), "usage_metadata", None)
    return isinstance(used, Mapping) and used.get("total_cost") == 0


def _take(call: Call, response: Any) -> None:
    """Take a result of LangChain's, which has the provider's words in some places and its own in others."""
    answer, output = call.answer, view(response.llm_output)
    generation = response.generations[0][0]
    message = getattr(generation, "message", None)
    told_of = {**output, **view(getattr(generation, "generation_info", None))}
    told_of |= view(getattr(message, "response_metadata", None))
    answer.model = _text(told_of, "model_name", "model", "model_id") or answer.model
    own_id = getattr(message, "id", None)
    response_id = _text(told_of, "id") or (own_id if isinstance(own_id, str) else None)
    if response_id is not None and not response_id.startswith(_OWN_IDS):
        answer.response_id = response_id
    answer.service_tier = _text(told_of, "service_tier") or answer.service_tier
    reason = finish_reason(_text(told_of, "finish_reason", "stop_reason", "stopReason"))
    if reason is not None:
        answer.finish_reasons.append(reason)
    used = getattr(message, "usage_metadata", None)
    answer.usage = told_of.get("token_usage") or told_of.get("usage") or _plain(used, answer.service_tier)
    if not answer.texts and generation.text:
        answer.texts.append(generation.text)
    answer.is_complete = True


def _plain(used: Mapping[str, Any] | None, tier: str | None) -> Any:
    """Take the tier off the names of details: LangChain writes `flex_cache_read` for what `flex` served."""
    if not used or tier is None:
        return used or None
    return {
        name: {key.removeprefix(f"{tier}_"): count for key, count in value.items()}
        if isinstance(value, dict)
        else value
        for name, value in used.items()
    }


def _text(values: Mapping[str, Any], *names: str) -> str | None:
    return next((values[name] for name in names if isinstance(values.get(name), str) and values[name]), None)
