"""Clients that poll a public job, as the rules of docs/protocol.md say, over HTTP/1.1 connections that they keep."""

import asyncio
import json
import random
import ssl
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

WAIT_SECONDS = 45.0  # after which an answer does not come any more: the longest wait is 40


class Answer(NamedTuple):
    """One answer: its status, its headers by lower-case names, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Link:
    """One connection, which is opened when it is needed.

    Args:
        port: Where, on this machine.
        trusting: What it needs to trust the other end; None for plain HTTP.

    """

    def __init__(self, port: int, trusting: ssl.SSLContext | None = None) -> None:
        self._where: dict[str, Any] = {"host": "127.0.0.1", "port": port, "ssl": trusting}
        if trusting:
            self._where["server_hostname"] = "localhost"
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await asyncio.sleep(0)  # in which its socket is closed

    async def get(self, path: str, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
        """Ask, and return the answer.

        Raises:
            OSError, EOFError, TimeoutError: There was none.

        """
        if self._ends is None:
            self._ends = await asyncio.open_connection(**self._where)
        reader, writer = self._ends
        more = {"Host": "localhost", **headers}
        if body:
            more["Content-Length"] = str(len(body))
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in more.items()), "", ""]
        try:
            writer.write("\r\n".join(lines).encode() + body)
            async with asyncio.timeout(WAIT_SECONDS):
                answer = await _read(reader)
        except BaseException:
            self.close()
            raise
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Close it."""
        if self._ends is not None:
            self._ends[1].close()
            self._ends = None


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    if headers.get("transfer-encoding") != "chunked":
        return Answer(int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"])))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return Answer(int(head[0].split()[1]), headers, body)


class Poller:
    """Follows one public job to its end. ``seen`` are the events, by seq; ``statuses`` those of all
    answers, None where there was none."""

    def __init__(self, link: Link, job_id: str, news: asyncio.Event) -> None:
        self.link = link
        self.news = news  # which is set when one of them has some
        self.url = f"/progress/public/{job_id}"
        self.seen: list[int] = []
        self.statuses: Counter[int | None] = Counter()
        self.snapshots: list[int] = []
        self._known: Any = None

    async def follow(self) -> None:
        """Follow it."""
        try:
            while self._known is None or not self._known["end"]:
                await self._ask()
        finally:
            self.link.close()

    async def _ask(self) -> None:
        known = self._known
        wave = f"?wave={known['wave']}" if known and known["wave"] is not None else ""
        try:
            answer = await self.link.get(f"{self.url}/{known['epoch']}/{known['seq']}{wave}" if known else self.url)
            status = answer.status
        except (OSError, EOFError, TimeoutError):
            status = None
        self.statuses[status] += 1
        if status != 200:
            await asyncio.sleep(0.5 + random.random())
            return
        self._known = answer.json
        if known is None:
            self.snapshots.append(self._known["seq"])
        self.seen += [event["seq"] for event in self._known["events"] if event["type"] == "progress"]
        self.news.set()


class Pollers:
    """Many of them, who watch while a block runs."""

    def __init__(self, links: list[Link], job_id: str) -> None:
        self.news = asyncio.Event()
        self.each = [Poller(link, job_id, self.news) for link in links]
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, groups: int, pause: float) -> None:
        """Have them begin, so many groups one after another, with so many seconds between."""
        for number in range(groups):
            self._tasks += [asyncio.create_task(poller.follow()) for poller in self.each[number::groups]]
            await asyncio.sleep(pause)

    async def until(self, seq: int) -> None:
        """Wait until each has begun and seen an event, or a snapshot from then on."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not all(max(each.seen + each.snapshots, default=0) >= seq for each in self.each):
                self.news.clear()
                await self.news.wait()

    async def finished(self) -> None:
        """Wait until each has seen the end."""
        await asyncio.wait_for(asyncio.gather(*self._tasks), WAIT_SECONDS)

    def leave(self) -> None:
        """Have those go who still watch."""
        for task in self._tasks:
            task.cancel()

    def check(self, last: int) -> None:
        """Check that each has seen every event after its snapshot once, and in order."""
        for each in self.each:
            (first,) = each.snapshots
            assert each.seen == list(range(first + 1, last + 1)), each.statuses
