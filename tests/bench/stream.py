"""What tracking adds to a streamed call: per chunk, and to the whole call of the plain openai client beside it.

The two clients take turns before the same local server, and each measurement has its partner next to it, so that what
else the machine does hits both. Beside the time on the wall stands the processor time of the calling thread, which is
what the library itself costs, however busy the machine is. Anthropic's client is measured in the same way, and where
langfuse can be imported (`uv run --with langfuse python -m tests.bench stream`), its client of openai takes its turn.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import openai

import ingest
from tests.bench import _langfuse
from tests.bench._rows import row
from tests.support.maker_server import message_events
from tests.support.openai_server import USAGE, OpenAIServer, Reply, chunk, events, frames
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLS = 600
CHUNKS = 20
LONG_CALLS = 40
LONG_CHUNKS = 1_000
ASK: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "a message of a conversation " * 8}] * 10,
    "stream": True,
}
ASK_CLAUDE: dict[str, Any] = {**ASK, "model": "claude-sonnet-4-5", "max_tokens": 99}

_Calls = dict[str, "Callable[[], object]"]


def run() -> Iterator[dict[str, object]]:
    """Yield what a chunk and a whole call cost with and without tracking."""
    home = Path(tempfile.mkdtemp(prefix="treering-bench-"))
    try:
        ingest.configure(database=_Memory(), home=home)
        with _serve(_reply(LONG_CHUNKS)) as url, _openai(url) as calls:
            yield from _measure_chunks(calls)
        with _serve(_message(CHUNKS)) as url, _anthropic(url) as calls:
            yield from _measure_calls("anthropic", calls)
        yield from _measure_our_part()
        # The last one, for the peer's threads go on after it.
        with _serve(_reply(CHUNKS)) as url, _openai(url) as calls, _langfuse_beside(url, calls):
            yield from _measure_calls("openai", calls)
        ingest.shutdown(30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _serve(reply: Reply) -> Iterator[str]:
    """Run a server in a process of its own, so that it takes no turn at this interpreter."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_answer_for_ever, args=(reply, sender), daemon=True)
    process.start()
    try:
        yield receiver.recv()
    finally:
        process.terminate()
        process.join()


@contextmanager
def _openai(url: str) -> Iterator[_Calls]:
    # Taken before a peer puts its own into the class.
    create = openai.resources.chat.Completions.create
    with openai.OpenAI(api_key="k", base_url=url) as plain, openai.OpenAI(api_key="k", base_url=url) as made:
        tracked = ingest.track(made)
        yield {
            "plain": lambda: _read(create(plain.chat.completions, **ASK)),
            "tracked": lambda: _read(create(tracked.chat.completions, **ASK)),
        }


@contextmanager
def _anthropic(url: str) -> Iterator[_Calls]:
    root = url.removesuffix("/v1")
    with (
        anthropic.Anthropic(api_key="k", base_url=root) as plain,
        anthropic.Anthropic(api_key="k", base_url=root) as made,
    ):
        tracked = ingest.track(made)
        yield {
            "plain": lambda: _read(plain.messages.create(**ASK_CLAUDE)),
            "tracked": lambda: _read(tracked.messages.create(**ASK_CLAUDE)),
        }


@contextmanager
def _langfuse_beside(url: str, calls: _Calls) -> Iterator[None]:
    """Have langfuse's client of openai take part, where it is installed."""
    if not _langfuse.is_installed():
        yield
        return
    port = free_port()
    sink = _langfuse.Sink(port)
    with _langfuse.client(port), _langfuse.openai_client(url) as client:
        calls[_langfuse.NAME] = lambda: _read(client.chat.completions.create(**ASK))
        yield
    sink.stop()


def _answer_for_ever(reply: Reply, sender: Any) -> None:
    with OpenAIServer(*[reply] * 5000) as server:
        sender.send(server.url)
        server.is_over.wait()


class _Memory:
    """A database that forgets."""

    def call(self, function: str, /, **arguments: Any) -> int:
        assert function == "record_usage"
        return len(arguments["events"])

    def close(self) -> None:
        """Nothing to close."""


def _reply(chunks: int) -> Reply:
    """One piece, so that the network's part is as small as it gets."""
    words = [chunk(" word") for _ in range(chunks)]
    body = frames([*words, chunk(finish="stop"), chunk(choices=[], usage=USAGE)])
    return Reply((b"".join(body),))


def _message(chunks: int) -> Reply:
    """The same of Anthropic's: one delta a chunk."""
    start, begin, _, delta, *rest = message_events()
    told = [event for event in rest if event["type"] != "content_block_delta"]
    return Reply((b"".join(events([start, begin, *[delta] * chunks, *told])),))


def _measure_chunks(calls: _Calls) -> Iterator[dict[str, object]]:
    times = _take_turns(calls, LONG_CALLS, time.thread_time)
    per_chunk = {name: _percentile(taken, 50) / LONG_CHUNKS * 1e6 for name, taken in times.items()}
    yield row(
        "a streamed chunk, processor time, p50",
        per_chunk["tracked"],
        "µs",
        peer="openai",
        peer_value=per_chunk["plain"],
    )
    yield row("added per streamed chunk, processor time, p50", per_chunk["tracked"] - per_chunk["plain"], "µs")


def _measure_calls(client: str, calls: _Calls) -> Iterator[dict[str, object]]:
    for kind, clock in (("wall", time.perf_counter), ("processor", time.thread_time)):
        times = _take_turns(calls, CALLS, clock)
        for percent in (50, 99):
            taken = {name: _percentile(of_one, percent) * 1e3 for name, of_one in times.items()}
            plain = taken.pop("plain")
            name = f"{client}, {kind} time, p{percent}"
            yield row(
                f"a streamed call of {CHUNKS} chunks, {name}", taken["tracked"], "ms", peer=client, peer_value=plain
            )
            added = {who: value - plain for who, value in taken.items()}
            peer = _langfuse.NAME if _langfuse.NAME in added else None
            yield row(
                f"added to a streamed call, difference, {name}", added["tracked"], "ms",
                peer=peer, peer_value=added.get(_langfuse.NAME),
            )  # fmt: skip


def _measure_our_part() -> Iterator[dict[str, object]]:
    """Time our code alone in a call, without a network: what a noisy machine cannot hide."""
    from openai.types.chat import ChatCompletionChunk

    chunks = [ChatCompletionChunk.model_validate(chunk(" word")) for _ in range(LONG_CHUNKS)]
    ended = [
        ChatCompletionChunk.model_validate(chunk(finish="stop")),
        ChatCompletionChunk.model_validate(chunk(choices=[], usage=USAGE)),
    ]
    plain, tracked = [], []
    for _ in range(LONG_CALLS):
        plain.append(_time(lambda: _read(iter([*chunks, *ended])), time.thread_time))
        tracked.append(_time(lambda: _read(ingest.track_stream(iter([*chunks, *ended]))), time.thread_time))
    added = (_percentile(tracked, 50) - _percentile(plain, 50)) / LONG_CHUNKS * 1e6
    yield row("added per chunk of a stream from memory, processor time, p50", added, "µs")


def _take_turns(calls: _Calls, count: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(count + count // 10):
        for name, call in calls.items():
            taken = _time(call, clock)
            if number >= count // 10:  # the first ones warm everything up
                times[name].append(taken)
    return times


def _read(stream: Any) -> None:
    for _ in stream:
        pass


def _time(call: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    call()
    return clock() - started


def _percentile(times: list[float], percent: int) -> float:
    return sorted(times)[len(times) * percent // 100]
