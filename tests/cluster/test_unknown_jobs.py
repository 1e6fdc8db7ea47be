"""Subscriptions to jobs that there are not: read together, however many ask, so that they cost the database little."""

import asyncio
import json

import psycopg
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import MakeSite
from tests.installation import Site

SOCKETS, MESSAGES, EACH = 50, 4, 100
QUERIES = 1_000  # the promise, for 20,000 such subscriptions
LIMITLESS = {"PROGRESS_MAX_MISSES_BURST": "100000", "PROGRESS_MAX_CLIENT_MESSAGES_PER_SECOND": "1000000"}


async def test_unknown_jobs__are_read_together(make_site: MakeSite) -> None:
    site = make_site("postgres+redis", **LIMITLESS)  # with the limits, most would be refused unread
    served = site.serve()
    sockets = [await connect(f"{served.ws_url}/progress/ws") for _ in range(SOCKETS)]
    before = _statements(site)
    answered = await asyncio.gather(*(_subscribe(socket, number) for number, socket in enumerate(sockets)))
    for socket in sockets:
        await socket.close()
    served.stop()  # each connection of the database's tells what it did when it ends

    assert sum(answered) == SOCKETS * MESSAGES * EACH
    assert _statements(site) - before <= QUERIES


async def _subscribe(socket: ClientConnection, number: int) -> int:
    """Subscribe to jobs that there are not; return how many of them were answered so."""
    answers = 0
    for message in range(MESSAGES):
        jobs = [{"job_id": f"no-{number}-{message}-{each}"} for each in range(EACH)]
        await socket.send(json.dumps({"type": "subscribe", "jobs": jobs}))
        for _ in jobs:
            answer = json.loads(await socket.recv())
            answers += answer["code"] == "job_not_found"
    return answers


def _statements(site: Site) -> int:
    """Return how many transactions a database has had: of ours that only read, each is a statement."""
    with psycopg.connect(site.database_url, autocommit=True) as connection:
        row = connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        found = row.fetchone()
    assert found is not None
    return int(found[0])
