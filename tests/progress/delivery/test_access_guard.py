"""Access on open connections: withdrawn by whatever means, it ends; nobody else notices."""

import asyncio
import contextlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from jobs.access import AccessPolicy
from jobs.models import ProcessingJob
from progress.delivery import access_guard, hubs
from progress.delivery.feed import Feed
from progress.protocol.codes import CloseCode
from tests.progress.delivery.guarding import PATH, asked, cookie, is_served, logout
from tests.progress.sockets import a_job, a_token, a_user
from tests.progress.watching import WAIT_SECONDS, bearer, run, watching
from tests.simulation.clock import VirtualLoop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("asked_by_hand")]


def session_expires() -> None:
    Session.objects.update(expire_date=timezone.now())


def new_password() -> None:
    User.objects.filter(username="ann").update(password="another")


def deactivated() -> None:
    User.objects.filter(username="ann").update(is_active=False)


def deleted() -> None:
    ProcessingJob.objects.update(owner=None)
    User.objects.filter(username="ann").delete()


@pytest.mark.parametrize("withdraw", [logout, session_expires, new_password, deactivated, deleted])
async def test_session__that_ends_ends_its_sockets(withdraw: Callable[[], None]):
    ann = await a_user()
    await a_job("private", owner=ann, public=False)
    await a_job("public")
    async with watching(PATH, *await cookie(ann)) as socket, watching("/progress/ws/public") as anybody:
        assert (await socket.next())["type"] == (await anybody.next())["type"] == "snapshot"
        await asked()
        assert await is_served(socket)
        await run(withdraw)()
        await asked()
        assert await socket.close_code() == CloseCode.TOKEN_EXPIRED, "it may have a new session to come back with"
        assert await is_served(anybody)


@pytest.mark.parametrize("withdraw", [new_password, deactivated, deleted])
async def test_token__whose_user_changes_ends_its_sockets(withdraw: Callable[[], None]):
    ann = await a_user()
    await a_job("private", owner=ann, public=False)
    async with watching(PATH, bearer(await a_token(ann))) as socket:
        assert (await socket.next())["type"] == "snapshot"
        await asked()
        assert await is_served(socket)
        await run(withdraw)()
        await asked()
        assert await socket.close_code() == CloseCode.NOT_AUTHENTICATED


def in_group() -> None:
    group = Group.objects.create(name="watchers")
    group.permissions.add(Permission.objects.get(codename="view_processingjob"))
    group.user_set.add(User.objects.get(username="ann"))


def not_staff() -> None:
    User.objects.filter(username="ann").update(is_staff=False)


def out_of_group() -> None:
    User.groups.through.objects.all().delete()


def group_without_permission() -> None:
    Group.permissions.through.objects.all().delete()


@pytest.mark.parametrize("withdraw", [not_staff, out_of_group, group_without_permission])
async def test_permission__that_is_withdrawn_ends_subscriptions_and_refuses_new_ones(withdraw: Callable[[], None]):
    ann = await a_user(is_staff=True)
    await run(in_group)()
    await a_job("private", public=False)
    await a_job("another", public=False)
    await a_job("public")
    async with watching("/progress/ws", *await cookie(ann)) as socket:
        for job_id in ("private", "public"):
            assert (await socket.ask(type="subscribe", job_id=job_id))["type"] == "snapshot"
        await asked()
        assert await is_served(socket)
        await run(withdraw)()
        await asked()
        frame = await socket.next()
        assert (frame["code"], frame["subject"]) == ("job_not_found", "private")
        assert list(hubs.current().jobs) == ["public"]
        assert (await socket.ask(type="subscribe", job_id="another"))["code"] == "job_not_found"


async def test_permission__that_is_granted_counts_for_what_is_asked_for_next():
    ann = await a_user()
    await a_job("private", public=False)
    async with watching("/progress/ws", *await cookie(ann)) as socket:
        assert (await socket.ask(type="subscribe", job_id="private"))["code"] == "job_not_found"
        await run(User.objects.update)(is_superuser=True, is_staff=True)
        await asked()
        assert (await socket.ask(type="subscribe", job_id="private"))["type"] == "snapshot"


class ByName(AccessPolicy):
    """Who may see a job is written in a table of the host's own."""

    def may_view(self, user: Any, job: Any) -> bool:
        return Group.objects.filter(name=f"sees {job.pk}").exists()

    def visible(self, user: Any, jobs: Any) -> Any:
        return jobs.filter(pk__in=[group.name.removeprefix("sees ") for group in Group.objects.all()])


@pytest.mark.parametrize("has_query", [True, False])
async def test_policy__over_other_tables(settings, monkeypatch, has_query):
    settings.JOBS_ACCESS_POLICY = f"{__name__}.ByName"
    if not has_query:
        monkeypatch.delattr(ByName, "visible")
    await run(Group.objects.create)(name="sees private")
    await run(Group.objects.create)(name="sees public")
    await a_job("private", public=False)
    await a_job("public")
    async with watching("/progress/ws/private") as loses, watching("/progress/ws/public") as stays:
        assert (await loses.next())["type"] == (await stays.next())["type"] == "snapshot"
        await asked()
        assert await is_served(loses)
        await run(Group.objects.filter(name="sees private").delete)()
        await asked()
        assert (await loses.next())["code"] == "job_not_found"
        assert await is_served(loses)  # it stays open, though its URL names the job
        assert await is_served(stays)


class Remembering(AccessPolicy):
    """Keeps on a user what it has read of them, as a ``cached_property`` would."""

    def may_view(self, user: Any, job: Any) -> bool:
        return self._sees(user)

    def visible(self, user: Any, jobs: Any) -> Any:
        return jobs if self._sees(user) else jobs.none()

    def _sees(self, user: Any) -> bool:
        if not hasattr(user, "team"):
            user.team = user.groups.filter(name="watchers").exists() and user.has_perm("jobs.view_processingjob")
        return bool(user.team)


def by_sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize("table", ["auth_user_groups", "auth_group_permissions"])
async def test_policy__that_remembers_on_a_user_is_given_a_new_one_each_time(settings, table):
    """As often as it is asked, and for sessions that share the user."""
    settings.JOBS_ACCESS_POLICY = f"{__name__}.Remembering"
    ann = await a_user(is_staff=True)
    await run(in_group)()
    await a_job("private", public=False)
    async with watching(PATH, *await cookie(ann)) as one, watching(PATH, *await cookie(ann)) as other:
        assert (await one.next())["type"] == (await other.next())["type"] == "snapshot"
        for _ in range(2):
            await asked()
        assert await is_served(one)
        await run(by_sql)(f"DELETE FROM {table}")
        await asked()
        assert (await one.next())["code"] == (await other.next())["code"] == "job_not_found"


async def test_user__of_whom_nothing_has_changed_is_one_object_for_all_their_sockets():
    """No policy has had it that could keep anything on it: the stock one reads columns, for all users at once."""
    ann = await a_user()
    await a_job("private", owner=ann, public=False)
    async with watching(PATH, *await cookie(ann)) as one, watching(PATH, *await cookie(ann)) as other:
        assert (await one.next())["type"] == (await other.next())["type"] == "snapshot"
        before = [await users_after_a_check() for _ in range(3)]
        assert [len(users) for users in before] == [1, 1, 1]
        assert before[0] == before[1] == before[2]


async def users_after_a_check() -> set[int]:
    await asked()
    return {id(connection.identity.user) for connection in hubs.current().connections}


class Picky(AccessPolicy):
    fails_on = ""

    def may_view(self, user: Any, job: Any) -> bool:
        if job.pk == self.fails_on:
            raise RuntimeError("the policy can't say")
        return True


async def test_policy__that_raises_is_unavailable_for_that_job_only(settings, monkeypatch):
    settings.JOBS_ACCESS_POLICY = f"{__name__}.Picky"
    await a_job("private")
    await a_job("public")
    async with watching("/progress/ws") as socket, watching("/progress/ws/private") as other:
        for job_id in ("private", "public"):
            await socket.ask(type="subscribe", job_id=job_id)
        await other.next()
        monkeypatch.setattr(Picky, "fails_on", "private")
        await asked()
        frame = await socket.next()
        assert (frame["code"], frame["subject"], frame["temporary"]) == ("unavailable", "private", True)
        assert (await other.next())["code"] == "unavailable"
        assert await other.close_code() == CloseCode.RESYNC
        assert list(hubs.current().jobs) == ["public"]


async def test_feed__a_job_that_may_no_longer_be_seen_leaves_the_list():
    ann = await a_user(is_staff=True)
    await run(in_group)()
    await a_job("private", public=False)
    await a_job("public")
    async with watching("/progress/ws", *await cookie(ann)) as socket:
        listed = await socket.ask(type="subscribe", feed="all")
        assert {job["job_id"] for job in listed["jobs"]} == {"private", "public"}
        await run(out_of_group)()
        for _ in range(2):
            await asked()
        frame = await socket.next()
        assert (frame["code"], frame["subject"]) == ("job_not_found", "private")
        assert await is_served(socket)
        job = await a_job("later", public=False)
        await job.amark_started()
        await (await a_job("seen")).amark_started()
        shown = await socket.until("feed")
        assert {entry["job_id"] for entry in shown["jobs"]} == {"seen"}


async def test_run__asks_by_itself(settings):
    settings.PROGRESS_ACCESS_SECONDS = 0.05
    ann = await a_user()
    await a_job("private", owner=ann, public=False)
    async with watching(PATH, *await cookie(ann)) as socket:
        assert (await socket.next())["type"] == "snapshot"
        await run(logout)()
        assert await socket.close_code() == CloseCode.TOKEN_EXPIRED


async def test_hurry__has_it_asked_soon_and_no_more_often_than_that(monkeypatch):
    """However many changes there are word of, and none is overlooked."""
    monkeypatch.setattr(access_guard, "HURRY_SECONDS", 0.01)
    monkeypatch.setattr(access_guard, "PAUSE_SECONDS", 0.05)
    loop, checks = asyncio.get_running_loop(), []

    async def check() -> None:
        checks.append(loop.time())
        if len(checks) == 3:
            done.set()

    done, guard = asyncio.Event(), access_guard.AccessGuard([], {}, Feed())
    monkeypatch.setattr(guard, "check", check)
    running, hurrying = asyncio.ensure_future(guard.run()), asyncio.ensure_future(_hurry(guard))
    await asyncio.wait_for(done.wait(), WAIT_SECONDS)
    for task in running, hurrying:
        task.cancel()
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(checks))


@pytest.mark.parametrize(("takes", "begins"), [(0.5, [2.5, 5.0, 7.5]), (2.25, [2.5, 5.25, 8.0])])
def test_run__a_period_is_from_one_beginning_to_the_next(settings, monkeypatch, takes, begins):
    """However long a check takes: what is withdrawn just after it has read, the next one has to find in time."""
    settings.PROGRESS_ACCESS_SECONDS = 2.5
    loop, checks = VirtualLoop(), []

    async def check(_: Any) -> None:
        checks.append(loop.time())
        await asyncio.sleep(takes)

    async def run_for_a_while() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(9):
                await access_guard.AccessGuard([], {}, Feed()).run()

    monkeypatch.setattr(access_guard.AccessGuard, "check", check)
    loop.run_until_complete(run_for_a_while())
    loop.close()
    assert checks == begins


async def _hurry(guard: access_guard.AccessGuard) -> None:
    while True:
        guard.hurry()
        await asyncio.sleep(0.001)


async def test_hurry__a_moment_before_the_period_ends_counts_for_the_next_check(monkeypatch):
    """Who signs out is told of before it is done, and the check that is due may come too early."""
    monkeypatch.setattr(access_guard, "HURRY_SECONDS", 60)
    guard = access_guard.AccessGuard([], {}, Feed())
    guard.hurry()
    now = asyncio.get_running_loop().time()
    await guard._until_due(now, now + 0.05)
    assert guard._is_hurried.is_set()


async def test_change__by_djangos_own_means_is_acted_on_at_once():
    """Long before the period ends, which these tests leave at a minute."""
    ann = await a_user()
    await a_job("private", owner=ann, public=False)
    async with watching(PATH, *await cookie(ann)) as socket:
        assert (await socket.next())["type"] == "snapshot"
        ann.is_active = False
        await run(ann.save)()
        assert await socket.close_code() == CloseCode.TOKEN_EXPIRED
