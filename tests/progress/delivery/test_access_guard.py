"""Access on open connections: withdrawn by whatever means, it ends; nobody else notices."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs import access
from jobs.access import AccessPolicy
from jobs.models import ProcessingJob
from progress.delivery import access_guard, feed, hubs, reads
from progress.identity.identity import Proof
from progress.identity.recheck import recheck
from progress.protocol.codes import CloseCode
from tests.progress.identity.test_auth import cookie_of
from tests.progress.sockets import a_job, a_token, a_user
from tests.progress.watching import ORIGIN, Socket, bearer, eventually, run, watching

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/progress/ws/private"


@pytest.fixture(autouse=True)
def rarely(settings):
    """The guard asks when the test does."""
    settings.PROGRESS_ACCESS_SECONDS = 60


async def asked() -> None:
    await hubs.current().guard.check()


async def cookie(user: User) -> tuple[tuple[bytes, bytes], ...]:
    name, value = await run(cookie_of)(user)
    return ORIGIN, (name.encode(), value.encode())


async def is_served(socket: Socket) -> bool:
    """Whether a socket that has a subscription still gets what happens."""
    await socket.send_json_to({"type": "ping"})
    return (await socket.next())["type"] == "pong"


def logout() -> None:
    Session.objects.all().delete()


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
        assert await is_served(stays)


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


async def test_database__that_does_not_answer_ends_nothing(monkeypatch):
    ann = await a_user()
    await a_job("private", owner=ann, public=False)
    async with watching(PATH, *await cookie(ann)) as socket:
        await socket.next()

        def away(*_: Any) -> None:
            raise OperationalError("the database is away")

        monkeypatch.setattr(access, "viewable", away)
        with pytest.raises(OperationalError):
            await asked()
        assert await is_served(socket)


async def test_subscription__that_was_admitted_meanwhile_stays(monkeypatch):
    ann = await a_user()
    await a_job("private", public=False)
    await run(ProcessingJob.objects.update)(owner=ann)
    in_thread = reads.in_thread

    async def overtaken(function: Any, *args: Any) -> Any:
        if function is not access_guard._viewable:
            return await in_thread(function, *args)
        await run(ProcessingJob.objects.update)(owner=None)
        answer = await in_thread(function, *args)
        await run(ProcessingJob.objects.update)(owner=ann)
        assert (await socket.ask(type="subscribe", job_id="private"))["type"] == "snapshot"
        return answer

    async with watching("/progress/ws", *await cookie(ann)) as socket:
        assert (await socket.ask(type="subscribe", job_id="private"))["type"] == "snapshot"
        monkeypatch.setattr(reads, "in_thread", overtaken)
        await asked()
        assert await is_served(socket)


async def test_auth__another_user_is_asked_about_what_is_watched_at_once():
    """However often it is sent: who does nothing else is not passed over."""
    ann, ben = await a_user("ann"), await a_user("ben")
    await a_job("private", owner=ann, public=False)
    await a_job("public")
    async with watching("/progress/ws", bearer(await a_token(ann))) as socket:
        for job_id in ("private", "public"):
            assert (await socket.ask(type="subscribe", job_id=job_id))["type"] == "snapshot"
        await socket.send_json_to({"type": "auth", "token": await a_token(ben)})
        frame = await socket.next()
        assert (frame["code"], frame["subject"]) == ("job_not_found", "private")
        assert (await socket.next())["type"] == "authenticated"
        assert await is_served(socket)


async def test_backend__that_fails_leaves_its_clients_and_all_others_are_asked_about(monkeypatch):
    ann, ben = await a_user("ann"), await a_user("ben")
    await a_job("of-ann", owner=ann, public=False)
    await a_job("of-ben", owner=ben, public=False)
    with_ann, with_ben = await cookie(ann), await cookie(ben)
    async with watching("/progress/ws/of-ann", *with_ann) as one, watching("/progress/ws/of-ben", *with_ben) as other:
        assert (await one.next())["type"] == (await other.next())["type"] == "snapshot"
        (first,) = hubs.current().jobs["of-ann"].subscriptions
        proof = replace(first.identity.proof, backend=f"{__name__}.Away")
        first.identity = first.identity._replace(proof=proof)
        await run(logout)()
        await asked()
        assert await is_served(one)
        assert await other.close_code() == CloseCode.TOKEN_EXPIRED


async def test_auth__behind_a_silent_database_is_unavailable(monkeypatch, logged):
    ann = await a_user()
    await a_job("public")
    async with watching("/progress/ws") as socket:
        assert (await socket.ask(type="subscribe", job_id="public"))["type"] == "snapshot"

        def away(*_: Any) -> None:
            raise OperationalError("the database is away")

        with monkeypatch.context() as patch:
            patch.setattr(access, "viewable", away)
            assert (await socket.ask(type="auth", token=await a_token(ann)))["code"] == "unavailable"
        assert "Traceback" not in "".join(record.exc_text or "" for record in logged.records)
        assert (await socket.ask(type="auth", token=await a_token(ann)))["type"] == "authenticated"


async def test_auth__while_the_policy_is_asked_ends_nothing_by_an_answer_about_another(monkeypatch):
    """Two sockets, of which one becomes the other's user in the meantime."""
    ben = await a_user("ben")
    await a_job("of-ben", owner=ben, public=False)
    await a_job("public")
    async with watching("/progress/ws") as changes, watching("/progress/ws", bearer(await a_token(ben))) as is_ben:
        assert (await changes.ask(type="subscribe", job_id="public"))["type"] == "snapshot"
        assert (await is_ben.ask(type="subscribe", job_id="of-ben"))["type"] == "snapshot"
        in_thread = reads.in_thread

        async def overtaken(function: Any, *args: Any) -> Any:
            answer = await in_thread(function, *args)
            if function is access_guard._viewable:
                monkeypatch.setattr(reads, "in_thread", in_thread)
                assert (await changes.ask(type="auth", token=await a_token(ben)))["type"] == "authenticated"
            return answer

        monkeypatch.setattr(reads, "in_thread", overtaken)
        await asked()
        assert await is_served(changes)
        assert await is_served(is_ben)


async def test_auth__that_could_not_be_judged_leaves_the_feed_to_who_it_was(monkeypatch):
    ann = await a_user(is_superuser=True, is_staff=True)
    async with watching("/progress/ws") as socket:
        assert (await socket.ask(type="subscribe", feed="all"))["jobs"] == []

        def away(*_: Any) -> None:
            raise OperationalError("the database is away")

        await a_job("seen")
        await socket.until("feed")
        with monkeypatch.context() as patch:
            patch.setattr(access, "viewable", away)
            assert (await socket.ask(type="auth", token=await a_token(ann)))["code"] == "unavailable"
        await a_job("private", public=False)
        await a_job("later")
        shown = await socket.until("feed")
        assert [entry["job_id"] for entry in shown["jobs"]] == ["later"]


async def test_feed__a_change_that_was_read_for_another_user_is_read_again(monkeypatch):
    ann, ben = await a_user("ann"), await a_user("ben")
    async with watching("/progress/ws", bearer(await a_token(ann))) as socket:
        await socket.ask(type="subscribe", feed="all")
        in_thread = reads.in_thread

        async def overtaken(function: Any, *args: Any) -> Any:
            answer = await in_thread(function, *args)
            if function is feed._read:
                monkeypatch.setattr(reads, "in_thread", in_thread)
                (connection,) = hubs.current().connections
                await socket.send_json_to({"type": "auth", "token": await a_token(ben)})
                await eventually(lambda: connection.identity.user == ben)
            return answer

        monkeypatch.setattr(reads, "in_thread", overtaken)
        await a_job("of-ann", owner=ann, public=False)
        await a_job("of-ben", owner=ben, public=False)
        shown = await socket.until("feed")
        assert [entry["job_id"] for entry in shown["jobs"]] == ["of-ben"]


class Slow(ModelBackend):
    """Takes its time for each user, as a directory does."""

    def get_user(self, user_id: Any) -> Any:
        time.sleep(0.05)
        return User.objects.get(pk=user_id)


async def test_backend__that_is_slow_is_asked_about_fewer_at_a_time(monkeypatch):
    monkeypatch.setattr(reads, "READ_SECONDS", 0.4)
    monkeypatch.setattr(access_guard, "SLOW_SECONDS", 0.2)
    users = [await a_user(f"user-{number}") for number in range(20)]
    known = {Proof("token", user.pk, "", backend=f"{__name__}.Slow"): user for user in users}
    questions = access_guard.Questions(recheck)
    with pytest.raises(OperationalError):
        await questions.answers(known)
    for _ in range(2):
        answers = await questions.answers(known)
        assert list(answers.values()) == users


class Away(ModelBackend):
    def get_user(self, user_id: Any) -> Any:
        raise ConnectionError("the directory is away")


async def test_queries__are_as_few_for_many_users_as_for_one(monkeypatch):
    """One for the users, one for the sessions, one for the jobs."""
    counted: list[int] = []
    in_thread = reads.in_thread

    async def counting(function: Any, *args: Any) -> Any:
        if function not in (recheck, access_guard._viewable):
            return await in_thread(function, *args)  # the log reader may just sweep

        def call() -> Any:
            from django.db import connection

            with CaptureQueriesContext(connection) as queries:
                answer = function(*args)
            counted.append(len(queries))
            return answer

        return await in_thread(call)

    users = [await a_user(f"user-{number}") for number in range(4)]
    sockets = []
    for number, user in enumerate(users):
        await a_job(f"job-{number}", owner=user, public=False)
        socket = await Socket(f"/progress/ws/job-{number}", *await cookie(user)).open()
        assert (await socket.next())["type"] == "snapshot"
        sockets.append(socket)
    monkeypatch.setattr(reads, "in_thread", counting)
    await asked()
    assert counted == [2, 1]
    for socket in sockets:
        assert await is_served(socket)
        await socket.leave()


async def test_run__asks_by_itself(settings):
    settings.PROGRESS_ACCESS_SECONDS = 0.05
    ann = await a_user()
    await a_job("private", owner=ann, public=False)
    async with watching(PATH, *await cookie(ann)) as socket:
        assert (await socket.next())["type"] == "snapshot"
        await run(logout)()
        assert await socket.close_code() == CloseCode.TOKEN_EXPIRED
