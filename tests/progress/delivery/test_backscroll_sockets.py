"""The log lines before a snapshot, as sockets take them, and as far as who asks may see them."""

import asyncio

import pytest

from jobs.access import AccessPolicy
from jobs.lifecycle import ProcessingJobLifecycle
from progress.delivery import hubs
from progress.protocol.exceptions import Refused
from tests.progress.delivery.lines import add, got
from tests.progress.delivery.test_replay import slow_watcher
from tests.progress.hubs import JOB, a_job, watch
from tests.progress.watching import eventually, watchers

pytestmark = pytest.mark.django_db(transaction=True)


async def test_lines_before__many_go_at_the_sockets_speed(settings):
    settings.PROGRESS_OUTBOX_BYTES = 100_000
    await a_job()
    await add("l" * 500, "m" * 1_000)
    async with slow_watcher() as watcher:
        coming = asyncio.ensure_future(watch(watcher, logs=True))  # type: ignore[arg-type]
        written = 0
        while not coming.done():
            await eventually(lambda: len(watcher.chunks) > written or coming.done())  # noqa: B023
            written = len(watcher.chunks)
            watcher.empty(room=1)
        await coming
        assert watcher.codes == []
        assert watcher.count('"type":"log"') == 500
        assert watcher.count('"type":"snapshot"') == 1


async def test_lines_before__of_many_jobs_are_read_one_after_the_other_as_the_socket_takes_them(asked):
    """However many a client asks for at once, a page of one of them fills the memory."""
    await a_job()
    await add("l" * 100, "m" * 1_000)
    for number in range(5):
        await (await ProcessingJobLifecycle.acreate(f"other-{number}", public=True)).alog("a line")
    async with slow_watcher() as watcher:
        others = [watch(watcher, job_id=f"other-{number}", logs=True) for number in range(5)]  # type: ignore[arg-type]
        coming = asyncio.gather(watch(watcher, logs=True), *others)  # type: ignore[arg-type]
        await eventually(lambda: watcher.chunks)
        await asyncio.sleep(0.05)
        assert len(asked) <= 1
        while not coming.done():
            watcher.empty(room=1)
            await asyncio.sleep(0.001)
        await coming
        assert len(asked) == 6
        assert watcher.count('"type":"log"') == 105
        assert watcher.count('"type":"snapshot"') == 6
        assert not watcher.connection.turn.locked()


async def test_lines_before__who_leaves_in_their_midst_has_no_turn_any_more():
    await a_job()
    await add("l" * 100, "m" * 1_000)
    async with slow_watcher() as watcher:
        coming = asyncio.ensure_future(watch(watcher, logs=True))  # type: ignore[arg-type]
        await eventually(lambda: watcher.chunks)
        assert watcher.connection.turn.locked()
        hubs.current().leave(watcher.connection)
        await coming
        assert not watcher.connection.turn.locked()


async def test_lines_before__access_that_ends_meanwhile_ends_them(settings, monkeypatch):
    settings.PROGRESS_ACCESS_SECONDS = 0.02
    await a_job()
    await add("l" * 500, "m" * 1_000)
    async with slow_watcher() as watcher:
        coming = asyncio.ensure_future(watch(watcher, logs=True))  # type: ignore[arg-type]
        await eventually(lambda: watcher.chunks)
        monkeypatch.setattr(AccessPolicy, "may_view", lambda *_: False)
        await asyncio.sleep(0.03)
        while not coming.done():
            watcher.empty(room=1)
            await asyncio.sleep(0.001)
        with pytest.raises(Refused, match="Job not found"):
            await coming
        assert watcher.count('"type":"log"') < 500


async def test_lines_before__of_a_job_that_may_not_be_seen_nobody_reads(asked):
    await ProcessingJobLifecycle.acreate(JOB)
    await add("lll", "")
    async with watchers() as [watcher]:
        with pytest.raises(Refused, match="Job not found"):
            await watch(watcher, logs=True)
        assert got(watcher) == []
    assert asked == []
