"""The code on the pages of docs/frameworks, run as it stands there with the real package.

PAGE in the environment names the page; `python -m tests.frameworks` runs this for each.
"""

from __future__ import annotations

import os
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ingest
from tests.support.openai_models import answer_as_model

if TYPE_CHECKING:
    from tests.support.openai_server import OpenAIServer
    from tests.unit.tracking.conftest import Recorded

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "frameworks"
# What each page needs beside the project's own environment.
PACKAGES = {
    "fastapi": "fastapi",
    "flask": "flask",
    "django": "django",
    "celery": "celery",
    "langchain": "langchain-openai",
    "llama-index": "llama-index-llms-openai",
    "pydantic-ai": "pydantic-ai-slim[openai]",
    "instructor": "instructor",
    "litellm": "litellm",
}
TEXT = "Water your living tree."


def use_page(page: str, server: OpenAIServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a page's code against `server`, use what it made, and return the one row."""
    server.answer = answer_as_model
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_BASE", server.url)  # as LlamaIndex and LiteLLM call it
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    # The test has configured recording; a page's own `configure()` would send to a database that is not there.
    monkeypatch.setattr(ingest, "configure", lambda: None)
    (code,) = re.findall(r"```python\n(.*?)```", (FOLDER / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)
    module = types.ModuleType(f"page_{page.replace('-', '_')}")
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    try:
        exec(compile(code, f"{page}.md", "exec", dont_inherit=True), module.__dict__)
        globals().get(f"_use_{page}", lambda _made: None)(module)
    finally:
        ingest.uninstrument()
    return dict(recorded.event)


def _use_fastapi(made: Any) -> None:
    from starlette.testclient import TestClient

    with TestClient(made.app) as client:
        answer = client.post("/chat", params={"question": "How?"}, headers={"user": "user_2abc"})
        assert client.portal is not None
        client.portal.call(made.client.close)
    assert answer.text.endswith("data: [DONE]\n\n")


def _use_flask(made: Any) -> None:
    answer = made.app.test_client().post("/chat", data={"question": "How?"}, headers={"user": "user_2abc"})
    assert answer.text == TEXT
    made.client.close()


def _use_django(made: Any) -> None:
    import openai

    def view(_request: Any) -> Any:
        messages: Any = [{"role": "user", "content": "How?"}]
        return openai.OpenAI().chat.completions.create(model="gpt-4o", messages=messages)

    from django.conf import settings
    from django.http import HttpRequest

    settings.configure()
    request = HttpRequest()
    request.path_info = "/chat"
    request.user = types.SimpleNamespace(pk="user_2abc")
    assert made.UsageMiddleware(view)(request).choices[0].message.content == TEXT


def _use_celery(made: Any) -> None:
    assert made.summarise.apply(args=("Long.", "user_2abc")).get() == TEXT


@pytest.mark.timeout(120)
def test_the_code_of_a_page_records_its_call(
    server: OpenAIServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = use_page(os.environ["PAGE"], server, recorded, monkeypatch)
    facts = event["user_id"], event["status"], event["prompt_tokens"], event["completion_tokens"]
    assert facts == ("user_2abc", "ok", 21, 5)
