"""An agent of google-adk whose conversations are kept in SQLite, and go on after a restart.

The model is a stand-in that repeats what was said, so that the program needs no account anywhere.

python examples/python/adk_runner.py agents.db "Good morning" "What did I say?"
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import Runner
from google.genai import types
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.adapters.aiosqlite.adk import AiosqliteADKStore
from looplite.extensions.adk import SQLSpecSessionService


class Parrot(BaseLlm):  # type: ignore[misc]
    """Says what the user has said so far."""

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        said = [one.parts[0].text for one in llm_request.contents if one.role == "user"]
        answer = types.Part(text=f"You said: {'; '.join(said)}")
        yield LlmResponse(content=types.Content(role="model", parts=[answer]))


async def converse(config: AiosqliteConfig, words: list[str]) -> None:
    service = SQLSpecSessionService(AiosqliteADKStore(config))
    agent = LlmAgent(name="parrot", model=Parrot(model="parrot"))
    runner = Runner(app_name="talk", agent=agent, session_service=service)
    if await service.get_session(app_name="talk", user_id="ann", session_id="s1") is None:
        await service.create_session(app_name="talk", user_id="ann", session_id="s1")
    for word in words:
        message = types.Content(role="user", parts=[types.Part(text=word)])
        async for event in runner.run_async(user_id="ann", session_id="s1", new_message=message):
            print(event.content.parts[0].text)


async def main(path: str, *words: str) -> None:
    config = AiosqliteConfig(connection_config={"database": path})
    try:
        await converse(config, list(words))
    finally:
        await config.close_pool()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
