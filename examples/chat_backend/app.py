"""The backend: `uvicorn examples.chat_backend.app:make_app --factory`.

Settings: `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `CHAT_MODEL` and those of Treering (README).
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel, Field

from ingest import PerformanceMiddleware, aflush, configure, stream_sse, track, usage_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

SYSTEM = "You help people to look after their living tree."


class Question(BaseModel):
    """What the browser sends.

    Attributes:
        session_id: The conversation.
        text: The question.
    """

    session_id: Annotated[str, Field(max_length=100)]
    text: Annotated[str, Field(min_length=1, max_length=4000)]


def signed_in_user(authorization: Annotated[str, Header()] = "") -> str:
    """Return who asks.

    A real backend verifies Clerk's session token here (its `sub` is `user_…`); this one takes the id as the token.
    """
    user_id = authorization.removeprefix("Bearer ")
    if not user_id.startswith("user_"):
        raise HTTPException(401, "sign in first")
    return user_id


def user_of_scope(scope: MutableMapping[str, Any]) -> str | None:
    """Tell the middleware who asked."""
    user_id = scope.get("state", {}).get("user_id")
    return user_id if isinstance(user_id, str) else None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start recording with the process, and give the last events time to leave."""
    configure()
    async with AsyncOpenAI() as client:
        app.state.client = track(client, feature="chat")
        yield
    await aflush(5)


def make_app() -> FastAPI:
    """Build the application."""
    app = FastAPI(lifespan=lifespan)
    app.add_middleware(PerformanceMiddleware, user_id=user_of_scope)

    @app.post("/chat")
    async def answer(
        request: Request, question: Question, user_id: Annotated[str, Depends(signed_in_user)]
    ) -> StreamingResponse:
        request.state.user_id = user_id
        with usage_context(user_id=user_id, session_id=question.session_id):
            stream = await request.app.state.client.chat.completions.create(
                model=os.environ.get("CHAT_MODEL", "gpt-4o"),
                messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": question.text}],
                stream=True,
            )
            return StreamingResponse(stream_sse(stream), media_type="text/event-stream")

    return app
