"""Kind and plan are in no event: who watches sees them in a snapshot, also if they are told when the job starts."""

import json
from unittest import mock

import pytest
from django.db import connection

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from progress.broker.messages import publication_of
from progress.delivery import hubs
from progress.protocol.exceptions import Refused
from progress.protocol.position import Position
from tests.progress.delivery.feeds import watch as watch_feed
from tests.progress.hubs import JOB, NOBODY, a_job, offer, swept, watch
from tests.progress.watching import run, watchers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("asked_by_hand")]

PLAN = [["download", 1], ["resize", 3]]


def told(frame):
    return frame["type"], frame["seq"], frame.get("kind"), frame.get("plan")


async def test_snapshot__holds_kind_and_plan_where_they_are_known(no_sweep):
    await ProcessingJobLifecycle.acreate(JOB, public=True, kind="resize", plan=PLAN, size=9)
    async with watchers() as [watcher]:
        await watch(watcher)
    assert [told(frame) for frame in watcher.frames] == [("snapshot", 1, "resize", PLAN)]
    assert "size" not in watcher.frames[0]


async def test_snapshot__of_a_job_without_them_is_as_it_was(no_sweep):
    await a_job()
    async with watchers() as [watcher]:
        await watch(watcher)
    assert not {"kind", "plan"} & watcher.frames[0].keys()


@pytest.mark.parametrize("is_lost", [False, True], ids=["sent", "lost"])
async def test_start__that_tells_of_them_is_followed_by_a_snapshot(no_sweep, unheard, is_lost):
    job = await a_job()
    async with watchers(2) as [watcher, newcomer]:
        await watch(watcher)
        await job.amark_started(kind="resize", plan=PLAN)
        if is_lost:
            await swept()
        else:
            hubs.current().dispatch([publication_of(event) for event in unheard[-1:]])
        await watcher.until(lambda frames: "plan" in frames[-1])
        await watch(newcomer, Position(job.job.epoch, 1))
    assert [told(frame) for frame in watcher.frames] == [
        ("snapshot", 1, None, None),
        ("progress", 2, None, None),
        ("snapshot", 2, "resize", PLAN),
    ]
    assert watcher.frames[-1]["recovered"] is True
    assert [told(frame)[:3] for frame in newcomer.frames] == [("progress", 2, None), ("snapshot", 2, "resize")]


async def test_start__that_tells_nothing_has_the_row_read_once_and_sends_nothing_more(no_sweep, unheard, calls):
    job = await ProcessingJobLifecycle.acreate(JOB, public=True, kind="resize", plan=PLAN)
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.amark_started()
        await job.amark_progress(5)
        calls.clear()
        for event in unheard[-2:]:
            offer(event)
        await swept()
    assert [frame["seq"] for frame in watcher.frames] == [1, 2, 3]
    assert calls["get_jobs"] == 1


async def test_start__that_tells_what_is_usual_is_followed_by_a_snapshot_as_is_a_new_attempt(no_sweep, unheard):
    usual = {"runs": 1, "seconds": [100]}
    job = await ProcessingJobLifecycle.acreate(JOB, public=True, kind="resize")
    async with watchers() as [watcher]:
        await watch(watcher)
        with mock.patch("jobs.changes.learned.at_start", return_value=(usual, {})):
            await job.amark_started()
        hubs.current().dispatch([publication_of(event) for event in unheard[-1:]])
        await watcher.until(lambda frames: "usual" in frames[-1])
        await job.amark_queued()
        hubs.current().dispatch([publication_of(event) for event in unheard[-1:]])
        await watcher.until(lambda frames: len(frames) == 5)
    told = [(frame["type"], frame["status"], frame.get("usual"), "started_at" in frame) for frame in watcher.frames]
    assert told == [
        ("snapshot", "pending", None, False),
        ("progress", "in_progress", None, False),
        ("snapshot", "in_progress", usual, True),
        ("progress", "queued", None, False),
        ("snapshot", "queued", None, False),
    ]


async def test_first_total__that_tells_what_is_usual_is_followed_by_a_snapshot(no_sweep, unheard):
    usual = {"runs": 1, "seconds": [100], "scaled": True}
    job = await ProcessingJobLifecycle.acreate(JOB, public=True, kind="resize")
    await job.amark_started()
    async with watchers() as [watcher]:
        await watch(watcher)
        with mock.patch("jobs.changes.learned.of_total", return_value=usual):
            await job.amark_progress(current=0, total=10)
        hubs.current().dispatch([publication_of(event) for event in unheard[-1:]])
        await watcher.until(lambda frames: len(frames) == 3)
    told = [(frame["type"], frame.get("usual"), frame.get("recovered")) for frame in watcher.frames[1:]]
    assert told == [("progress", None, None), ("snapshot", usual, True)]


async def test_start__its_time_is_that_of_the_event_and_who_comes_later_is_told(no_sweep, unheard):
    job = await ProcessingJobLifecycle.acreate(JOB, public=True)
    async with watchers(2) as [watcher, newcomer]:
        await watch(watcher)
        await job.amark_started()
        offer(unheard[-1])
        await swept()
        await watch(newcomer)
    assert [frame["type"] for frame in watcher.frames] == ["snapshot", "progress"]
    assert newcomer.frames[0]["started_at"] == watcher.frames[1]["timestamp"]


@pytest.mark.parametrize("bad", ["5", '{"a": 1}', '["a"]', '[["a", 0]]', '[["a", 1e400]]', '[["\\ud800", 1]]'])
async def test_bad_plan__ends_the_watching_of_its_own_job_only(no_sweep, bad):
    await a_job()
    await ProcessingJobLifecycle.acreate("other", public=True)

    def spoil():
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {ProcessingJob._meta.db_table} SET plan = %s WHERE id = %s", [bad, JOB])

    await run(spoil)()
    async with watchers() as [watcher]:
        await watch(watcher, job_id="other")
        with pytest.raises(Refused) as refused:
            await watch(watcher)
    assert refused.value.code == "unavailable"
    assert [frame["job_id"] for frame in watcher.frames] == ["other"]


async def test_feed__names_the_kind_where_there_is_one(quick_feed, no_sweep):
    await a_job()
    await ProcessingJobLifecycle.acreate("other", public=True, kind="resize")
    async with watchers() as [watcher]:
        await watch_feed(watcher, NOBODY)
        (frame,) = await watcher.until(lambda frames: len(frames) == 1)
    assert [json.dumps(entry.get("kind")) for entry in frame["jobs"]] == ["null", '"resize"']
