"""What tests of polling share: asking as a client does, in this process."""

import asyncio
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from progress.polling import waits
from progress.polling.tap import Tap
from tests.progress.watching import ADDRESS

MINE = "0123456789abcdef"  # the client's own part of a private URL


def url(job_id: str, position: dict[str, Any] | None = None, form: str = "public", **query: Any) -> str:
    """Return the URL for what follows a position (an answer, or ``{"epoch": …, "seq": …}``), or for the snapshot."""
    parts = [f"/progress/{form}", *([MINE] if form == "private" else []), job_id]
    parts += [position["epoch"], str(position["seq"])] if position else []
    return "/".join(parts) + ("?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else "")


class Answer(NamedTuple):
    """An answer of the site."""

    status_code: int
    content: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.content)


class Client:
    """Asks the site's ASGI application, as a server has it."""

    async def get(self, where: str, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
        from progress_site.asgi import application

        path, _, query = where.partition("?")
        told = [
            (name.lower().encode(), value.encode()) for name, value in ({"Host": "localhost"} | {**headers}).items()
        ]
        scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": told}
        scope |= {"scheme": "http", "client": [ADDRESS, 50_000], "server": ["localhost", 80], "http_version": "1.1"}
        requests = [{"type": "http.request", "body": b"", "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return requests.pop() if requests else await asyncio.Future()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await application(scope, receive, send)
        names = {name.decode().title(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], b"".join(message["body"] for message in sent[1:]), names)


async def ask(client: Client, where: str, **headers: str) -> Any:
    """Ask, and return the answer's JSON, which must be one with events."""
    response = await client.get(where, headers=headers)
    assert response.status_code == 200, response.content
    return response.json()


async def waiting(client: Client, where: str, **headers: str) -> "asyncio.Task[Any]":
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
