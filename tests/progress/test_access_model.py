"""Random attempts of anybody, at any job, by each way in, against a model of who may see what: no leak, no clue."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from random import Random
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.test import AsyncClient

from progress.delivery import hubs
from progress.polling import waits
from progress.protocol.codes import CloseCode
from tests.progress.access_model import JOBS, NAMES, UNKNOWN, Facts, credentials, epoch_of
from tests.progress.polling import asking as polls
from tests.progress.watching import ORIGIN, Socket, bearer, run, watching

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("asked_by_hand", "unlimited")]

WHOM = (*NAMES, None)
WHAT = (*JOBS, UNKNOWN)


@pytest.fixture
def asked_by_hand(settings: Any) -> None:
    settings.PROGRESS_ACCESS_SECONDS = 60


@pytest.fixture
def unlimited(settings: Any) -> None:
    """Allow more than there are attempts: who is cut off for their number learns no answer."""
    settings.PROGRESS_MAX_MESSAGES_BURST = settings.PROGRESS_MAX_MESSAGES_PER_SECOND = 10_000
    settings.PROGRESS_MAX_MISSES_BURST = 100_000


class Attempts:
    """Whoever tries; ``said`` is the one answer that an unknown or forbidden job may get, by each way."""

    def __init__(self, facts: Facts, chance: Random, shown: dict[str, tuple[str, str]]) -> None:
        self.facts, self.chance = facts, chance
        self.shown = shown  # what each user has to show: a session, and a token
        self.said: dict[str, Any] = {}

    def ways(self) -> list[Callable[[str | None], Awaitable[None]]]:
        sockets = [self.url, self.url, self.message, self.message, self.many, self.feed, self.auth, self.stays]
        return [*sockets, self.page, self.poll, self.poll, self.wait]

    def headers(self, name: str | None) -> list[tuple[bytes, bytes]]:
        if name is None:
            return []
        session, token = self.shown[name]
        if self.facts.enters(name) and self.chance.random() < 0.5:
            return [bearer(token)]  # of one who may not enter it would be refused at once
        return [ORIGIN, (b"cookie", f"{site_settings.SESSION_COOKIE_NAME}={session}".encode())]

    def judge(self, name: str | None, job_id: str, seen: bool, way: str, answer: Any = None) -> None:
        assert seen == self.facts.sees(name, job_id), f"{name} and {job_id} by {way}: {answer} {self.facts}"
        if not seen:
            plain = json.dumps(answer, sort_keys=True).replace(job_id, "(id)")
            assert self.said.setdefault(way, plain) == plain

    def since(self, job_id: str) -> Awaitable[Any]:
        return run(epoch_of)(job_id)

    # The ways in

    async def url(self, name: str | None) -> None:
        job_id, query = self.chance.choice(WHAT), ""
        if self.chance.random() < 0.5:
            query = f"?epoch={await self.since(job_id)}&seq=0"
        async with watching(f"/progress/ws/{job_id}{query}", *self.headers(name)) as socket:
            frame = await socket.next()
            code = None if frame["type"] == "snapshot" else await socket.close_code()
        assert code in (None, CloseCode.JOB_NOT_FOUND)
        self.judge(name, job_id, code is None, "url", frame)

    async def message(self, name: str | None) -> None:
        job_id, since = self.chance.choice(WHAT), {}
        if self.chance.random() < 0.5:
            since = {"since": {"epoch": await self.since(job_id), "seq": 0}}
        async with watching("/progress/ws", *self.headers(name)) as socket:
            frame = await socket.ask(type="subscribe", job_id=job_id, **since)
        self.judge(name, job_id, frame["type"] == "snapshot", "message", frame)

    async def many(self, name: str | None) -> None:
        async with watching("/progress/ws", *self.headers(name)) as socket:
            await socket.send_json_to({"type": "subscribe", "jobs": [{"job_id": job_id} for job_id in WHAT]})
            for frame in [await socket.next() for _ in WHAT]:
                job_id = frame.get("job_id", frame.get("subject"))
                self.judge(name, job_id, frame["type"] == "snapshot", "many", frame)

    async def feed(self, name: str | None) -> None:
        async with watching("/progress/ws", *self.headers(name)) as socket:
            listed = await socket.ask(type="subscribe", feed="all")
            for job_id in WHAT:
                self.judge(name, job_id, job_id in {job["job_id"] for job in listed["jobs"]}, "feed")
            own = await socket.ask(type="subscribe", feed="mine")
            assert (own["type"] == "feed") == self.facts.enters(name)
            assert {job["job_id"] for job in own.get("jobs", ())} == self.facts.owned(name)

    async def page(self, name: str | None) -> None:
        browser, job_id = AsyncClient(), self.chance.choice(WHAT)
        if name is not None:
            browser.cookies[site_settings.SESSION_COOKIE_NAME] = self.shown[name][0]
        answer = await browser.get(f"/jobs/{job_id}/")
        assert answer.status_code in (200, 404)
        self.judge(name, job_id, answer.status_code == 200, f"page, {self.facts.enters(name)}", answer.content.decode())
        listed = (await browser.get("/")).content.decode()
        for each in WHAT:
            self.judge(name, each, each in listed, "list")

    async def poll(self, name: str | None) -> None:
        job_id, form = self.chance.choice(WHAT), self.chance.choice(("public", "private"))
        place = {"epoch": await self.since(job_id), "seq": self.chance.choice((0, 0, 7))}
        where = polls.url(job_id, self.chance.choice((None, place)), form)
        answer = await polls.Client().get(where, headers=self.headers_of_a_page(name))
        seen = answer.status_code in (HTTPStatus.OK, HTTPStatus.GONE)
        said = [answer.status_code, answer.content.decode(), str(answer.headers)]
        self.judge(name if form == "private" else None, job_id, seen, form, said)

    async def wait(self, name: str | None) -> None:
        """Wait while facts change: who may no longer see the job is told that there is none."""
        job_id, form = self.chance.choice(WHAT), self.chance.choice(("public", "private"))
        who, headers = name if form == "private" else None, self.headers_of_a_page(name)
        stands = await polls.Client().get(polls.url(job_id, form=form), headers=headers)
        said = [stands.status_code, stands.content.decode(), str(stands.headers)]
        self.judge(who, job_id, stands.status_code == HTTPStatus.OK, form, said)
        if stands.status_code != HTTPStatus.OK:
            return
        known = stands.json()
        task = await polls.waiting(polls.Client(), polls.url(job_id, known, form, wave=known["wave"] + 1), **headers)
        for _ in range(3):
            await run(self.facts.change)(self.chance)
        await hubs.current().guard.check()
        waits.current().drain()
        status = (await task).status_code
        waits.current().is_draining = False
        hidden = HTTPStatus.NOT_FOUND, HTTPStatus.UNAUTHORIZED
        assert (status not in hidden) == self.facts.sees(who, job_id), f"{who} waits for {job_id}: {status}"

    def headers_of_a_page(self, name: str | None) -> dict[str, str]:
        return {key.decode(): value.decode() for key, value in self.headers(name)}

    async def auth(self, name: str | None) -> None:
        """Become another on an open socket, which goes on with what it watched, if that other may."""
        other = self.chance.choice(NAMES)
        async with watching("/progress/ws", *self.headers(name)) as socket:
            before = [job_id for job_id in WHAT if await self._watches(socket, name, job_id)]
            await socket.send_json_to({"type": "auth", "token": self.shown[other][1]})
            answer = await socket.until("authenticated", "error")
            while answer.get("code") == "job_not_found":
                assert not self.facts.sees(other, answer["subject"])
                answer = await socket.until("authenticated", "error")
            assert (answer["type"] == "authenticated") == self.facts.enters(other)
            if answer["type"] == "authenticated":
                assert self._watched(socket) == {job_id for job_id in before if self.facts.sees(other, job_id)}
                await self._watches(socket, other, self.chance.choice(WHAT))

    async def stays(self, name: str | None) -> None:
        """Stay while facts change: what may no longer be seen has ended, and what is asked for is decided anew."""
        async with watching("/progress/ws", *self.headers(name)) as socket:
            before = [job_id for job_id in WHAT if await self._watches(socket, name, job_id)]
            there, entered, kept = set(self.facts.jobs), self.facts.enters(name), set(before)
            has_stayed = True
            for _ in range(3):
                await run(self.facts.change)(self.chance)
                # Whoever hurries the guard may have it look here, on a busy machine.
                has_stayed &= entered == self.facts.enters(name)
                kept = {job_id for job_id in kept & set(self.facts.jobs) if self.facts.sees(name, job_id)}
            await hubs.current().guard.check()
            await socket.so_far() if has_stayed else None
            if not has_stayed:
                return  # a session has ended, or begun to count again: the socket is closed, or a visitor's for good
            assert self._watched(socket) >= kept & there
            assert not {job_id for job_id in self._watched(socket) if not self.facts.sees(name, job_id)}
            await self._watches(socket, name, self.chance.choice(WHAT))

    async def _watches(self, socket: Socket, name: str | None, job_id: str) -> bool:
        await socket.send_json_to({"type": "subscribe", "job_id": job_id})
        frame = await socket.next()
        while frame.get("job_id", frame.get("subject")) != job_id:
            frame = await socket.next()
        self.judge(name, job_id, frame["type"] == "snapshot", "message", frame)
        return frame["type"] == "snapshot"

    def _watched(self, socket: Socket) -> set[str]:
        """Return what the server holds a socket to watch: there is no other open."""
        (connection,) = hubs.current().connections
        return set(connection.watched)


async def attempt(count: int, seed: int) -> None:
    chance, facts = Random(seed), Facts()
    await run(facts.begin)(chance)
    attempts = Attempts(facts, chance, {name: await run(credentials)(name) for name in NAMES})
    for _ in range(count):
        await chance.choice(attempts.ways())(chance.choice(WHOM))
        if chance.random() < 0.5:
            await run(facts.change)(chance)
    assert {"url", "message", "many", "page, True", "page, False", "public", "private"} <= attempts.said.keys(), (
        "each has refused something"
    )


async def test_attempts__leak_nothing() -> None:
    await attempt(120, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
async def test_ten_thousand_attempts__leak_nothing(seed: int) -> None:
    await attempt(2_000, seed=100 + seed)
