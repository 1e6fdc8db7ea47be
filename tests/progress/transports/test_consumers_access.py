"""The consumer, through the site's ASGI application: who may see what, and tokens."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from jobs.access import AccessPolicy
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from progress.delivery import hubs
from progress.protocol.codes import CloseCode
from progress.transports import session
from tests.progress.identity.test_auth import cookie_of
from tests.progress.sockets import a_job, a_token, a_user, an_expired_token
from tests.progress.watching import ORIGIN, Socket, bearer, run, timers, watching

pytestmark = pytest.mark.django_db(transaction=True)


# Who may see what


@pytest.fixture
def kinds_of_jobs(db):
    ann, bob = User.objects.create_user("ann"), User.objects.create_user("bob")
    ProcessingJobLifecycle.create("public", public=True)
    ProcessingJobLifecycle.create("anns", owner=ann)
    ProcessingJobLifecycle.create("bobs", owner=bob)
    ProcessingJobLifecycle.create("nobodys")
    User.objects.create_user("idle-staff", is_staff=True)
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_processingjob"))
    User.objects.create_superuser("root")


VISIBLE = {
    None: {"public"},
    "ann": {"public", "anns"},
    "bob": {"public", "bobs"},
    "idle-staff": {"public"},
    "staff": {"public", "anns", "bobs", "nobodys"},
    "root": {"public", "anns", "bobs", "nobodys"},
}
OWN = {"ann": {"anns"}, "bob": {"bobs"}, "idle-staff": set(), "staff": set(), "root": set()}


async def headers_of(name: str | None) -> list[Any]:
    return [] if name is None else [bearer(await a_token(await run(User.objects.get)(username=name)))]


@pytest.mark.parametrize("name", VISIBLE)
async def test_access__jobs(kinds_of_jobs, name):
    async with watching("/progress/ws", *await headers_of(name)) as socket:
        answers = {job: (await socket.ask(type="subscribe", job_id=job))["type"] for job in VISIBLE["root"]}
    assert {job for job, answer in answers.items() if answer == "snapshot"} == VISIBLE[name]


@pytest.mark.parametrize("name", VISIBLE)
async def test_access__feed_of_all(kinds_of_jobs, name):
    async with watching("/progress/ws", *await headers_of(name)) as socket:
        first = await socket.ask(type="subscribe", feed="all")
        assert {entry["job_id"] for entry in first["jobs"]} == VISIBLE[name]
        for job in ("nobodys", "anns", "bobs", "public"):  # what everybody sees comes last
            await ProcessingJobLifecycle(job).amark_started()
        assert await changes(socket, "public") == VISIBLE[name]


@pytest.mark.parametrize("name", OWN)
async def test_access__feed_of_ones_own(kinds_of_jobs, name):
    async with watching("/progress/ws", *await headers_of(name)) as socket:
        first = await socket.ask(type="subscribe", feed="mine")
        assert (first["type"], first["subject"]) == ("feed", "mine")
        assert {entry["job_id"] for entry in first["jobs"]} == OWN[name]
        await socket.ask(type="subscribe", feed="all")
        for job in ("anns", "bobs", "public"):
            await ProcessingJobLifecycle(job).amark_started()
        mine: set[str] = set()
        while True:
            frame = await socket.until("feed")
            named = {entry["job_id"] for entry in frame["jobs"]}
            mine |= named if frame["subject"] == "mine" else set()
            if frame["subject"] == "all" and "public" in named:
                break
    assert mine == OWN[name]


async def changes(socket: Socket, last: str) -> set[str]:
    """Return the jobs that a feed tells of, until it tells of one."""
    named: set[str] = set()
    while last not in named:
        named |= {entry["job_id"] for entry in (await socket.until("feed"))["jobs"]}
    return named


async def test_feed__mine_without_a_user():
    async with watching() as socket:
        frame = await socket.ask(type="subscribe", feed="mine")
        assert (frame["code"], frame["subject"], frame["temporary"]) == ("not_authenticated", "mine", False)
        assert await socket.so_far() == []


async def test_feed__entries_and_changes():
    job = await a_job(name="Import")
    async with watching() as socket:
        (entry,) = (await socket.ask(type="subscribe", feed="all"))["jobs"]
        assert (entry["job_id"], entry["status"], entry["name"], entry["epoch"]) == (
            "job-1", "pending", "Import", job.job.epoch
        )  # fmt: skip
        assert "type" not in entry
        await job.amark_started()
        entry = (await socket.next())["jobs"][-1]
        assert (entry["status"], entry["seq"]) == ("in_progress", 2)
        await a_job("job-2")
        assert (await socket.next())["jobs"][-1]["job_id"] == "job-2"
        await socket.ask(type="unsubscribe", feed="all")
        assert not hubs.current().feed.is_watched


async def test_feed__first_answer_has_the_newest_oldest_first(settings):
    settings.PROGRESS_FEED_JOBS = 2
    for number in range(4):
        await a_job(f"job-{number}")
    async with watching() as socket:
        first = await socket.ask(type="subscribe", feed="all")
        assert [entry["job_id"] for entry in first["jobs"]] == ["job-2", "job-3"]


async def test_access__by_cookie_of_our_page():
    ann = await a_user()
    await a_job(owner=ann, public=False)
    name, value = await run(cookie_of)(ann)
    cookie = name.encode(), value.encode()
    async with watching("/progress/ws/job-1", ORIGIN, cookie) as page:
        assert (await page.next())["type"] == "snapshot"
    async with watching("/progress/ws/job-1", cookie) as program:
        assert (await program.next())["code"] == "job_not_found"


class NoOne(AccessPolicy):
    def may_view(self, user: Any, job: ProcessingJob) -> bool:
        return False


async def test_access__by_the_sites_own_policy(settings):
    settings.JOBS_ACCESS_POLICY = f"{__name__}.NoOne"
    await a_job()
    async with watching("/progress/ws/job-1") as socket:
        assert (await socket.next())["code"] == "job_not_found"


# Tokens


async def test_auth__good_token():
    ann = await a_user()
    await a_job(owner=ann, public=False)
    async with watching() as socket:
        assert (await socket.ask(type="subscribe", job_id="job-1"))["code"] == "job_not_found"
        frame = await socket.ask(type="auth", token=await a_token(ann))
        assert set(frame) == {"type", "expires"}
        assert frame["type"] == "authenticated"
        assert (await socket.ask(type="subscribe", job_id="job-1"))["type"] == "snapshot"


@pytest.mark.parametrize("token", ["forged", "", "a:b:c", "\x00", "é" * 100])
async def test_auth__bad_token(token):
    async with watching() as socket:
        assert (await socket.ask(type="auth", token=token))["code"] == "not_authenticated"
        assert await socket.close_code() == CloseCode.NOT_AUTHENTICATED


async def test_auth__expired_token():
    token = an_expired_token(await a_user())
    async with watching() as socket:
        assert (await socket.ask(type="auth", token=token))["code"] == "not_authenticated"
        assert await socket.close_code() == CloseCode.NOT_AUTHENTICATED


async def test_bearer__bad_token():
    async with watching("/progress/ws", bearer("forged")) as socket:
        assert (await socket.next())["code"] == "not_authenticated"
        assert await socket.close_code() == CloseCode.NOT_AUTHENTICATED


async def test_auth__another_tokens_end_takes_the_place_of_the_first_ones():
    """And none outlives the socket."""
    ann = await a_user()
    async with watching("/progress/ws", bearer(await a_token(ann, seconds=60))) as socket:
        await socket.so_far()
        (first,) = timers()
        await socket.ask(type="auth", token=await a_token(ann, seconds=3600))
        (second,) = timers()
        assert second.when() > first.when() + 3000
    assert timers() == []


@pytest.mark.parametrize("by_message", [False, True])
async def test_token__the_socket_ends_with_it(monkeypatch, by_message):
    token = await a_token(await a_user())
    soon = timezone.now() + timedelta(seconds=0.02)
    admit = session.verify_token

    def admit_shortly(given: str) -> Any:
        admission = admit(given)
        return type(admission)(admission.user, soon)

    monkeypatch.setattr("progress.identity.auth.verify_token", admit_shortly)
    monkeypatch.setattr(session, "verify_token", admit_shortly)
    async with watching("/progress/ws", *([] if by_message else [bearer(token)])) as socket:
        if by_message:
            await socket.ask(type="auth", token=token)
        assert await socket.close_code() == CloseCode.TOKEN_EXPIRED
