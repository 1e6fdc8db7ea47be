"""Reads for those who watch: apart from the writers', and never waited for without end."""

import asyncio
import gc
import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connections

from jobs.threads import ThreadPool, in_thread
from progress.delivery import reads
from tests.progress.hubs import a_job, seqs, watch
from tests.progress.watching import eventually, watchers


@pytest.mark.django_db(transaction=True)
async def test_in_thread__writers_that_wait_delay_no_watcher():
    await a_job()
    passing = threading.Event()
    writers = [asyncio.ensure_future(in_thread(passing.wait, 30)) for _ in range(8)]
    try:
        async with watchers() as [watcher]:
            await watch(watcher)
            assert seqs(watcher) == [1]
        assert not any(writer.done() for writer in writers)
    finally:
        passing.set()
        await asyncio.gather(*writers)


async def test_in_thread__gives_up_what_takes_too_long(monkeypatch):
    monkeypatch.setattr(reads, "READ_SECONDS", 0.01)
    passing = threading.Event()
    try:
        with pytest.raises(OperationalError, match="no answer within"):
            await reads.in_thread(passing.wait, 30)
    finally:
        passing.set()


def test_limit_waiting__the_settings_have_the_last_word(monkeypatch):
    given: Any = {"OPTIONS": {"connect_timeout": 1}, "NAME": "x"}
    postgres = SimpleNamespace(vendor="postgresql", settings_dict=given)
    other = SimpleNamespace(vendor="sqlite", settings_dict=given)
    monkeypatch.setattr(connections, "all", lambda: [postgres, other])
    reads.limit_waiting()
    assert postgres.settings_dict["OPTIONS"] == {**reads.TIME_LIMITS, "connect_timeout": 1}
    assert given["OPTIONS"] == {"connect_timeout": 1}, "of this thread only"
    assert other.settings_dict is given


def test_thread_pool__works_in_a_forked_child():
    pool = ThreadPool("test", lambda: 1)
    assert asyncio.run(pool.run(lambda: 1)) == 1
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, str(asyncio.run(asyncio.wait_for(pool.run(lambda: 2), 10))).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as answer:
        assert answer.read() == b"2"


def test_each__what_makes_no_sense_is_read_by_itself():
    def read(names: Any) -> Any:
        if "bad" in names:
            raise ValueError("no JSON")
        return {name: name.upper() for name in names}

    found = reads.each(read, ["a", "bad", "b"])
    assert (found["a"], found["b"], repr(found["bad"])) == ("A", "B", "ValueError('no JSON')")
    assert reads.each(read, []) == {}


def test_each__a_database_that_is_away_is_not_asked_for_each():
    asked = []

    def read(names: Any) -> Any:
        asked.append(names)
        raise OperationalError("away")

    with pytest.raises(OperationalError):
        reads.each(read, ["a", "b"])
    assert asked == [["a", "b"]]


async def test_shared__work_is_done_once_for_all_who_ask_at_a_time():
    shared: reads.Shared[str, int] = reads.Shared()
    passing, done = asyncio.Event(), 0

    async def work() -> int:
        nonlocal done
        done += 1
        await passing.wait()
        return done

    asking = [asyncio.ensure_future(shared.once("a", work)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    passing.set()
    assert await asyncio.gather(*asking[1:]) == [1, 1]
    assert await shared.once("a", work) == 2
    await eventually(lambda: not shared._doing)


async def test_shared__a_failure_is_everybodys_and_nobody_need_take_it():
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    shared: reads.Shared[str, int] = reads.Shared()
    passing = asyncio.Event()

    async def work() -> int:
        await passing.wait()
        raise OperationalError("away")

    asking = [asyncio.ensure_future(shared.once("a", work)) for _ in range(2)]
    await asyncio.sleep(0)
    passing.set()
    assert [repr(each) for each in await asyncio.gather(*asking, return_exceptions=True)] == [
        "OperationalError('away')"
    ] * 2
    passing.clear()
    alone = asyncio.ensure_future(shared.once("a", work))
    await asyncio.sleep(0)
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    await asyncio.sleep(0)  # so that what it waited for has nobody left
    passing.set()
    await eventually(lambda: not shared._doing)
    passing.clear()
    alone = asyncio.ensure_future(shared.once("a", work))
    await asyncio.sleep(0)
    shared._doing["a"].cancel()  # all tasks are to end
    await asyncio.gather(alone, return_exceptions=True)
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
