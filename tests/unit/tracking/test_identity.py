"""Who asked is known, what was asked is not; and every call is there once, whatever happens around it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ingest
from ingest.errors import ConfigurationError
from ingest.tracking import call as call_module
from tests.support.openai_server import USAGE, OpenAIServer, Reply, chunk, document, frames
from tests.unit.tracking.conftest import ASK, MESSAGES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.tracking.conftest import Recorded


def test_contexts_nest_and_keep_to_their_thread_and_task(client: openai.OpenAI, recorded: Recorded) -> None:
    def ask() -> None:
        client.chat.completions.create(**ASK)

    with ingest.usage_context(user_id="user_1", metadata={"a": 1, "b": 1}):
        with ingest.usage_context(feature="inner", metadata={"b": 2}):
            ask()
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        ask()
    first, other, last = recorded.events
    assert (first["user_id"], first["feature"], first["metadata"]) == ("user_1", "inner", {"a": 1, "b": 2})
    assert (other["user_id"], last["user_id"], last["feature"]) == ("anonymous", "user_1", "chat")


def test_a_context_left_by_another_task_is_no_error() -> None:
    import contextvars

    context = ingest.usage_context(user_id="user_1")
    contextvars.copy_context().run(context.__enter__)
    context.__exit__(None, None, None)


def test_hashes_tell_equal_prompts_and_beginnings(client: openai.OpenAI, recorded: Recorded) -> None:
    other = [MESSAGES[0], {"role": "user", "content": "Something else"}]
    for messages in (MESSAGES, MESSAGES, other):
        client.chat.completions.create(model="gpt-4o", messages=messages)
    first, again, third = recorded.events
    assert first["prompt_hash"] == again["prompt_hash"] != third["prompt_hash"]
    assert first["prefix_hash"] == again["prefix_hash"] == third["prefix_hash"]


def test_uploads_have_no_hash_since_they_are_not_read(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded
) -> None:
    for sound in (b"one", b"other"):
        server.script.append(document({"text": "Water.", "usage": {"type": "duration", "seconds": 3}}))
        client.audio.transcriptions.create(model="whisper-1", prompt="Names: Ada", file=("talk.wav", sound))
    assert [event.get("prompt_hash") for event in recorded.events] == [None, None]


def test_a_hash_cannot_be_made_without_the_salt(server: OpenAIServer, recorded: Recorded, home: Path) -> None:
    hashes = []
    for salt in ("one", "two", "one"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TREERING_HASH_SALT", salt)
            ingest.configure(database=recorded.database, home=home)
            with openai.OpenAI(api_key="k", base_url=server.url) as made:
                ingest.track(made).chat.completions.create(**ASK)
            hashes.append(recorded.events[-1]["prompt_hash"])
    assert hashes[0] == hashes[2] != hashes[1]


def test_no_word_of_a_prompt_or_an_answer_is_kept(
    client: openai.OpenAI, server: OpenAIServer, recorded: Recorded, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "Xyzzyplugh"
    server.script.append(Reply(frames([chunk(secret)], done=False)))
    server.script.append(document({"error": {"message": secret, "code": secret + " " + secret}}, 400))
    messages: Any = [{"role": "user", "content": secret}]
    with caplog.at_level(logging.DEBUG, logger="treering"):
        list(client.chat.completions.create(model="gpt-4o", messages=messages, stream=True))
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="gpt-4o", messages=messages)
    assert secret not in json.dumps(recorded.events)
    assert secret not in caplog.text
    for path in home.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()


def test_a_strange_client_is_refused(recorded: Recorded) -> None:
    with pytest.raises(TypeError, match="openai"):
        ingest.track(object())
    assert recorded.events == []


def test_without_openai_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigurationError, match=r"treering\[openai\]"):
        ingest.track(object())


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = (
        "import sys, ingest; print([m for m in ('openai', 'pydantic', 'asyncio', 'tiktoken') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_open_streams_are_recorded_when_the_process_ends(server: OpenAIServer, home: Path) -> None:
    server.script.append(Reply(frames([chunk("Hello"), chunk(" tree")]), ending="stall"))
    program = f"""
import openai, ingest
client = ingest.track(openai.OpenAI(api_key="k", base_url={server.url!r}))
stream = client.chat.completions.create(model="gpt-4o", messages=[], stream=True)
next(stream)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, env={"TREERING_HOME": str(home)})
    journals = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert journals.count(b'"status":"cancelled"') == 1
    assert USAGE


def test_a_clock_that_goes_backwards_loses_and_doubles_nothing(
    client: openai.OpenAI, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(2_000_000_000, 0, -86_400))
    monkeypatch.setattr("time.time", lambda: float(next(times)))

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(next(times), tz)

    monkeypatch.setattr(call_module, "datetime", Backwards)
    for _ in range(5):
        client.chat.completions.create(**ASK)
    found = recorded.events
    assert len({event["event_id"] for event in found}) == len(found) == 5
    moments = [str(event["created_at"]) for event in found]
    assert moments == sorted(moments, reverse=True)
    assert all(float(str(event["latency_ms"])) >= 0 for event in found)
