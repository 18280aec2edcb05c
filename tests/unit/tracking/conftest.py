"""A process that records into memory, a server that answers as OpenAI does, and the vocabulary from a package."""

from __future__ import annotations

import gzip
import hashlib
import os
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ingest
from ingest.record import capture
from ingest.record.process import make_from_environment
from ingest.tracking import background, seen
from tests.support.openai_server import OpenAIServer
from tests.unit.record.fakes import FakeDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.record.event import Event

_MAKERS = ("OPENAI_", "AZURE_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "AWS_")
_VOCABULARY = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of tiktoken's that holds o200k_base."""
    folder = tmp_path_factory.mktemp("tiktoken")
    package = distribution("bpe-openai")  # read as a file: importing it warns
    ranks = gzip.decompress(Path(str(package.locate_file("bpe_openai/data/o200k_base.tiktoken.gz"))).read_bytes())
    (folder / hashlib.sha1(_VOCABULARY.encode()).hexdigest()).write_bytes(ranks)
    return folder


class Recorded:
    """What reaches the database.

    Attributes:
        database: The database in memory.
    """

    def __init__(self) -> None:
        self.database = FakeDatabase()

    @property
    def events(self) -> list[Event]:
        """All usage events so far."""
        assert ingest.flush(30)
        return list(self.database.usage.values())

    @property
    def event(self) -> Event:
        """The one usage event."""
        (event,) = self.events
        return event

    @property
    def requests(self) -> list[Event]:
        """All performance events so far."""
        assert ingest.flush(30)
        return list(self.database.performance.values())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vocabulary: Path) -> Path:
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "TREERING_", "ENABLE_OBSERVABILITY", *_MAKERS)):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TREERING_HOME", str(tmp_path))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(vocabulary))
    return tmp_path


@pytest.fixture
def recorded(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    monkeypatch.setattr(capture._process, "_make", make_from_environment)
    monkeypatch.setattr(capture._process, "is_off", False)
    seen.forget()  # servers of tests repeat the ids of their answers
    recorded = Recorded()
    # The server of these tests stands for every provider, those that report what they charge included.
    ingest.configure(database=recorded.database, flush_interval_s=3600, home=home, trusted_costs=["openai"])
    yield recorded
    background.settle(10)
    capture._process.stop(0, is_patient=False)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def plain(server: OpenAIServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="k", base_url=server.url, max_retries=0) as client:
        yield client


@pytest.fixture
def client(recorded: Recorded, server: OpenAIServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="k", base_url=server.url, max_retries=0) as client:
        assert recorded.database.usage == {}
        yield ingest.track(client)


MESSAGES: list[Any] = [
    {"role": "system", "content": "You are a gardener."},
    {"role": "user", "content": "How do I keep it alive?"},
]
ASK: dict[str, Any] = {"model": "gpt-4o", "messages": MESSAGES}
