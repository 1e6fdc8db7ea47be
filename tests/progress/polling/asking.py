"""What tests of polling share: asking as a client does, in this process."""

import asyncio
from typing import Any

from django.test import AsyncClient

from progress.polling import waits
from progress.polling.tap import Tap

MINE = "0123456789abcdef"  # the client's own part of a private URL


def url(job_id: str, position: dict[str, Any] | None = None, form: str = "public", **query: Any) -> str:
    """Return the URL for what follows a position (an answer, or ``{"epoch": …, "seq": …}``), or for the snapshot."""
    parts = [f"/progress/{form}", *([MINE] if form == "private" else []), job_id]
    parts += [position["epoch"], str(position["seq"])] if position else []
    return "/".join(parts) + ("?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else "")


async def ask(client: AsyncClient, where: str, **headers: str) -> Any:
    """Ask, and return the answer's JSON, which must be one with events."""
    response = await client.get(where, headers=headers)
    assert response.status_code == 200, response.content
    return response.json()


async def waiting(client: AsyncClient, where: str, **headers: str) -> "asyncio.Task[Any]":
    """Return the task of a request that waits by now; its result is the response."""
    before = waits.current()._waiting.total()
    task = asyncio.ensure_future(client.get(where, headers=headers))
    await all_wait(before + 1)
    return task


def taps(here: waits.Waits) -> list[Tap]:
    return [*here._public.values(), *here._own]


async def all_wait(count: int) -> None:
    """Return once so many wait, and what they rest on has begun."""
    here = waits.current()
    async with asyncio.timeout(10):
        while here._waiting.total() != count or not all(tap.has_begun for tap in taps(here)):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def seqs(answer: Any) -> list[int]:
    return [event["seq"] for event in answer["events"]]
