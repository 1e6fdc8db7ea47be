"""Asking again who may see what: at most 2 queries a second and 1 % of a core; 5 % where each socket has its own user.

5,000 idle sockets, each of which watches a job that its user owns, on PostgreSQL and Redis; of 1, 50 and 5,000 users,
of whom each fiftieth is of the staff. Each is measured with the question every 3.5 seconds and with one a minute, which
no window contains: the difference is what it costs. Meanwhile one more socket sends a ping now and then.
"""

import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import psycopg

from benchmarks import harness, site, websocket
from benchmarks.harness import CLIENT_CORE
from benchmarks.latency import percentile
from benchmarks.load import PARALLEL
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Ratio, Result, Row
from tests.installation import Site

SOCKETS = 5_000
USERS = {1: 1.0, 50: 1.0, 5_000: 5.0}  # and the most that the question may take, in percent of a core
QUERIES_A_SECOND = 2.0
PERIOD, NEVER = "3.5", "60"  # PROGRESS_ACCESS_SECONDS
SETTLE_SECONDS = 12.0  # before a window: after the first checks, which ask about few and decode each session
PING_SECONDS = 0.06  # within what a client may send
TITLE = "5,000 idle sockets: asking again who may see what"

MAKE = """
import sys
from datetime import timedelta
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone
from jobs.models import ProcessingJob

count = int(sys.argv[1])
names = [f"user-{number}" for number in range(count)]
User.objects.bulk_create(User(username=name, password="same", is_staff=n % 50 == 49) for n, name in enumerate(names))
users = list(User.objects.filter(username__in=names).order_by("pk"))
for user in users:
    if user.is_staff:
        user.user_permissions.add(Permission.objects.get(codename="view_processingjob"))
owners = {user: None if user.is_staff else user for user in users}  # whom the staff see by their permission alone
ProcessingJob.objects.bulk_create(ProcessingJob(id=f"job-{n}", owner=owners[user]) for n, user in enumerate(users))
store, rows = SessionStore(), []
for number, user in enumerate(users):
    data = {SESSION_KEY: str(user.pk), HASH_SESSION_KEY: user.get_session_auth_hash()}
    data[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    expires = timezone.now() + timedelta(days=1)
    rows.append(Session(session_key=f"session-{number:020}", session_data=store.encode(data), expire_date=expires))
Session.objects.bulk_create(rows)
"""


def measure(options: Options) -> Result:
    """Measure each number of users with the question and without, on fresh servers, in turn."""
    result = Result("access", TITLE)
    with site.redis_and_postgres(result) as urls:
        if urls is None:
            return result
        redis_url, database_url = urls
        sockets = 500 if options.is_quick else SOCKETS
        for users, allowed in USERS.items():
            if users > sockets:
                continue
            with _database(database_url, f"access_{users}") as url:
                place = site.installed(options.folder / f"users-{users}", url, redis_url)
                place.worker(MAKE, str(users))
                asked = [_window(place, users, sockets, PERIOD, options) for _ in range(min(options.rounds, 3))]
                without = [_window(place, users, sockets, NEVER, options) for _ in range(min(options.rounds, 3))]
            _add(result, users, allowed, asked, without)
    return result


def _add(
    result: Result, users: int, allowed: float, asked: list[dict[str, float]], without: list[dict[str, float]]
) -> None:
    name = f"{users:,} users" if users > 1 else "1 user"
    pairs = list(zip(asked, without, strict=True))
    cost = Row(f"{name}, the question", [one["core"] - other["core"] for one, other in pairs], "% of a core")
    queries = Row(f"{name}, its queries", [one["queries"] - other["queries"] for one, other in pairs], "queries/s")
    result.rows += [cost, queries]
    for what, windows in ("with it", asked), ("without", without):
        result.rows.append(Row(f"{name}, a ping {what}, p99", [each["p99"] for each in windows], "ms"))
        result.rows.append(Row(f"{name}, a ping {what}, slowest", [each["slowest"] for each in windows], "ms"))
    result.ratios.append(Ratio(f"{name}, the question", cost.median, allowed, at_least=False, unit="% of a core"))
    a_second = Ratio(f"{name}, its queries", queries.median, QUERIES_A_SECOND, at_least=False, unit="queries/s")
    result.ratios.append(a_second)


def _window(place: Site, users: int, sockets: int, period: str, options: Options) -> dict[str, float]:
    """Return what a server with idle sockets does in a while."""
    seconds = 5.0 if options.is_quick else 45.0
    peer = catalogue.ours({**place.env, "PROGRESS_ACCESS_SECONDS": period})
    with harness.serving(peer, options.folder) as server:
        plan = {"port": server.port, "users": users, "sockets": sockets, "seconds": seconds}
        watchers = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.access", json.dumps(plan)],
            cwd=harness.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: harness.settle([CLIENT_CORE]),
        )
        assert watchers.stdout
        if not watchers.stdout.readline():
            raise RuntimeError("the watchers did not come")
        time.sleep(SETTLE_SECONDS)
        before, cpu, began = _queries(place), server.cpu(), time.monotonic()
        rtts, _ = watchers.communicate("go\n")
        if watchers.returncode:
            raise harness.Lost("a watcher was closed who may see what it watches")
        took = time.monotonic() - began
        used, queries = server.cpu() - cpu, _queries(place) - before
    pings = sorted(1e3 * rtt for rtt in json.loads(rtts))
    figures = {"core": 100 * used / took, "queries": queries / took}
    return {**figures, "p99": percentile(pings, 99), "slowest": pings[-1]}


def _queries(place: Site) -> int:
    """Return how many transactions a database has had, each of which is a query of ours."""
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        statement = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        return int(connection.execute(statement).fetchone()[0])


@contextlib.contextmanager
def _database(url: str, name: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


# The watchers, in a process of their own


async def _watch(plan: dict[str, Any]) -> None:
    places = asyncio.Semaphore(PARALLEL)
    idle = [asyncio.ensure_future(_open(places, plan, number)) for number in range(plan["sockets"])]
    for opened in asyncio.as_completed(idle):
        made = await opened
        asyncio.get_running_loop().add_reader(made, _answer, made)
    print("there", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps(await _pings(await _open(places, plan, 0), plan["seconds"])), flush=True)


def _answer(idle: Any) -> None:
    _answered(idle, idle.recv(websocket.READ_BYTES))


def _answered(made: Any, data: bytes) -> bool:
    """Answer the server's pings, or it would take us for dead; fail if it closes the socket of who may watch.

    Return whether it has answered one of ours.

    """
    if not data:
        print("a socket was closed", file=sys.stderr, flush=True)
        os._exit(1)
    is_pong = False
    for opcode, begin, end in websocket.frames(data):
        is_pong |= opcode == websocket.PONG
        if opcode == websocket.PING:
            made.send(websocket.control_frame(websocket.PONG, data[begin:end]))
    return is_pong


async def _open(places: asyncio.Semaphore, plan: dict[str, Any], number: int) -> Any:
    user = number % plan["users"]
    host = f"127.0.0.1:{plan['port']}"
    headers = f"Origin: http://{host}\r\nCookie: sessionid=session-{user:020}\r\n"
    async with places:
        made, rest = await websocket.connect(f"ws://{host}/progress/ws/job-{user}", headers=headers)
        while b"snapshot" not in rest:
            rest += await asyncio.get_running_loop().sock_recv(made, websocket.READ_BYTES)
    return made


async def _pings(made: Any, seconds: float) -> list[float]:
    """Return how long each answer to a ping took."""
    loop, rtts = asyncio.get_running_loop(), []
    ends = loop.time() + seconds
    while loop.time() < ends:
        began = loop.time()
        await loop.sock_sendall(made, websocket.control_frame(websocket.PING, b"?"))
        while not _answered(made, await loop.sock_recv(made, websocket.READ_BYTES)):
            pass
        rtts.append(loop.time() - began)
        await asyncio.sleep(PING_SECONDS)
    return rtts


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_watch(json.loads(sys.argv[1])))
