"""What LangChain's callbacks say, against stand-ins for its classes (the matrix of frameworks has the real ones)."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.tracking.conftest import Recorded

USED = {"input_tokens": 20, "output_tokens": 5, "total_tokens": 25}


@pytest.fixture
def handler(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    callbacks = ModuleType("langchain_core.callbacks")
    callbacks.BaseCallbackHandler = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "langchain_core", ModuleType("langchain_core"))
    monkeypatch.setitem(sys.modules, callbacks.__name__, callbacks)
    name = "ingest.tracking.integrations.langchain"
    module = importlib.import_module(name)
    assert recorded.events == []
    yield module.TreeringHandler()
    del sys.modules[name]


def ask(handler: Any, used: dict[str, int] | None) -> None:
    run_id = uuid4()
    metadata = {"ls_provider": "google_genai", "ls_model_name": "gemini-2.5-flash"}
    question = SimpleNamespace(type="human", content="How do I keep my tree?")
    handler.on_chat_model_start({}, [[question]], run_id=run_id, metadata=metadata)
    message = SimpleNamespace(usage_metadata=used, response_metadata={}, id="lc_run-1")
    generation = SimpleNamespace(message=message, generation_info=None, text="Water it.")
    handler.on_llm_end(SimpleNamespace(llm_output=None, generations=[[generation]]), run_id=run_id)


def test_an_answer_from_langchains_cache_is_no_call(handler: Any, recorded: Recorded) -> None:
    ask(handler, USED)
    ask(handler, {**USED, "total_cost": 0})
    (event,) = recorded.events
    assert (event["model"], event["prompt_tokens"], event["completion_tokens"]) == ("gemini-2.5-flash", 20, 5)


def test_an_answer_without_usage_is_a_call(handler: Any, recorded: Recorded) -> None:
    ask(handler, None)
    assert len(recorded.events) == 1
