"""Jobs that somebody may see newly: their open feed shows them, without a change of the jobs themselves."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import access
from jobs.access import AccessPolicy
from jobs.models import ProcessingJob
from progress.delivery import access_guard, feed_reads, hubs
from progress.identity.identity import Identity, Proof
from tests.progress.delivery.feeds import a_job, has_told, told, watch
from tests.progress.delivery.guarding import asked, cookie
from tests.progress.sockets import a_user
from tests.progress.watching import run, watchers, watching

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("asked_by_hand", "quick_feed", "no_sweep"),
]


def made_public() -> None:
    ProcessingJob.objects.filter(pk="private").update(public=True)


def given() -> None:
    ProcessingJob.objects.filter(pk="private").update(owner=User.objects.get())


def permitted() -> None:
    User.objects.update(is_staff=True)
    User.objects.get().user_permissions.add(Permission.objects.get(codename="view_processingjob"))


@pytest.mark.parametrize(("name", "grant"), [("all", made_public), ("all", given), ("all", permitted), ("mine", given)])
async def test_feed__shows_what_may_be_seen_newly(name: str, grant: Callable[[], None]):
    """Once, and to those only who may."""
    ann = await a_user()
    await a_job("private", public=False)
    await a_job("of-ann", public=False, owner=ann)
    async with watching("/progress/ws", *await cookie(ann)) as socket, watching("/progress/ws") as anybody:
        listed = await socket.ask(type="subscribe", feed=name)
        assert [job["job_id"] for job in listed["jobs"]] == ["of-ann"]
        assert (await anybody.ask(type="subscribe", feed="all"))["jobs"] == []
        await asked()
        await run(grant)()
        for _ in range(2):
            await asked()
            shown = await socket.so_far()
            if shown:
                break
        frame = shown[0] if shown else await socket.next()
        assert [job["job_id"] for job in frame["jobs"]] == ["private"]
        await asked()
        assert await socket.so_far() == []
        if grant is made_public:
            assert [job["job_id"] for job in (await anybody.next())["jobs"]] == ["private"]
        assert await anybody.so_far() == []


async def test_feed__shows_again_what_was_taken_away_and_given_back():
    async with watchers() as [watcher]:
        await a_job("job-1")
        await watch(watcher)
        await run(ProcessingJob.objects.update)(public=False)
        await asked()
        await watcher.until(lambda frames: frames[-1]["type"] == "error")
        await run(ProcessingJob.objects.update)(public=True)
        await asked()
        await watcher.until(lambda frames: frames[-1]["type"] == "feed" and len(frames) == 3)


async def test_feed__shows_again_what_was_refused_to_a_subscription():
    """By which a page takes it from its list."""
    await a_job("job-1")
    async with watching("/progress/ws") as socket:
        assert (await socket.ask(type="subscribe", feed="all"))["jobs"] != []
        await run(ProcessingJob.objects.update)(public=False)
        assert (await socket.ask(type="subscribe", job_id="job-1"))["code"] == "job_not_found"
        await run(ProcessingJob.objects.update)(public=True)
        await asked()
        assert [job["job_id"] for job in (await socket.next())["jobs"]] == ["job-1"]


async def test_feed__looks_at_no_more_jobs_than_its_first_frame(settings):
    settings.PROGRESS_FEED_JOBS = 2
    for number in range(4):
        await a_job(f"job-{number}", public=False)
    async with watchers() as [watcher]:
        await watch(watcher)
        await run(ProcessingJob.objects.update)(public=True)
        await asked()
        await watcher.until(has_told("job-3", "pending"))
        await asked()
    assert {job_id for frame in told(watcher) for job_id, _ in frame} == {"job-2", "job-3"}


async def test_feed__what_is_owed_while_others_are_read_is_not_forgotten(hold):
    one = await a_job("one")
    await a_job("private", public=False)
    held = hold(feed_reads.read_jobs)
    async with watchers() as [watcher]:
        await watch(watcher)
        await one.amark_started()
        await held.reading.wait()
        await run(made_public)()
        await asked()
        held.passing.set()
        await watcher.until(has_told("private", "pending"))
    assert told(watcher)[-2:] == [[("one", "in_progress")], [("private", "pending")]]


async def test_feed__of_a_policy_that_raises_is_left_as_it_is(monkeypatch, logged):
    ann, bob = await a_user("ann"), await a_user("bob")
    await a_job("private", public=False)
    newest = AccessPolicy.newest

    def fails(self: Any, users: Any, *args: Any, **options: Any) -> Any:
        if ann in users:
            raise KeyError("team")
        return newest(self, users, *args, **options)

    async with watchers(2) as [of_ann, of_bob]:
        await watch(of_ann, ann)
        await watch(of_bob, bob)
        monkeypatch.setattr(
            AccessPolicy,
            "newest",
            lambda self, users, limit, own: {u: access._ids(self.recent(u, access._jobs(), limit)) for u in users},
        )
        monkeypatch.setattr(AccessPolicy, "newest", fails)
        await run(made_public)()
        await asked()
        await of_bob.until(has_told("private", "pending"))
    assert any("team" in line for line in logged.of("jobs.access"))


async def test_newest__queries_do_not_grow_with_those_who_see_everything():
    """Nor with visitors; who has jobs of their own takes one each."""
    staff = [await a_user(f"staff-{number}", is_staff=True, is_superuser=True) for number in range(4)]
    users = [await a_user(f"user-{number}") for number in range(3)]

    def queries(of: list[User]) -> int:
        with CaptureQueriesContext(connection) as captured:
            access.newest(of, 50, own=False)
        return len(captured)

    assert await run(queries)(staff) == 1, "all jobs"
    assert await run(queries)(users) == 1 + 3, "public ones, and each one's own"


async def test_newest__says_what_a_first_frame_would():
    view = await run(Permission.objects.get)(codename="view_processingjob")
    group = await run(Group.objects.create)(name="watchers")
    await run(group.permissions.add)(view)
    users = [await a_user(f"user-{n}", is_staff=n % 2 == 0, is_active=n != 2, is_superuser=n == 3) for n in range(6)]
    await run(group.user_set.add)(users[4])
    for number in range(12):
        await a_job(f"job-{number}", public=number % 3 == 0, owner=users[number % 5] if number % 4 else None)
    policy = access.policy()
    for own in True, False:
        found = await run(access.newest)(users, 4, own=own)
        for user in users:
            jobs = ProcessingJob.objects.filter(owner=user) if own else ProcessingJob.objects.all()
            first_frame = await run(policy.recent)(user, jobs, 4)
            assert found[user] == [job.pk for job in first_frame], user


async def test_feeds__of_more_users_than_a_check_asks_about_have_their_turns(monkeypatch):
    monkeypatch.setattr(access_guard, "FEEDS_A_CHECK", 2)
    users = [await a_user(f"user-{number}") for number in range(5)]
    await a_job("private", public=False)
    async with watchers(5) as many:
        for watcher, user in zip(many, users, strict=True):
            await watch(watcher, user)
        await run(made_public)()
        for shown in (2, 4, 5):
            await asked()
            await many[shown - 1].until(has_told("private", "pending"))
            assert sum(len(watcher.frames) > 1 for watcher in many) == shown


async def test_feed__of_another_user_by_now_is_not_shown_what_was_found_for_the_first(hold):
    ann, bob = await a_user("ann"), await a_user("bob")
    await a_job("of-ann", public=False)
    held = hold(access_guard._newest)
    async with watchers() as [watcher]:
        await watch(watcher, ann)
        await run(ProcessingJob.objects.update)(owner=ann)
        checking = asyncio.ensure_future(asked())
        await held.reading.wait()
        watcher.connection.identity = Identity(bob)
        held.passing.set()
        await checking
        hubs.current().feed._due.set()
    assert len(watcher.frames) == 1


async def test_feed__of_one_who_signs_in_meanwhile_is_shown_to_nobody_else(unheard, monkeypatch):
    """The policy is asked once for both; from the first job on, one of them is somebody else."""
    ann, may_view = await a_user("ann"), AccessPolicy.may_view
    async with watchers(2) as [stays, signs_in]:
        for watcher in (stays, signs_in):
            await watch(watcher)
        await a_job("of-all")
        await a_job("of-ann", public=False, owner=ann)

        def signing_in(self: Any, user: Any, job: Any) -> bool:
            signs_in.connection.identity = Identity(ann, None, Proof("token", ann.pk, ann.password))
            return may_view(self, user, job)

        monkeypatch.setattr(AccessPolicy, "may_view", signing_in)
        for job_id in ("of-all", "of-ann"):
            hubs.current().feed.mark(job_id)
        await signs_in.until(has_told("of-ann", "pending"))
    assert told(stays) == [[], [("of-all", "pending")]]
    assert told(signs_in) == [[], [("of-all", "pending"), ("of-ann", "pending")]]
