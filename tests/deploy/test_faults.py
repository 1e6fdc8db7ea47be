"""Behind each proxy: it reads its file again, a server drains, is killed, or stands still; nobody misses anything.

Two servers on one Redis and one PostgreSQL; those who watch do so by `progress.client.connection.watch`, with its usual
patience.
"""

import asyncio
import http.client
import select
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest

from progress.client import connection
from tests.conftest import MakeSite
from tests.crowd import WORKER, CountingCursor, Crowd
from tests.installation import Served, finish
from tests.proxies import Proxy

WATCHERS, RATE = 12, 50  # behind each proxy; events a second
WATCHDOG_SECONDS = 1.5  # without a sign of life, after which a server is killed; deploy/progress@.service has 10
FOUND = {"haproxy": "progress/progress-1 is DOWN", "caddy": '"msg":"HTTP request failed"'}
BACK_SECONDS = 5.0  # in which everybody is back; 3 where nobody else works on this machine


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "Cursor", CountingCursor)


@asynccontextmanager
async def watched(servers: list[Served], *proxies: Proxy) -> AsyncIterator[list[Crowd]]:
    """Give those who watch a job that reports all the time; at its end, hold what each has seen against its log."""
    site = servers[0].site
    worker = site.start_worker(WORKER, str(RATE))
    assert worker.stdout is not None
    assert await asyncio.to_thread(worker.stdout.readline) == "started\n"
    async with AsyncExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("SSL_CERT_FILE", str(proxies[0].certificate))  # where clients look for whom to trust
        crowds = [await stack.enter_async_context(Crowd(each.ws_url, WATCHERS)) for each in proxies]
        yield crowds
        await asyncio.to_thread(finish, worker)
        await asyncio.gather(*(crowd.finished() for crowd in crowds))
    last = site.job("job-1")["seq"]
    for program, crowd in zip([each.program for each in proxies], crowds, strict=True):
        assert {watcher.seen[-1][1] for watcher in crowd.watchers} == {last}, program
        assert [watcher.missing for watcher in crowd.watchers] == [0] * WATCHERS, program
        assert crowd.refusals() == [], program
    assert CountingCursor.doubled == 0


async def statuses(asked: Proxy, pages: int) -> set[int]:
    """Return the statuses of so many pages, one after the other, each on a connection of its own."""
    return await asyncio.to_thread(lambda: {_status(asked) for _ in range(pages)})


def _status(asked: Proxy) -> int:
    with closing(http.client.HTTPSConnection("localhost", asked.port, timeout=20, context=asked.trusting)) as page:
        page.request("GET", "/jobs/job-1/")
        return page.getresponse().status


async def test_reload_drain_and_kill__behind_all_proxies_at_once(
    cluster: list[Served], all_proxies: list[Proxy]
) -> None:
    first, second = cluster
    async with watched(cluster, *all_proxies) as crowds:
        for fault in (lambda: reload(all_proxies), first.stop, first.start, second.kill):
            pages = [asyncio.create_task(statuses(each, 5)) for each in all_proxies]
            await asyncio.to_thread(fault)
            assert await asyncio.gather(*pages) == [{200}] * len(all_proxies)
        for crowd in crowds:
            assert await crowd.back(2) < BACK_SECONDS


def reload(proxies: list[Proxy]) -> None:
    for each in proxies:
        each.reload()


@pytest.mark.slow
async def test_reload__nobody_is_refused(cluster: list[Served], before: Proxy) -> None:
    async with watched(cluster, before) as (crowd,):
        pages = asyncio.create_task(statuses(before, 30))
        await asyncio.to_thread(before.reload)
        assert await pages == {200}
        if before.program == "caddy":  # which closes them
            assert await crowd.back(WATCHERS) < BACK_SECONDS
        else:
            assert crowd.lost() == 0


@pytest.mark.slow
async def test_drain__the_other_server_takes_all(cluster: list[Served], before: Proxy) -> None:
    async with watched(cluster, before) as (crowd,):
        pages = asyncio.create_task(statuses(before, 30))
        assert await asyncio.to_thread(cluster[0].stop) == 0
        assert await crowd.back(1) < BACK_SECONDS
        assert await pages == {200}
        assert {why for each in crowd.watchers for why in each.losses} == {"the server is going away"}


@pytest.mark.slow
async def test_kill__the_other_server_takes_all(cluster: list[Served], before: Proxy) -> None:
    async with watched(cluster, before) as (crowd,):
        await asyncio.to_thread(cluster[0].kill)
        assert await statuses(before, 10) == {200}
        assert await crowd.back(1) < BACK_SECONDS


@pytest.fixture
def watchdog(folder: Path) -> Iterator[socket.socket]:
    """Where the service manager listens for the first server's signs of life."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"{folder}/notify")
        yield receiver


@pytest.mark.slow
async def test_freeze__the_watchdog_ends_it_and_the_other_server_takes_all(
    make_site: MakeSite, folder: Path, watchdog: socket.socket, made: Proxy
) -> None:
    site = make_site("postgres+redis")
    told = {"NOTIFY_SOCKET": f"{folder}/notify", "WATCHDOG_USEC": f"{WATCHDOG_SECONDS * 1_000_000:.0f}"}
    first = site.serve("-u", f"{folder}/1.sock", "--proxy-headers", **told)
    second = site.serve("-u", f"{folder}/2.sock", "--proxy-headers")
    with closing(made.start()):
        async with watched([first, second], made) as (crowd,):
            first.signal(SIGSTOP)
            pages = [asyncio.create_task(statuses(made, 1)) for _ in range(8)]
            await asyncio.to_thread(watch_over, first, watchdog)
            assert await asyncio.gather(*pages) == [{200}] * 8
            assert await crowd.back(1) < BACK_SECONDS


def watch_over(served: Served, notifications: socket.socket) -> None:
    """Kill a server that gives no sign of life for too long, as systemd does."""
    while select.select([notifications], [], [], WATCHDOG_SECONDS)[0]:
        notifications.recv(100)
    served.signal(SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("made", ["haproxy", "caddy"], indirect=True)
async def test_freeze__found_by_the_health_check_without_a_watchdog(cluster: list[Served], before: Proxy) -> None:
    cluster[0].site.worker('from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("job-1", public=True)')
    cluster[0].signal(SIGSTOP)
    try:
        await asyncio.to_thread(before.wait_for_log, FOUND[before.program])
        assert await statuses(before, 40) == {200}
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("SSL_CERT_FILE", str(before.certificate))
            async with asyncio.timeout(BACK_SECONDS), Crowd(before.ws_url, 40) as crowd:
                assert crowd.lost() == 0
    finally:
        cluster[0].signal(SIGCONT)
