"""Access on open connections: what comes in between, and what fails."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test.utils import CaptureQueriesContext

from jobs import access
from jobs.access import AccessPolicy
from jobs.models import ProcessingJob
from progress.delivery import access_guard, feed_reads, hubs, questions, reads
from progress.identity.identity import Proof
from progress.identity.recheck import recheck
from progress.protocol.codes import CloseCode, ErrorCode
from progress.protocol.exceptions import Refused
from tests.progress.delivery.guarding import PATH, asked, cookie, is_served, logout
from tests.progress.sockets import a_job, a_token, a_user
from tests.progress.watching import Socket, bearer, eventually, run, watchers, watching

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("asked_by_hand")]


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


async def test_check__that_does_not_end_leaves_users_to_whom_it_has_asked(monkeypatch):
    """A thread that did not return in time may yet keep on a user what is out of date by then."""
    ann = await a_user()
    await a_job("private", owner=ann, public=False)
    async with watching(PATH, *await cookie(ann)) as socket:
        await socket.next()
        await asked()
        (connection,) = hubs.current().connections
        before = connection.identity.user

        def away(*_: Any) -> None:
            raise OperationalError("the database is away")

        with monkeypatch.context() as patch:
            patch.setattr(access, "viewable", away)
            with pytest.raises(OperationalError):
                await asked()
        assert connection.identity.user is before
        await asked()
        assert connection.identity.user is not before


async def test_subscription__that_was_admitted_meanwhile_stays(monkeypatch):
    ann = await a_user()
    await a_job("private", public=False)
    await run(ProcessingJob.objects.update)(owner=ann)
    in_thread = reads.in_thread

    async def overtaken(function: Any, *args: Any) -> Any:
        if function is not access_guard.viewable:
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


class Fickle(AccessPolicy):
    sees = True

    def may_view(self, user: Any, job: Any) -> bool:
        return self.sees

    def visible(self, user: Any, jobs: Any) -> Any:
        return jobs if self.sees else jobs.none()


async def test_feed__what_is_subscribed_to_meanwhile_is_told_there_and_asked_about_again(settings, monkeypatch):
    """A client that is slow: between the question of access and the answer, the right to the job goes."""
    settings.JOBS_ACCESS_POLICY = f"{__name__}.Fickle"
    await a_job("job-1")
    async with watchers() as [watcher]:
        await hubs.current().subscribe_feed(watcher.connection, "all")
        watcher.connection.pause_writing()
        subscribing = asyncio.ensure_future(hubs.current().subscribe(watcher.connection, "job-1", None))
        await eventually(lambda: watcher.connection._ready is not None)
        monkeypatch.setattr(Fickle, "sees", False)
        await asked()
        watcher.connection.resume_writing()
        with pytest.raises(Refused) as refused:
            await subscribing
        assert refused.value.code == ErrorCode.JOB_NOT_FOUND
        assert [frame["type"] for frame in watcher.frames] == ["feed"]


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


class Away(ModelBackend):
    def get_user(self, user_id: Any) -> Any:
        raise ConnectionError("the directory is away")


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


class Hanging(ModelBackend):
    """Never answers, as a directory behind a network that drops packets."""

    def get_user(self, user_id: Any) -> Any:
        time.sleep(0.5)


async def test_backend__that_hangs_leaves_its_clients_and_all_others_are_asked_about(monkeypatch):
    ann, ben = await a_user("ann"), await a_user("ben")
    with_ann, with_ben = await cookie(ann), await cookie(ben)
    await a_job("public")
    async with watching("/progress/ws", *with_ann) as one, watching("/progress/ws", *with_ben) as other:
        for socket in one, other:
            assert (await socket.ask(type="subscribe", job_id="public"))["type"] == "snapshot"
        for connection in hubs.current().jobs["public"].subscriptions:
            if connection.identity.user == ann:
                proof = replace(connection.identity.proof, backend=f"{__name__}.Hanging")
                connection.identity = connection.identity._replace(proof=proof)
        await run(logout)()
        monkeypatch.setattr(reads, "READ_SECONDS", 0.2)
        await asked()
        assert await other.close_code() == CloseCode.TOKEN_EXPIRED
        assert await is_served(one)


async def test_user__whose_model_fails_is_left_as_they_are_and_all_others_are_asked_about(monkeypatch, logged):
    ann, ben = await a_user("ann"), await a_user("ben")
    with_ann, with_ben = await cookie(ann), await cookie(ben)
    hash_of = User.get_session_auth_hash

    def fails(user: User) -> str:
        if user.username == "ann":
            raise LookupError("there is no profile")
        return hash_of(user)

    async with watching("/progress/ws", *with_ann) as one, watching("/progress/ws", *with_ben) as other:
        for socket in one, other:
            assert (await socket.ask(type="subscribe", feed="all"))["type"] == "feed"
        monkeypatch.setattr(User, "get_session_auth_hash", fails)
        await run(User.objects.filter(username="ben").update)(password="new")
        await asked()
        assert await other.close_code() == CloseCode.TOKEN_EXPIRED
        assert await is_served(one)


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
            if function is access_guard.viewable:
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
            if function is feed_reads.read_jobs:
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


@pytest.mark.slow
async def test_backend__that_is_slow_is_asked_about_fewer_at_a_time(monkeypatch):
    monkeypatch.setattr(reads, "READ_SECONDS", 0.8)
    monkeypatch.setattr(questions, "SLOW_SECONDS", 0.4)
    monkeypatch.setattr(questions, "QUICK_SECONDS", 0.01)  # a few at a time stay a few
    users = [await a_user(f"user-{number}") for number in range(20)]
    known = {Proof("token", user.pk, "", backend=f"{__name__}.Slow"): user for user in users}
    asking = questions.Questions(recheck)
    with pytest.raises(OperationalError):
        await asking.answers(known)
    for _ in range(2):
        answers = await asking.answers(known)
        assert list(answers.values()) == users


async def test_queries__are_as_few_for_many_users_as_for_one(monkeypatch):
    """One for the users, one for the sessions, one for the jobs."""
    counted: list[int] = []
    in_thread = reads.in_thread

    async def counting(function: Any, *args: Any) -> Any:
        if function not in (recheck, access_guard.viewable):
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
    await asked()  # after which what their sessions hold is known
    monkeypatch.setattr(reads, "in_thread", counting)
    await asked()
    assert counted == [2, 1]
    for socket in sockets:
        assert await is_served(socket)
        await socket.leave()
