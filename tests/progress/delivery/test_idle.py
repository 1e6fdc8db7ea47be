"""Sockets of strangers who watch nothing are closed; no other is."""

import asyncio

import pytest

from progress.delivery import hubs, idle
from progress.delivery.connection import Connection
from progress.identity.identity import ANYBODY, Proof
from progress.protocol.codes import CloseCode
from tests.progress.hubs import a_job, watch
from tests.progress.senders import FakeSender
from tests.progress.watching import eventually, watchers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def soon(settings):
    settings.PROGRESS_IDLE_SECONDS = 0.1


async def test_idle__is_closed_and_told_why():
    async with watchers() as [watcher]:
        await eventually(lambda: not watcher.connection.is_accepting)
        assert watcher.connection._code == CloseCode.IDLE
        assert [(frame["type"], frame["code"]) for frame in watcher.frames] == [("error", "idle")]


async def test_watching__or_known_or_busy_is_not_idle(settings):
    await a_job()
    settings.PROGRESS_IDLE_SECONDS = 1.0  # within which they do what keeps them
    async with watchers(5) as [job, feed, known, asking, stranger]:
        await watch(job)
        await hubs.current().subscribe_feed(feed.connection, "mine")
        known.connection.identity = ANYBODY._replace(proof=Proof("session", 1, ""))
        with idle.subscribing(asking.connection, "job-1"):
            await eventually(lambda: not stranger.connection.is_accepting)
            assert all(each.connection.is_accepting for each in (job, feed, known, asking))


async def test_watching__until_a_moment_ago_is_not_idle_yet():
    connection = Connection(FakeSender())
    looker = idle.IdleConnections({connection: None}, hubs.current().feed)
    began = asyncio.get_running_loop().time()
    connection.watched["job-1"] = None
    looker._look(began + 100)
    del connection.watched["job-1"]
    looker._look(began + 100.09)
    assert connection.is_accepting
    looker._look(began + 100.11)
    assert not connection.is_accepting


async def test_asking__for_several_jobs_is_not_idle_until_the_last_is_answered():
    connection = Connection(FakeSender())
    looker = idle.IdleConnections({connection: None}, hubs.current().feed)
    began = asyncio.get_running_loop().time()
    with idle.subscribing(connection, "job-1"):
        with idle.subscribing(connection, "job-2"):
            pass
        looker._look(began + 100)
        assert connection.is_accepting
    looker._look(began + 100)
    assert not connection.is_accepting
