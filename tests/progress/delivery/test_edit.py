"""An edit of a watched job: who may no longer see it gets neither the edit nor what follows, and all others get all."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.models import ProcessingJob
from progress.broker.messages import publication_of
from progress.delivery import hubs
from progress.identity.identity import Identity
from progress.protocol.position import Position
from tests.progress.delivery.feeds import watch as watch_feed
from tests.progress.hubs import JOB, a_job, offer, seqs, watch
from tests.progress.watching import Watcher, run, watchers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("asked_by_hand")]


async def as_user(watcher: Watcher, name: str) -> User:
    user = await run(User.objects.create_user)(name)
    watcher.connection.identity = Identity(user)
    return user


def ended(frames: list[Any]) -> bool:
    return frames[-1]["type"] == "error"


async def test_edit__ends_who_may_no_longer_see_and_nobody_else(no_sweep):
    job = await a_job(ticks=2)
    async with watchers(3) as [stranger, owner, with_logs]:
        ann = await as_user(owner, "ann")
        with_logs.connection.identity = Identity(ann)
        await watch(stranger)
        await watch(owner)
        await watch(with_logs, logs=True)
        await job.aedit(owner=ann, public=False)
        await job.amark_progress(50)
        await job.alog("a line")
        await stranger.until(ended)
        await owner.until_seq(6)
        await with_logs.until_seq(7)
    assert seqs(owner) == [4, 5, 6]
    assert [frame.get("seq") for frame in with_logs.frames] == [None, 4, 5, 6, 7]
    assert [(frame["type"], frame.get("seq", frame.get("code"))) for frame in stranger.frames] == [
        ("snapshot", 4),
        ("error", "job_not_found"),
    ]


async def test_edit__nothing_behind_it_goes_out_before_the_row_was_read(no_sweep, unheard):
    """Its publication and all that follow come before this process has looked."""
    job = await a_job(ticks=1)
    async with watchers() as [stranger]:
        await watch(stranger)
        await job.amark_progress(10)
        await job.aedit(public=False)
        await job.amark_progress(20)
        hubs.current().dispatch([publication_of(event) for event in unheard])
        assert seqs(stranger) == [3, 4], "what was before the edit is theirs"
        await stranger.until(ended)
    assert [frame.get("seq") for frame in stranger.frames] == [3, 4, None]


async def test_edit__that_a_reader_has_found_already_is_an_event_like_others(no_sweep, unheard, calls):
    job = await a_job(ticks=1)
    async with watchers(2) as [first, second]:
        await watch(first)
        await job.aedit(owner=await run(User.objects.create_user)("ann"))
        await watch(second)
        await first.until_seq(4)
        read = dict(calls)
        offer(unheard[-1])
        assert calls == read
    assert seqs(first) == [3, 4]


async def test_edit__of_who_sees_it_since_then(no_sweep):
    job = await a_job(ticks=1)
    await job.aedit(public=False)
    async with watchers() as [watcher]:
        ann = await as_user(watcher, "ann")
        await job.aedit(owner=ann)
        await watch(watcher, Position(job.job.epoch, 3))
    assert seqs(watcher) == [4, 5, 5], "those before it are of a job that is theirs now"


async def test_edit__hidden_and_shown_again_at_once_misses_nothing(no_sweep, unheard):
    job = await a_job(ticks=1)
    async with watchers() as [watcher]:
        await watch(watcher)
        await job.aedit(public=False)
        await job.aedit(public=True)
        for event in unheard[-2:]:
            offer(event)
        await watcher.until_seq(5)
    assert seqs(watcher) == [3, 4, 5]


@pytest.mark.parametrize("how", ["edit", "save"])
async def test_name__is_shown_at_once_by_a_snapshot(no_sweep, how):
    job = await a_job(ticks=1)
    async with watchers(2) as [watcher, newcomer]:
        await watch(watcher)
        if how == "edit":
            await job.aedit(name="renamed")
        else:
            await run(ProcessingJob.objects.filter(pk=JOB).update)(name="renamed")
            hubs.current().reader.sweep()
        await watcher.until(lambda frames: frames[-1].get("name") == "renamed")
        await watch(newcomer)
    assert [(frame["type"], frame["seq"]) for frame in watcher.frames] == (
        [("snapshot", 3), ("progress", 4), ("snapshot", 4)] if how == "edit" else [("snapshot", 3), ("snapshot", 3)]
    )
    assert watcher.frames[-1]["recovered"] is True
    assert newcomer.frames[-1]["name"] == "renamed"


async def test_feed__shows_the_new_name_and_to_whom_it_was_hidden(quick_feed, no_sweep):
    job = await a_job(ticks=1)
    await job.aedit(public=False)
    async with watchers() as [watcher]:
        ann = await as_user(watcher, "ann")
        await watch_feed(watcher, ann)
        await job.aedit(owner=ann, name="yours")
        frames = await watcher.until(lambda frames: len(frames) == 2)
    assert [[entry["name"] for entry in frame["jobs"]] for frame in frames] == [[], ["yours"]]
