"""The output before a snapshot, and after it."""

import asyncio
from typing import Any

import pytest

from progress.delivery import backscroll
from progress.protocol.position import Position
from tests.progress.delivery.test_replay import slow_watcher
from tests.progress.hubs import JOB, a_job, watch
from tests.progress.watching import WAIT_SECONDS, Watcher, watchers

pytestmark = pytest.mark.django_db(transaction=True)


async def test_output_before__beside_lines_in_the_order_in_which_it_was_written(no_sweep):
    job = await a_job()
    for number in range(3):
        await job.aoutput(f"{number}", name="answer")
        await job.alog("a line")
    async with watchers(4) as [both, lines, output, plain]:
        await watch(both, logs=True, output=True)
        await watch(lines, logs=True)
        await watch(output, output=True)
        await watch(plain)
        await job.aoutput("live")
        await job.alog("live")
        await job.amark_started()
        for each in (both, lines, output, plain):
            await each.until_seq(10)

    def seen(watcher: Watcher) -> list[Any]:
        return [frame["seq"] if "seq" in frame and frame["type"] != "snapshot" else 0 for frame in watcher.frames]

    assert seen(both) == [0, 2, 3, 4, 5, 6, 7, 0, 8, 9, 10]
    assert seen(lines) == [0, 3, 5, 7, 0, 9, 10]
    assert seen(output) == [0, 2, 4, 6, 0, 8, 10]
    assert seen(plain) == [0, 10]
    chunk = output.frames[2]
    assert {**chunk, "timestamp": ""} == {
        "type": "output",
        "subject": JOB,
        "seq": 4,
        "timestamp": "",
        "name": "answer",
        "offset": 1,
        "text": "1",
    }


async def test_output_before__the_last_part_on_a_chunks_boundary_and_that_there_was_more(monkeypatch):
    monkeypatch.setitem(backscroll.MOST_BYTES, "output", 1_099)
    job = await a_job()
    for number in range(20):
        await job.aoutput(str(number % 10) * 100)
    async with watchers() as [watcher]:
        await watch(watcher, output=True, logs=True)
    begun, *chunks, snapshot = watcher.frames
    assert begun["cut"] == ["output"]
    assert [chunk["seq"] for chunk in chunks] == list(range(22 - len(chunks), 22))
    assert len(chunks) == 10
    assert chunks[0]["offset"] == 100 * (20 - len(chunks)), "so much is left out"
    assert snapshot["seq"] == 21


async def test_output_before__as_much_as_may_be_and_no_more():
    job = await a_job()
    for _ in range(70):
        await job.aoutput("x" * 65_536)
    async with watchers() as [watcher]:
        await watch(watcher, output=True)
    chunks = [frame for frame in watcher.frames if frame["type"] == "output"]
    assert len(chunks) == 64
    assert watcher.frames[0]["cut"] == ["output"]


async def test_output__after_a_lost_connection_is_whole():
    job = await a_job()
    for number in range(5):
        await job.aoutput(str(number))
    async with watchers() as [watcher]:
        await watch(watcher, Position(job.job.epoch, 3), output=True)
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == [
        *(("output", seq) for seq in (4, 5, 6)),
        ("snapshot", 6),
    ]
    assert watcher.frames[-1]["recovered"] is True


async def test_output__to_who_is_slow_is_never_superseded(no_sweep):
    job = await a_job(ticks=1)
    async with slow_watcher() as watcher:
        watcher.empty(room=2)
        await watch(watcher, output=True)  # type: ignore[arg-type]
        for number in range(5):
            await job.amark_progress(number)
            await job.aoutput("part")
        async with asyncio.timeout(WAIT_SECONDS):
            while watcher.count('"type":"output"') < 5:
                watcher.empty(room=1)
                await asyncio.sleep(0.001)
        assert watcher.codes == []
        assert watcher.count('"type":"progress"') < 5
