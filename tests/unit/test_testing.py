"""A backend's tests see what it records, and nothing else happens."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
import textwrap
import threading
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ingest
from ingest.record import capture
from ingest.record.process import make_from_environment
from ingest.testing import recorded
from pricing import PriceBook
from tests.support.openai_server import USAGE, OpenAIServer, Reply, chunk, frames
from tests.unit.record.fakes import FakeDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "How do I keep it alive?"}]}
# What the server reports: 21 tokens, 8 of them cached, and 5.
COUNTS = (21, 8, 5, "reported")
UNREPORTED = frames([chunk("Water "), chunk("your"), chunk(finish="stop")])

RECORD_WITHOUT_A_TRACE = """
    import sys, threading
    import openai, ingest
    from ingest.testing import recorded

    client = ingest.track(openai.OpenAI(api_key="k", base_url=sys.argv[1]))
    with recorded() as events:
        ingest.record_usage(user_id="user_1", model="gpt-4o", prompt_tokens=1, completion_tokens=2)
        for _ in client.chat.completions.create(model="gpt-4o", messages=[], stream=True):
            break
        left = client.chat.completions.create(model="gpt-4o", messages=[], stream=True)
        next(left)
        names = [thread.name for thread in threading.enumerate() if "treering" in thread.name]
    del left  # collected after the block
    print(len(events), names, [thread.name for thread in threading.enumerate() if "treering" in thread.name])
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A process that nobody has configured."""
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "TREERING_", "ENABLE_OBSERVABILITY", "OPENAI_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("TREERING_HOME", str(home))
    process = capture._process
    monkeypatch.setattr(process, "_make", make_from_environment)
    monkeypatch.setattr(process, "is_off", False)
    yield home
    assert capture._process is process
    process.stop(0, is_patient=False)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def client(server: OpenAIServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="k", base_url=server.url, max_retries=0) as client:
        yield ingest.track(client)


def record(user_id: str = "user_1", **fields: Any) -> str:
    arguments: dict[str, Any] = {"model": "gpt-4o", "prompt_tokens": 150, "completion_tokens": 50, **fields}
    return str(ingest.record_usage(user_id=user_id, **arguments))


def users(events: list[dict[str, Any]]) -> list[str]:
    return [event["user_id"] for event in events]


def counts(event: dict[str, Any]) -> tuple[object, ...]:
    return tuple(event.get(name) for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "usage_source"))


def test_an_event_is_there_at_once_as_the_database_would_take_it() -> None:
    with recorded() as events:
        event_id = record(prompt_tokens=-1, cached_tokens=0, metadata={"plan": {1}})
        (event,) = events
    assert datetime.fromisoformat(event.pop("created_at")).utcoffset() is not None
    assert event == {
        "event_id": event_id, "user_id": "user_1", "model": "gpt-4o", "prompt_tokens": 0, "completion_tokens": 50,
        "feature": "chat", "environment": "production", "provider": "openai", "operation": "chat", "status": "ok",
        "attempt": 1, "usage_source": "reported",
        "metadata": {"plan": [1], "treering_flags": ["prompt_tokens:out_of_range"]},
    }  # fmt: skip


def test_nothing_is_written_and_no_thread_begins(server: OpenAIServer, home: Path) -> None:
    server.script += [Reply(UNREPORTED), Reply(UNREPORTED)]
    program = [sys.executable, "-c", textwrap.dedent(RECORD_WITHOUT_A_TRACE), server.url]
    result = subprocess.run(
        program, check=True, capture_output=True, text=True, timeout=120, env={"TREERING_HOME": str(home)}
    )
    assert (result.stdout, result.stderr) == ("2 [] []\n", "")
    assert not home.exists()


def test_the_former_recorder_has_its_place_back_and_none_of_the_events(home: Path) -> None:
    database = FakeDatabase()
    ingest.configure(database=database, home=home, flush_interval_s=3600)
    before = record()
    with recorded() as events:
        record("user_2")
    after = record()
    assert ingest.flush(30)
    assert sorted(database.usage) == sorted([before, after])
    assert users(events) == ["user_2"]


def test_an_application_may_configure_flush_and_shut_down_within(home: Path) -> None:
    database = FakeDatabase()
    with recorded() as events:
        ingest.configure(database=database, home=home)
        record()
        assert ingest.flush()
        assert asyncio.run(ingest.aflush())
        assert ingest.stats().recorded == 1
        assert ingest.shutdown()
        record()
        with pytest.raises(ValueError, match="batch_size"):
            ingest.configure(batch_size=0)
    assert len(events) == 2
    assert database.calls == []
    assert not home.exists()


def test_a_process_whose_recording_is_off_shows_its_events_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_OBSERVABILITY", "false")
    record()
    assert capture._process.is_off
    with recorded() as events:
        record()
    record()
    assert len(events) == 1
    assert capture._process.is_off
    assert not home.exists()


def test_the_innermost_block_collects() -> None:
    with recorded() as outer:
        record("user_1")
        with recorded() as inner:
            record("user_2")
        record("user_3")
    assert (users(outer), users(inner)) == (["user_1", "user_3"], ["user_2"])


def test_a_block_that_fails_ends_as_any_other() -> None:
    with recorded() as outer:
        with pytest.raises(ZeroDivisionError), recorded():
            raise ZeroDivisionError
        record()
    assert len(outer) == 1


def test_tasks_side_by_side_collect_their_own() -> None:
    async def work(name: str, entered: asyncio.Event, go_on: asyncio.Event) -> list[str]:
        with recorded() as events:
            entered.set()
            await go_on.wait()
            await asyncio.to_thread(record, name)
        return users(events)

    async def run() -> list[list[str]]:
        first, second, last = asyncio.Event(), asyncio.Event(), asyncio.Event()
        last.set()
        # The one that begins first also ends first, while the other goes on.
        tasks = [asyncio.create_task(work("a", first, second)), asyncio.create_task(work("b", second, first))]
        return await asyncio.gather(*tasks, work("c", last, last))

    assert asyncio.run(run()) == [["a"], ["b"], ["c"]]


def test_a_thread_of_the_application_is_covered() -> None:
    with recorded() as events:
        thread = threading.Thread(target=record)
        thread.start()
        thread.join()
    assert len(events) == 1


def test_a_block_left_in_another_context_is_over(home: Path) -> None:
    import contextvars

    block = recorded()
    events = contextvars.copy_context().run(block.__enter__)
    record()
    block.__exit__(None, None, None)
    assert len(events) == 1
    ingest.configure(database=FakeDatabase(), home=home)
    record()
    assert len(events) == 1


def test_calls_of_a_tracked_client_are_collected(client: openai.OpenAI) -> None:
    with recorded() as events:
        with ingest.usage_context(user_id="user_2", metadata={"plan": "pro"}):
            client.chat.completions.create(**ASK)
            list(client.chat.completions.create(**ASK, stream=True))
            "".join(ingest.stream_sse(client.chat.completions.create(**ASK, stream=True)))
        assert [counts(event) for event in events.usage] == [COUNTS] * 3
        assert users(events) == ["user_2"] * 3
        assert [event.get("streamed") for event in events] == [None, True, True]
        assert len({event["prompt_hash"] for event in events}) == 1


def test_calls_of_an_asynchronous_client_are_collected(server: OpenAIServer) -> None:
    async def ask() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=server.url, max_retries=0) as made:
            client = ingest.track(made, user_id="user_3")
            await client.chat.completions.create(**ASK)
            async for _ in await client.chat.completions.create(**ASK, stream=True):
                pass

    with recorded() as events:
        asyncio.run(ask())
    assert [counts(event) for event in events] == [COUNTS] * 2
    assert users(events) == ["user_3"] * 2


def test_tokens_that_nobody_reported_are_estimated_at_once(client: openai.OpenAI, server: OpenAIServer) -> None:
    server.script.append(Reply(UNREPORTED))
    with recorded() as events:
        list(client.chat.completions.create(**ASK, stream=True))
        (event,) = events
    # "Water your" has ten bytes, four to the token.
    assert (event["completion_tokens"], event["usage_source"]) == (3, "heuristic")


def test_a_loop_that_was_left_is_recorded_by_the_next_flush(client: openai.OpenAI) -> None:
    with recorded() as events:
        stream = client.chat.completions.create(**ASK, stream=True)
        for _ in stream:
            break
        assert events == []
        ingest.flush()
        assert [event["status"] for event in events] == ["cancelled"]
        stream.close()


def test_a_stream_that_outlives_its_block_is_recorded_nowhere(
    client: openai.OpenAI, server: OpenAIServer, home: Path
) -> None:
    server.script.append(Reply(frames([chunk("Water"), chunk(choices=[], usage=USAGE)])))
    with recorded() as events:
        stream = client.chat.completions.create(**ASK, stream=True)
    with recorded() as others:
        list(stream)
        del stream
        gc.collect()
    assert (events, others) == ([], [])
    assert not home.exists()


def test_requests_stand_beside_the_calls_made_within() -> None:
    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        list(ingest.track_stream(iter([chunk("Water"), chunk(choices=[], usage=USAGE)]), user_id="user_1"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async def forget(*_: Any) -> Any:
        pass

    with recorded() as events:
        asyncio.run(
            ingest.PerformanceMiddleware(answer)({"type": "http", "method": "GET", "path": "/chat/123"}, forget, forget)
        )
    (request,), (call,) = events.performance, events.usage
    assert (request["route"], request["status_code"], request["method"]) == ("/chat/{}", 200, "GET")
    assert (call["user_id"], call["completion_tokens"]) == ("user_1", 5)
    assert call["request_group_id"]
    assert len(events) == 2


@pytest.mark.parametrize(
    ("model", "cost", "source"),
    [
        ("gpt-4o", "0.000875", "priced"),  # 150 at 2.50 and 50 at 10.00 per million
        ("gpt-nobody-knows", "0.000875", "fallback"),
    ],
)
def test_costs_are_added_where_they_are_asked_for(model: str, cost: str, source: str) -> None:
    with recorded(price=True) as events:
        record(model=model)
    assert (Decimal(events[0]["estimated_cost"]), events[0]["cost_source"]) == (Decimal(cost), source)
    with recorded() as events:
        record(model=model)
    assert not {"estimated_cost", "cost_source"} & events[0].keys()


def test_costs_come_from_the_book_that_is_given() -> None:
    row = {"provider": "openai", "models": ["gpt-4o"], "rates": {"input": "1", "output": "2"}}
    with recorded(price=PriceBook.default().with_rows([row])) as events:
        record()
    assert Decimal(events[0]["estimated_cost"]) == Decimal("0.00025")  # 150 at 1 and 50 at 2 per million


def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    documentation = (Path(ingest.__file__).parents[1] / "docs" / "record.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(import pytest\n.*?)```", documentation, re.DOTALL)
    assert example is not None
    chat = """
        from ingest import record_usage

        def answer(user_id, question):
            record_usage(user_id=user_id, model="gpt-4o", prompt_tokens=7, completion_tokens=5)
    """
    (tmp_path / "chat.py").write_text(textwrap.dedent(chat), encoding="utf-8")
    (tmp_path / "test_chat.py").write_text(f"import chat\n{example[1]}", encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert "1 passed" in result.stdout
