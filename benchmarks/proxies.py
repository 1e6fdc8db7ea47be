"""500 watchers behind nginx, HAProxy and Caddy: a reload, a drain and a kill refuse nobody, and all are back in 3 s.

The files of deploy/, each before two servers on one PostgreSQL and one Redis; a job of ten events a second; watchers by
`progress.client.connection.watch` over TLS, all in one process. «Reload»: the proxy reads its file again, as on a new
certificate. «Drain»: one server gets SIGTERM, and is started again. «Kill»: the other, which has all the watchers by
then, gets SIGKILL. The figure is the longest time for which any watcher was away, its own pause of half a second to
one included. One event missing or doubled, or one 502, 503 or 504, fails the benchmark.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from benchmarks import site
from benchmarks.harness import Lost
from benchmarks.options import Options
from benchmarks.results import Ratio, Result, Row
from progress.client import connection
from tests.crowd import WORKER, CountingCursor, Crowd
from tests.installation import Served, Site, finish
from tests.proxies import PROGRAMS, Proxy, installed, proxy

WATCHERS, RATE = 500, 10
BACK_SECONDS = 3.0  # the target
LATE_SECONDS = 1.0  # after a reload, in which a connection that it costs is lost
TITLE = "500 watchers behind each proxy: a reload, a drain, a kill"
FAULTS = ("reload", "drain", "kill")


def measure(options: Options) -> Result:
    """Run each proxy in turn."""
    result = Result("proxies", TITLE)
    watchers, times = (50, 1) if options.is_quick else (WATCHERS, min(options.rounds, 3))
    with site.redis_and_postgres(result) as urls:
        if urls is None:
            return result
        redis_url, database_url = urls
        place = site.installed(options.folder / "proxies", database_url, redis_url, DJANGO_ALLOWED_HOSTS="localhost")
        for program in filter(installed, PROGRAMS):
            folders = [options.folder / f"{program}-{number}" for number in range(times)]
            rounds = [_round(place, program, watchers, folder) for folder in folders]
            for fault in FAULTS:
                _add(result, f"{program}, {fault}", [found[fault] for found in rounds])
    if watchers != WATCHERS:
        result.remarks.append(f"A quick run, with {watchers} watchers.")
    return result


def _add(result: Result, name: str, found: list[tuple[float, int]]) -> None:
    seconds = [away for away, _ in found]
    result.rows.append(Row(name, seconds, "s", f"{max(lost for _, lost in found)} connections lost"))
    result.ratios.append(Ratio(f"{name}: all back", max(seconds), BACK_SECONDS, at_least=False, unit="s"))


def _round(place: Site, program: str, watchers: int, folder: Path) -> dict[str, tuple[float, int]]:
    """Return, for each fault, how long the longest was away, and how many connections were lost."""
    folder.mkdir()
    place.worker("from jobs.models import ProcessingJob; ProcessingJob.objects.filter(pk='job-1').delete()")
    with contextlib.ExitStack() as stack:
        stack.callback(place.close)
        servers = [place.serve("-u", f"{folder}/{number}.sock", "--proxy-headers") for number in (1, 2)]
        front = stack.enter_context(contextlib.closing(proxy(program, folder).start()))
        stack.enter_context(mock.patch.dict(os.environ, SSL_CERT_FILE=str(front.certificate)))
        stack.enter_context(mock.patch.object(connection, "Cursor", CountingCursor))
        return asyncio.run(_faults(front, servers, watchers))


async def _faults(front: Proxy, servers: list[Served], watchers: int) -> dict[str, tuple[float, int]]:
    first, second = servers
    worker = first.site.start_worker(WORKER, str(RATE))
    assert worker.stdout is not None
    await asyncio.to_thread(worker.stdout.readline)
    found = {}
    async with Crowd(front.ws_url, watchers) as crowd:
        found["reload"] = await _away(crowd, front.reload, 0)
        found["drain"] = await _away(crowd, first.stop, 1)
        await asyncio.to_thread(first.start)
        found["kill"] = await _away(crowd, second.kill, watchers)
        await asyncio.to_thread(finish, worker)
        await crowd.finished()
    missing = sum(watcher.missing for watcher in crowd.watchers)
    if missing or CountingCursor.doubled:
        raise Lost(f"{front.program}: {missing} events missing, {CountingCursor.doubled} doubled")
    return found


async def _away(crowd: Crowd, fault: Callable[[], object], losses: int) -> tuple[float, int]:
    crowd.forget()
    await asyncio.to_thread(fault)
    await asyncio.sleep(LATE_SECONDS)
    longest = await crowd.back(losses)
    if refusals := crowd.refusals():
        raise Lost(f"the proxy said {len(refusals)} times that there is no server: {set(refusals)}")
    return longest, crowd.lost()
