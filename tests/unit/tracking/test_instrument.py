"""`instrument` finds every client of the process, records each call once, and leaves no trace when it is undone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ingest
from ingest.tracking.sockets import find_tracker
from tests.unit.tracking.conftest import ASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.openai_server import OpenAIServer
    from tests.unit.tracking.conftest import Recorded


@pytest.fixture
def instrumented(recorded: Recorded) -> Iterator[Recorded]:
    ingest.instrument()
    ingest.instrument()
    yield recorded
    ingest.uninstrument()


def test_clients_of_any_age_and_kind_are_found(server: OpenAIServer, recorded: Recorded) -> None:
    older = openai.OpenAI(api_key="k", base_url=server.url)
    ingest.instrument()
    try:
        older.chat.completions.create(**ASK)
        older.with_options(timeout=5).chat.completions.create(**ASK)
        newer = openai.AzureOpenAI(api_key="k", azure_endpoint=server.url, api_version="2024-10-21")
        assert len(list(newer.chat.completions.create(**ASK, stream=True))) == 6

        async def use() -> None:
            async with openai.AsyncOpenAI(api_key="k", base_url=server.url) as client:
                await client.chat.completions.create(**ASK)
                await client.embeddings.create(model="text-embedding-3-small", input="tree")

        asyncio.run(use())
    finally:
        ingest.uninstrument()
    assert [(event["provider"], event["operation"]) for event in recorded.events] == [
        ("openai", "chat"), ("openai", "chat"), ("azure", "chat"), ("openai", "chat"), ("openai", "embeddings"),
    ]  # fmt: skip


def test_the_modules_own_client_is_found(
    server: OpenAIServer, instrumented: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "api_key", "k")
    monkeypatch.setattr(openai, "base_url", server.url)
    monkeypatch.setattr(openai, "_client", None)
    openai.chat.completions.create(**ASK)
    assert instrumented.event["prompt_tokens"] == 21


def test_a_tracked_client_is_recorded_once_and_keeps_its_fields(server: OpenAIServer, instrumented: Recorded) -> None:
    with openai.OpenAI(api_key="k", base_url=server.url) as made:
        made.chat.completions.create(**ASK)
        client = ingest.track(made, feature="search")
        assert client is made
        client.chat.completions.create(**ASK)
        ingest.track(client, feature="title").chat.completions.create(**ASK)
    assert [event.get("feature") for event in instrumented.events] == ["chat", "search", "title"]


def test_a_subclass_that_asks_its_own_way_is_recorded_once(server: OpenAIServer, instrumented: Recorded) -> None:
    asked: list[str] = []

    class Own(openai.OpenAI):
        def request(self, *arguments: Any, **options: Any) -> Any:
            asked.append(arguments[1].url)
            return super().request(*arguments, **options)

    with Own(api_key="k", base_url=server.url) as client:
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)
    assert asked == ["/chat/completions"] * 2
    assert len(instrumented.events) == 2


def test_undone_it_leaves_no_trace(server: OpenAIServer, recorded: Recorded) -> None:
    before = openai.OpenAI.request, openai.AsyncOpenAI.request
    found = openai.OpenAI(api_key="k", base_url=server.url)
    tracked = ingest.track(openai.OpenAI(api_key="k", base_url=server.url))
    untouched = dict(vars(found))
    ingest.uninstrument()
    ingest.instrument()
    found.chat.completions.create(**ASK)
    assert find_tracker(found) is not None
    ingest.uninstrument()
    ingest.uninstrument()
    assert (openai.OpenAI.request, openai.AsyncOpenAI.request) == before
    assert vars(found).keys() - {"chat"} == untouched.keys() - {"chat"}
    for client in (found, tracked, openai.OpenAI(api_key="k", base_url=server.url)):
        client.chat.completions.create(**ASK)
    assert len(recorded.events) == 2
