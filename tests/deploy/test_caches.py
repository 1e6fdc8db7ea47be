"""Public polls behind the caches of deploy/: two servers, and many who watch one job.

Requests at the application are counted in its own access log.
"""

import asyncio
import contextlib
import itertools
import os
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from progress.polling.windows import WINDOW_MS
from tests.crowd import WORKER
from tests.deploy.conftest import two_servers
from tests.deploy.pollers import Answer, Link, Pollers
from tests.installation import Served, Site, finish
from tests.ports import free_port
from tests.proxies import CACHES, Proxy, proxy
from tests.sampling import first_quick

WATCHERS, GROUPS = 100, 5
RATE, EVENTS = 8, 24  # a second; in all, at the least
KEPT_SECONDS = 2.1  # of what may be kept for a second: nginx counts whole ones, and keeps it for up to two
POSITION = re.compile(r'"GET /progress/public/[^/ ]+/')

# Has jobs that run, or gives them another event.
JOB = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
for job_id in sys.argv[1:]:
    if ProcessingJob.objects.filter(pk=job_id).exists():
        ProcessingJobLifecycle(job_id).mark_progress(50)
        ProcessingJobLifecycle(job_id).mark_progress(60)
    else:
        ProcessingJobLifecycle.create(job_id, public=True).mark_started()
"""
HIDE = 'from jobs.lifecycle import ProcessingJobLifecycle as L; L("job-1").edit(public=False)'
SECRETS = """
import sys
from django.contrib.auth.models import User
from jobs.lifecycle import ProcessingJobLifecycle
from progress.identity.tokens import issue_token
for name in sys.argv[1:]:
    owner = User.objects.create_user(name)
    ProcessingJobLifecycle.create(f"of-{name}", name=f"secret of {name}", owner=owner).mark_started()
    print(issue_token(owner))
"""
TICK = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
for name in sys.argv[1:]:
    ProcessingJobLifecycle(f"of-{name}").mark_progress(50, message=f"secret of {name}")
"""

# It keeps everything for a minute, whatever the answer says, gives it to whoever asks, and has all others wait.
COLLAPSING = """
{user}
pid {here}/pid;
events {{ }}
http {{
    {temporary}
    access_log off;
    proxy_cache_path {here}/kept keys_zone=all:1m;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://unix:{here}/1.sock;
            proxy_set_header Host $http_host;
            proxy_cache all;
            proxy_cache_key $request_uri;
            proxy_cache_valid any 60s;
            proxy_ignore_headers Cache-Control Expires Set-Cookie Vary X-Accel-Expires;
            proxy_cache_lock on;
            proxy_cache_lock_timeout 60s;
            proxy_cache_lock_age 60s;
        }}
    }}
}}
"""

# What one client may send, and what an answer is not to depend on.
UNUSUAL: list[tuple[dict[str, str], bytes]] = [
    ({"Cookie": "sessionid=x", "Authorization": "Bearer nonsense", "Origin": "https://elsewhere.example"}, b""),
    ({"Accept-Encoding": "gzip, br", "Accept-Language": "de", "Accept": "text/html"}, b""),
    ({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}, b""),
    ({"Range": "bytes=0-3"}, b""),
    ({"If-None-Match": "*", "If-Modified-Since": "Fri, 27 Nov 2026 00:00:00 GMT"}, b""),
    ({"X-HTTP-Method-Override": "DELETE", "X-Forwarded-Host": "elsewhere.example", "X-Forwarded-For": "nonsense"}, b""),
    ({}, b"x" * 1000),
]
PROXY_SECONDS = 3.0  # between two restarts, for a proxy to notice; as docs/deployment.md has it


class Collapsing(Proxy):
    """The nginx that no site should have."""

    program = "nginx"
    command = ("{program}", "-e", "{here}/collapsing.error", "-c", "{config}", "-g", "daemon off;")

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.log, self.config = folder / "collapsing.log", folder / "collapsing.conf"
        user = "user root;" if os.getuid() == 0 else ""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{each}_temp_path {folder}/{each};" for each in kinds)
        self.config.write_text(COLLAPSING.format(here=folder, port=self.port, temporary=temporary, user=user))


@pytest.fixture(params=CACHES)
def cache(request: pytest.FixtureRequest, folder: Path) -> Iterator[Proxy]:
    started = proxy(request.param, folder).start()
    yield started
    started.close()


class Behind:
    """What is behind a cache: two servers of a site, and how often they are asked."""

    def __init__(self, site: Site, folder: Path, **settings: str) -> None:
        self.site = site
        self.log = folder / "access.log"
        self.servers = two_servers(site, folder, "--access-log", str(self.log), **settings)

    def asked(self, what: re.Pattern[str] = POSITION) -> int:
        """Return how often they were asked for something."""
        return len(what.findall(self.log.read_text()))


def link_to(cache: Proxy) -> Link:
    return Link(cache.port, cache.trusting if cache.url.startswith("https") else None)


@asynccontextmanager
async def watched(behind: Behind, cache: Proxy, rate: float = RATE) -> AsyncIterator[Pollers]:
    """Give those who watch a job that reports all the time; at the end, each must have seen every event once."""
    worker = behind.site.start_worker(WORKER, str(rate))
    assert worker.stdout is not None
    assert await asyncio.to_thread(worker.stdout.readline) == "started\n"
    pollers = Pollers([link_to(cache) for _ in range(WATCHERS)], "job-1")
    try:
        yield pollers
        await asyncio.to_thread(finish, worker)
        await pollers.finished()
    finally:
        pollers.leave()
    pollers.check(behind.site.job("job-1")["seq"])


async def test_event__is_asked_for_once_however_many_watch(sqlite_site: Site, folder: Path, cache: Proxy) -> None:
    behind = Behind(sqlite_site, folder)
    async with watched(behind, cache) as pollers:
        await pollers.come(GROUPS, 0.5)
        await pollers.until(EVENTS)
    assert {status for each in pollers.each for status in each.statuses} == {200}
    assert EVENTS / 2 < behind.asked() <= 1.1 * sqlite_site.job("job-1")["seq"]


@pytest.mark.slow
async def test_quiet_job__is_asked_for_once_a_window(sqlite_site: Site, folder: Path, cache: Proxy) -> None:
    behind = Behind(sqlite_site, folder)
    async with watched(behind, cache, rate=0.001) as pollers:
        await pollers.come(1, 1.25 * WINDOW_MS / 1000)
        assert behind.asked() <= 3  # windows that the two have touched
        pollers_asked = sum(each.statuses[200] for each in pollers.each)
        assert pollers_asked <= WATCHERS * 4  # nor is anybody answered again and again


@pytest.mark.parametrize("cache", first_quick(CACHES), indirect=True)
@pytest.mark.slow
async def test_servers_that_are_killed_and_come_back__cost_nobody_an_event(
    sqlite_site: Site, folder: Path, cache: Proxy
) -> None:
    behind = Behind(sqlite_site, folder)
    async with watched(behind, cache) as pollers:
        await pollers.come(1, 0)
        await pollers.until(5)
        for served in behind.servers:
            served.kill()
        await asyncio.gather(*(asyncio.to_thread(served.start) for served in behind.servers))
        await pollers.until(behind.site.job("job-1")["seq"])
    assert behind.asked() <= 1.1 * sqlite_site.job("job-1")["seq"]


@pytest.mark.slow
async def test_servers_that_are_restarted_one_by_one__are_not_noticed(
    sqlite_site: Site, folder: Path, cache: Proxy
) -> None:
    behind = Behind(sqlite_site, folder)
    async with watched(behind, cache) as pollers:
        await pollers.come(1, 0)
        for served in behind.servers:
            await pollers.until(behind.site.job("job-1")["seq"])
            assert await asyncio.to_thread(served.stop) == 0
            await asyncio.to_thread(served.start)
            await asyncio.sleep(PROXY_SECONDS)
        await pollers.until(behind.site.job("job-1")["seq"])
    assert {status for each in pollers.each for status in each.statuses} == {200}


@pytest.mark.slow
async def test_answer__is_kept_no_longer_than_it_says(sqlite_site: Site, folder: Path, cache: Proxy) -> None:
    behind = Behind(sqlite_site, folder, PROGRESS_MAX_WAITS_PER_JOB="1", PROGRESS_PAGE_SECONDS="1")
    sqlite_site.worker(JOB, "job-1")
    async with link_to(cache) as asking:
        await servers_are_found(asking)
        stands = (await asking.get("/progress/public/job-1")).json
        ahead = f"/progress/public/job-1/{stands['epoch']}/{stands['seq'] + 1}"
        wait = f"/progress/public/job-1/{stands['epoch']}/{stands['seq']}?wave={stands['wave'] + 1}"
        assert (await asking.get(ahead)).status == 410
        assert (await asking.get("/progress/public/job-2")).status == 404
        waits = [await one_that_waits(served, wait) for served in behind.servers]
        assert (await asking.get(wait)).status == 429

        sqlite_site.worker(JOB, "job-1", "job-2")
        assert [(await each).status for each in waits] == [200, 200]
        await asyncio.sleep(KEPT_SECONDS)
        asking.close()  # Varnish closes those that say nothing for five seconds
        for where in (ahead, "/progress/public/job-2", wait):
            assert (await asking.get(where)).status == 200, where

        for served in behind.servers:
            served.kill()
        asking.close()
        assert (await asking.get("/progress/public/job-2?n=1")).status in (502, 503)
        sqlite_site.worker(HIDE)
        await asyncio.gather(*(asyncio.to_thread(served.start) for served in behind.servers))
        await asyncio.sleep(KEPT_SECONDS)
        asking.close()
        assert (await asking.get("/progress/public/job-2?n=1")).status == 200
        for where in (ahead, wait):
            assert (await asking.get(where)).status == 404, where


async def servers_are_found(asking: Link) -> None:
    """Wait until the cache asks the servers: Varnish looks once a second whether they are there."""
    for number in itertools.count():
        if (await asking.get(f"/progress/public/unknown?n={number}")).status == 404:
            return
        await asyncio.sleep(0.1)  # nothing else tells


async def once(served: Served, where: str) -> Answer:
    async with Link(served.port) as link:
        return await link.get(where)


async def one_that_waits(served: Served, where: str) -> "asyncio.Task[Answer]":
    """Take the one place of a server; of two who ask, the other is refused."""
    both = [asyncio.create_task(once(served, where)) for _ in range(2)]
    (refused,), (waits,) = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    assert refused.result().status == 429
    return waits


@pytest.mark.slow
async def test_request_of_one_client__does_not_change_what_others_get(
    sqlite_site: Site, folder: Path, cache: Proxy
) -> None:
    sqlite_site.worker(JOB, "job-1", "job-2")
    behind = Behind(sqlite_site, folder)
    async with link_to(cache) as asking, Link(behind.servers[0].port) as direct:
        await servers_are_found(asking)
        for number, (headers, body) in enumerate(UNUSUAL):
            where = f"/progress/public/job-1?n={number}"
            with contextlib.suppress(EOFError):  # what can't be one of HTTP's may have no answer
                first = await asking.get(where, body, headers)
                assert first.status in (200, 206, 400), headers
            asking.close()
            answer, plain = await asking.get(where), await direct.get(where)
            assert (answer.status, answer.json["seq"]) == (200, plain.json["seq"]), headers
            assert not {"vary", "set-cookie", "etag", "content-encoding"} & answer.headers.keys(), headers
        await asking.get("/progress/public/x/../job-2")
        asking.close()
        assert (await asking.get("/progress/public/job-2")).json["events"][0]["job_id"] == "job-2"


@pytest.mark.slow
async def test_private_job__stays_its_owners_even_behind_a_cache_that_gives_everything_to_everybody(
    sqlite_site: Site, folder: Path
) -> None:
    proxy("nginx", folder)
    names = [f"user{number}" for number in range(12)]
    tokens = dict(zip(names, sqlite_site.worker(SECRETS, *names).split(), strict=True))
    behind = Behind(sqlite_site, folder)
    collapsing = Collapsing(folder).start()
    try:
        everybody = [asyncio.create_task(snoop(collapsing, name, tokens[name], names)) for name in names]
        await asyncio.sleep(1)  # by when they have come to wait; those who have not yet see the same later
        await asyncio.to_thread(sqlite_site.worker, TICK, *names)
        for name, seen in zip(names, await asyncio.gather(*everybody), strict=True):
            assert seen == {f"secret of {name}"}
        # It does give what it has to everybody: all of them have asked for each of these.
        assert behind.asked(re.compile(r'"GET /progress/public/of-user0"')) == 1
    finally:
        collapsing.close()


async def snoop(collapsing: Proxy, name: str, token: str, names: list[str]) -> set[str]:
    """Ask for everybody's job in each form, follow one's own to its first event, and return all secrets seen."""
    seen = b""
    mine, bearer = f"/progress/private/{random.randbytes(8).hex()}", {"Authorization": f"Bearer {token}"}
    async with Link(collapsing.port) as link:
        for other in random.sample(names, len(names)):
            for form in ("public", mine.removeprefix("/progress/")):
                headers = bearer if random.random() < 0.9 or form != "public" else {}
                seen += (await link.get(f"/progress/{form}/of-{other}", headers=headers)).body
        known = (await link.get(f"{mine}/of-{name}", headers=bearer)).json
        while known["events"][:1] == [] or known["events"][0]["type"] != "progress":
            where = f"{mine}/of-{name}/{known['epoch']}/{known['seq']}?wave={known['wave']}"
            answer = await link.get(where, headers=bearer)
            known, seen = answer.json, seen + answer.body
    return set(re.findall(r"secret of \w+", seen.decode()))
