"""The `ai` package with treering.ts stores the rows that Python's client stores for the same answers."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import openai
import psycopg
import pytest
from psycopg.rows import dict_row

import ingest
from ingest.notices import Notices
from ingest.prices.arrivals import price_arrivals
from ingest.prices.costing import Costing
from ingest.testing import recorded
from pricing import PriceBook
from tests.support import javascript
from tests.support.answers import Answered, all_answers
from tests.support.api import PUBLISHABLE_KEY, make_token
from tests.support.openai_server import OpenAIServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.doors import Door
    from tests.support.servers import TestDatabase

AI_6 = {"ai": "ai-6", "@ai-sdk/openai": "openai-for-ai-6"}

# What an answer says and costs. Ids and times are a row's own; prompts are hashed in Python only.
COMPARED = (
    "user_id, feature, environment, provider, model, operation, status, error_type, finish_reason, streamed,"
    " service_tier, prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens,"
    " audio_input_tokens, audio_output_tokens, max_output_tokens, usage_source, response_id, attempt,"
    " estimated_cost, cost_source, price_id,"
    " latency_ms is not null as is_timed, time_to_first_token_ms is not null as has_first_token"
)
# Not audio: the package keeps its tokens from `onFinish`.
FINISHED = ("plain", "cached", "reasoning", "flex", "length", "filtered", "tools", "incomplete")
COUNTED = ("prompt_tokens", "completion_tokens", "usage_source", "estimated_cost")


def rows(database: TestDatabase) -> dict[str, dict[str, Any]]:
    """The stored rows by the name of their answer."""
    with psycopg.connect(database.superuser_url, row_factory=dict_row) as connection:
        query = f"select session_id, {COMPARED} from observability_internal.ai_usage_metrics"
        found = connection.execute(query.encode()).fetchall()
    by_name = {row.pop("session_id"): row for row in found}
    assert len(by_name) == len(found)
    return by_name


def forget(database: TestDatabase) -> None:
    database.execute(
        "truncate observability_internal.ai_usage_metrics; truncate observability_internal.pending_batches"
    )


def record_in_python(answers: list[Answered]) -> list[dict[str, Any]]:
    """What Python's tracked client records of the answers, priced as on its way to the database."""
    with recorded(price=True) as events, OpenAIServer(*(answer.reply for answer in answers)) as server:
        with openai.OpenAI(api_key="k", base_url=server.url, max_retries=0) as made:
            client = ingest.track(made)
            for answer in answers:
                context = {"user_id": "user_a", "session_id": answer.name, "feature": "chat", "environment": "test"}
                with ingest.usage_context(**context), suppress(openai.APIError):
                    ask(client, answer)
        return list(events)


def ask(client: openai.OpenAI, answer: Answered) -> None:
    question = "How do I water my living tree?"
    if answer.api == "responses":
        if answer.mode == "generate":
            client.responses.create(model="gpt-4o", input=question, max_output_tokens=100)
            return
        for _ in client.responses.create(model="gpt-4o", input=question, max_output_tokens=100, stream=True):
            pass
        return
    messages: Any = [{"role": "user", "content": question}]
    if answer.mode == "generate":
        client.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=100)
        return
    with client.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=100, stream=True) as stream:
        for _ in stream:
            if answer.mode == "cancel":
                break


def record_in_typescript(
    direct: Door, runtime: javascript.Runtime, folder: Path, answers: list[Answered], **options: Any
) -> None:
    with OpenAIServer(*(answer.reply for answer in answers)) as server:
        given = {
            "openai": server.url,
            "api": direct.api.url,
            "apikey": PUBLISHABLE_KEY,
            "key": make_token(None, "treering_writer"),
            "helper": options.pop("helper", "middleware"),
            "scenarios": [{"name": answer.name, "api": answer.api, "mode": answer.mode} for answer in answers],
        }
        javascript.run(runtime, javascript.SOURCES / "answers.ts", folder, given=json.dumps(given), **options)
        assert len(server.requests) == len(answers)
    costing = Costing("gpt-4o", Notices(), PriceBook.default)
    assert price_arrivals(direct.service(), lambda: costing)[1] is False


@pytest.mark.parametrize(
    ("runtime", "packages"), [("node", None), ("node", AI_6), ("deno", None)], ids=["node", "node-ai-6", "deno"]
)
def test_every_answer_is_stored_as_python_stores_it(
    direct: Door, tmp_path: Path, runtime: javascript.Runtime, packages: dict[str, str] | None
) -> None:
    answers = all_answers()
    service = direct.service()
    assert service.call("record_usage", events=record_in_python(answers)) == len(answers)
    expected = rows(direct.database)
    forget(direct.database)

    record_in_typescript(direct, runtime, tmp_path, answers, other_packages=packages)

    stored = rows(direct.database)
    assert set(stored) == {answer.name for answer in answers}
    for name, row in stored.items():
        wanted = expected[name]
        if row["usage_source"] == "heuristic":  # Python has a tokenizer; four bytes a token are no exact match
            assert wanted["status"] in {"cancelled", "error"}
            assert abs(row["prompt_tokens"] - wanted["prompt_tokens"]) < 10
            assert 0 < row["completion_tokens"] < 5
            row, wanted = ({**one, **dict.fromkeys(COUNTED)} for one in (row, wanted))
        assert (name, row) == (name, wanted)


# What the helper for `onFinish` cannot know, for it sees the end of the whole answer only, and what the tier changes.
UNSEEN = (
    *("service_tier", "estimated_cost", "cost_source", "price_id"),
    *("max_output_tokens", "is_timed", "has_first_token"),
)


@pytest.mark.parametrize("packages", [None, AI_6], ids=["ai-7", "ai-6"])
def test_on_finish_stores_the_same_counts(direct: Door, tmp_path: Path, packages: dict[str, str] | None) -> None:
    answers = [answer for answer in all_answers() if answer.name.endswith(FINISHED)]
    assert len(answers) == 26
    direct.service().call("record_usage", events=record_in_python(answers))
    expected = rows(direct.database)
    forget(direct.database)

    record_in_typescript(direct, "node", tmp_path, answers, helper="onFinish", other_packages=packages)

    stored = rows(direct.database)
    assert set(stored) == {answer.name for answer in answers}
    for name, row in stored.items():
        assert (name, {**row, **dict.fromkeys(UNSEEN)}) == (name, {**expected[name], **dict.fromkeys(UNSEEN)})
