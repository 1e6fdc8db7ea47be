"""The hubs of a process: one for each event loop, and which of them an event is for."""

import asyncio
from typing import Any

import pytest

from jobs.states import EventKind
from progress.delivery import hubs
from progress.delivery.hub import Hub
from tests.progress.hubs import JOB, a_job, watch
from tests.progress.watching import watchers

pytestmark = pytest.mark.django_db(transaction=True)


def test_current__forgets_loops_that_are_closed():
    async def mine() -> Hub:
        return hubs.current()

    first, second = asyncio.run(mine()), asyncio.run(mine())
    assert first is not second
    assert first not in hubs._hubs.values()


async def test_interested__only_in_what_is_watched():
    await a_job()
    async with watchers() as [watcher]:
        assert hubs.interested(JOB, EventKind.STATUS) == []
        await watch(watcher)
        assert hubs.interested(JOB, "tick") == [hubs.current()]
        assert hubs.interested("another", EventKind.STATUS) == []
        await hubs.current().subscribe_feed(watcher.connection, "all")
        assert hubs.interested("another", EventKind.STATUS) == [hubs.current()]
        assert hubs.interested("another", "tick") == []
    assert hubs.interested(JOB, "tick") == []


def test_deliver__a_hub_that_breaks_harms_no_job(monkeypatch, make_job):
    def breaks(*_: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(hubs, "interested", breaks)
    job = make_job()
    job.mark_started()
    assert job.job.seq == 2


def test_interested__where_nobody_watches(monkeypatch):
    monkeypatch.setattr(hubs, "_hubs", {})
    assert hubs.interested(JOB, EventKind.STATUS) == []
