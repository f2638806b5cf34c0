"""A program with an agent whose model is a script: says some words of the user's, prints what the
agent answers.

    python talk.py FILE SESSION WORDS...

The agent calls a tool, which counts, in the session's state, in the user's and in the app's;
its model sees all that was said before and says how much that is. So each run shows what the
database has kept of those before it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import Any

from adk.standin import Config
from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions.base_session_service import GetSessionConfig
from google.adk.tools.tool_context import ToolContext
from google.genai import types
from looplite.adapters.aiosqlite.adk import AiosqliteADKStore
from looplite.extensions.adk import SQLSpecSessionService


def count(tool_context: ToolContext) -> dict[str, Any]:
    """Counts."""
    for key in ("count", "user:count", "app:count", "temp:count"):
        tool_context.state[key] = tool_context.state.get(key, 0) + 1
    return {"count": tool_context.state["count"]}


class Script(BaseLlm):  # type: ignore[misc]
    """Calls the tool, then answers."""

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        last = llm_request.contents[-1].parts or []
        if last and last[0].function_response:
            said = sum(
                1 for one in llm_request.contents if one.role == "user" and one.parts[0].text
            )
            number = last[0].function_response.response["count"]
            part = types.Part(text=f"You said {said}, I counted {number}.")
        else:
            part = types.Part(function_call=types.FunctionCall(name="count", args={}))
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


async def main(path: str, session_id: str, *words: str) -> None:
    async with Config(path) as config:
        service = SQLSpecSessionService(AiosqliteADKStore(config))
        agent = LlmAgent(name="counter", model=Script(model="script"), tools=[count])
        runner = Runner(app_name="talk", agent=agent, session_service=service)
        key = {"app_name": "talk", "user_id": "ann", "session_id": session_id}
        if await service.get_session(**key) is None:
            await service.create_session(**key, state={"user:count": 0, "temp:gone": 1})
        for word in words:
            message = types.Content(role="user", parts=[types.Part(text=word)])
            async for event in runner.run_async(
                user_id="ann", session_id=session_id, new_message=message
            ):
                text = event.content.parts[0].text if event.content else None
                if text:
                    print(text)
        session = await service.get_session(**key)
        print(sorted(session.state.items()))
        recent = await service.get_session(**key, config=GetSessionConfig(num_recent_events=1))
        assert [one.id for one in recent.events] == [session.events[-1].id]
        print(len(session.events), "events")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
