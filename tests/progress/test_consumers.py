"""The consumer, through the site's ASGI application."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, transaction
from django.utils import timezone

from jobs import selectors
from jobs.access import AccessPolicy
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress import consumers, hub, tokens
from progress.codes import CloseCode
from tests.progress.test_auth import cookie_of
from tests.progress.watching import ORIGIN, Socket, bearer, eventually, run, watching

pytestmark = pytest.mark.django_db(transaction=True)

create = ProcessingJobLifecycle.acreate


async def a_job(job_id: str = "job-1", **fields: Any) -> ProcessingJobLifecycle:
    return await create(job_id, **{"public": True, **fields})


async def a_user(name: str = "ann", **fields: Any) -> User:
    return await run(User.objects.create_user)(name, **fields)


async def a_token(user: User, **options: Any) -> str:
    return await run(tokens.issue)(user, **options)


async def a_running_job(ticks: int = 3) -> ProcessingJobLifecycle:
    """A job at seq ``ticks + 2``."""
    job = await a_job()
    await job.amark_started()
    for number in range(ticks):
        await job.amark_progress(number + 1)
    return job


def seqs(frames: list[Any]) -> list[int]:
    return [frame["seq"] for frame in frames]


async def is_without_trace() -> None:
    """Wait until nothing of any socket is left in this process."""
    here = hub.current()
    await eventually(lambda: not (here.topics or here.connections or here.feed.is_watched or consumers.places._taken))
    own = asyncio.current_task()
    await eventually(lambda: [task for task in asyncio.all_tasks() if task is not own] == [])


# Connection handling


async def test_connect__one_job():
    job = await a_job(name="Import of March", metadata={"k": [1, None]})
    async with watching("/progress/ws/job-1") as socket:
        frame = await socket.next()
    assert frame == {
        "type": "snapshot",
        "job_id": "job-1",
        "status": "pending",
        "progress": 0.0,
        "message": "",
        "timestamp": frame["timestamp"],
        "metadata": {"k": [1, None], "attempt": 1},
        "seq": 1,
        "name": "Import of March",
        "epoch": job.job.epoch,
        "recovered": False,
    }


@pytest.mark.parametrize("path", ["/progress/ws", "/progress/ws/"])
async def test_connect__no_job(path):
    async with watching(path) as socket:
        assert await socket.before_pong() == []


async def test_connect__trailing_slash():
    await a_job()
    async with watching("/progress/ws/job-1/") as socket:
        assert (await socket.next())["job_id"] == "job-1"


@pytest.mark.parametrize("path", ["/", "/progress/ws/a/b", "/progress", "/progress/ws2", "/ws/job-1"])
async def test_connect__another_address_is_refused(path):
    socket = Socket(path)
    assert (await socket.connect())[0] is False
    await socket.leave()


@pytest.mark.parametrize("origin", [b"http://example.com", b"null", b"http://[", b"https://localhost"])
async def test_connect__a_page_of_another_site_is_refused(origin):
    socket = Socket("/progress/ws", (b"origin", origin))
    assert (await socket.connect())[0] is False
    await socket.leave()
    await is_without_trace()


BAD_IDS = ["nope", "-x", "a" * 65, "%00", "a%20b", "%F0%9F%8E%89", "..", "%FF", "job-1%0A", "'; DROP TABLE jobs--"]


@pytest.mark.parametrize("job_id", BAD_IDS)
async def test_connect__invalid_id(job_id):
    await a_job()
    async with watching(f"/progress/ws/{job_id}") as socket:
        frame = await socket.next()
        subject = frame.pop("subject")
        assert frame == {"type": "error", "error": "Job not found", "code": "job_not_found", "temporary": False}
        assert len(subject) <= 64
        assert await socket.close_code() == CloseCode.JOB_NOT_FOUND


async def test_connect__unknown_and_forbidden_answer_identically():
    await a_job("hidden", public=False)
    answers = []
    for job_id in ("hidden", "absent"):
        async with watching(f"/progress/ws/{job_id}") as socket:
            answers.append((await socket.receive_from(), await socket.close_code()))
        async with watching() as socket:
            await socket.send_json_to({"type": "subscribe", "job_id": job_id})
            answers.append((await socket.receive_from(), await socket.before_pong()))
    assert answers[0][0].replace("hidden", "absent") == answers[2][0]
    assert answers[1][0].replace("hidden", "absent") == answers[3][0]
    assert answers[0][1] == answers[2][1]
    assert answers[1][1] == answers[3][1] == []


async def test_connect__unknown_by_address_closes_that_socket_alone(monkeypatch):
    """Those who ask at the same time share the read, but not the answer."""
    both = asyncio.Event()
    read = hub.in_thread

    async def slow(function: Any, *args: Any) -> Any:
        if function is selectors.get_job:
            await both.wait()
        return await read(function, *args)

    monkeypatch.setattr(hub, "in_thread", slow)
    async with watching("/progress/ws/absent") as addressed, watching() as asking:
        await eventually(lambda: "absent" in hub.current().topics)
        await asking.send_json_to({"type": "subscribe", "job_id": "absent"})
        await eventually(lambda: hub.current().topics["absent"].users == 2)
        both.set()
        assert (await addressed.next())["code"] == (await asking.next())["code"] == "job_not_found"
        assert await addressed.close_code() == CloseCode.JOB_NOT_FOUND
        assert await asking.before_pong() == []


# Ping, pong, heartbeat


async def test_ping__pong():
    async with watching() as socket:
        frame = await socket.ask(type="ping")
        assert set(frame) == {"type", "timestamp"}
        assert frame["type"] == "pong"


async def test_heartbeat__comes_unasked(settings):
    settings.PROGRESS_HEARTBEAT_SECONDS = 0.01
    async with watching() as socket, watching() as other:
        frame = await socket.next()
        assert set(frame) == {"type", "timestamp"}
        assert [frame["type"], (await socket.next())["type"], (await other.next())["type"]] == ["heartbeat"] * 3


# Progress


async def test_progress__each_change_in_order():
    job = await a_job()
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        await job.amark_queued("waiting")
        await job.amark_started()
        await job.amark_progress(75, message="Processing stage 3", stage="stage_3")
        await job.amark_progress(current=3, metadata={"k": 1})
        await job.amark_completed("done", result={"rows": 3})
        frames = [await socket.next() for _ in range(5)]
    assert [frame["status"] for frame in frames] == ["queued", *["in_progress"] * 3, "completed"]
    assert seqs(frames) == [2, 3, 4, 5, 6]
    assert set(frames[0]) == {"type", "job_id", "status", "progress", "message", "timestamp", "metadata", "seq"}
    assert frames[2]["progress"] == 75.0
    assert frames[2]["metadata"]["stage"] == "stage_3"
    assert frames[3]["progress"] is None
    assert frames[4]["metadata"]["result"] == {"rows": 3}


async def test_progress__another_job_is_not_told():
    await a_job()
    other = await a_job("job-2")
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        await other.amark_started()
        assert await socket.before_pong() == []


async def test_progress__many_watch_one_job():
    job = await a_job()
    sockets = [await Socket("/progress/ws/job-1").open() for _ in range(20)]
    for socket in sockets:
        assert (await socket.next())["type"] == "snapshot"
    await job.amark_started()
    texts = {await socket.receive_from() for socket in sockets}
    assert len(texts) == 1
    for socket in sockets:
        await socket.leave()
    await is_without_trace()


WORDS = 'naïve 🎉 </script><script>alert(1)</script> \u2028 日本 \\ " \x01 ﷽'


async def test_progress__what_users_write_passes_unchanged():
    job = await a_job(name=WORDS, metadata={WORDS: WORDS})
    async with watching("/progress/ws/job-1") as socket:
        frame = await socket.next()
        assert (frame["name"], frame["metadata"][WORDS]) == (WORDS, WORDS)
        await job.amark_started(WORDS)
        assert (await socket.next())["message"] == WORDS
        await socket.send_json_to({"type": "subscribe", "job_id": "job-1", "logs": True})
        assert (await socket.next())["message"] == WORDS
        await job.alog(WORDS)
        assert (await socket.next())["text"] == WORDS


async def test_progress__nothing_of_a_change_that_is_rolled_back():
    job = await a_job()

    def roll_back() -> None:
        with transaction.atomic():
            job.mark_started()
            transaction.set_rollback(True)

    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        await run(roll_back)()
        await job.amark_queued()
        assert (await socket.next())["status"] == "queued"


# Subscriptions


async def test_subscribe__a_further_job():
    await a_job()
    other = await a_job("job-2")
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        frame = await socket.ask(type="subscribe", job_id="job-2")
        assert (frame["type"], frame["job_id"], frame["recovered"]) == ("snapshot", "job-2", False)
        await other.amark_started()
        assert (await socket.next())["job_id"] == "job-2"


@pytest.mark.parametrize("job_id", ["nope", "", "a b", "é", "x" * 1000, "\x00"])
async def test_subscribe__no_such_job_leaves_the_socket_open(job_id):
    async with watching() as socket:
        frame = await socket.ask(type="subscribe", job_id=job_id)
        assert (frame["code"], frame["temporary"], frame["subject"]) == ("job_not_found", False, job_id[:64])
        assert await socket.before_pong() == []
        assert hub.current().topics == {}


async def test_subscribe__again_replaces():
    job = await a_job()
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        assert (await socket.ask(type="subscribe", job_id="job-1", logs=True))["type"] == "snapshot"
        await job.alog("one")
        assert (await socket.next())["text"] == "one"
        assert (await socket.ask(type="subscribe", job_id="job-1"))["type"] == "snapshot"
        await job.alog("two")
        await job.amark_started()
        frame = await socket.next()
        assert (frame["type"], frame["seq"]) == ("progress", 4)
        assert await socket.before_pong() == []


async def test_unsubscribe__nothing_follows():
    job = await a_job()
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        assert await socket.ask(type="unsubscribe", job_id="job-1") == {"type": "unsubscribed", "subject": "job-1"}
        await job.amark_started()
        assert await socket.before_pong() == []
        assert hub.current().topics == {}


@pytest.mark.parametrize("fields", [{"job_id": "nope"}, {"feed": "all"}])
async def test_unsubscribe__what_was_not_watched(fields):
    async with watching() as socket:
        assert (await socket.ask(type="unsubscribe", **fields))["type"] == "unsubscribed"


async def test_logs__only_where_asked_for():
    job = await a_job()
    async with watching("/progress/ws/job-1") as plain, watching() as full:
        await plain.next()
        await full.ask(type="subscribe", job_id="job-1", logs=True)
        await job.alog("3 rows skipped", level="warning")
        await job.amark_started()
        line = await full.next()
        assert (await plain.next())["seq"] == (await full.next())["seq"] == 3
    expected = {"type": "log", "subject": "job-1", "seq": 2, "level": "warning", "text": "3 rows skipped"}
    assert line == {**expected, "timestamp": line["timestamp"]}


# Recovery


async def test_recovery__events_then_the_snapshot():
    job = await a_running_job()
    async with watching(f"/progress/ws/job-1?epoch={job.job.epoch}&seq=2") as socket:
        frames = [await socket.next() for _ in range(4)]
    assert [frame["type"] for frame in frames] == ["progress"] * 3 + ["snapshot"]
    assert seqs(frames) == [3, 4, 5, 5]
    assert frames[3]["recovered"] is True


async def test_recovery__nothing_was_missed():
    job = await a_running_job()
    async with watching() as socket:
        since = {"epoch": job.job.epoch, "seq": 5}
        frame = await socket.ask(type="subscribe", job_id="job-1", since=since)
        assert (frame["type"], frame["recovered"], frame["seq"]) == ("snapshot", True, 5)
        assert await socket.before_pong() == []


@pytest.mark.parametrize("logs", [False, True])
async def test_recovery__log_lines_only_where_asked_for(logs):
    job = await a_running_job()
    await job.alog("a line")
    async with watching() as socket:
        since = {"epoch": job.job.epoch, "seq": 4}
        await socket.send_json_to({"type": "subscribe", "job_id": "job-1", "since": since, "logs": logs})
        kinds = [frame["type"] for frame in await socket.before_pong()]
    assert kinds == ["progress", *(["log"] if logs else []), "snapshot"]


async def one_snapshot(socket: Socket, **since: Any) -> Any:
    await socket.send_json_to({"type": "subscribe", "job_id": "job-1", "since": since})
    (frame,) = await socket.before_pong()
    assert (frame["type"], frame["recovered"]) == ("snapshot", False)
    return frame


async def test_recovery__pruned_position():
    job = await a_running_job()
    await run(JobEvent.objects.filter(seq__lte=3).delete)()
    async with watching() as socket:
        assert (await one_snapshot(socket, epoch=job.job.epoch, seq=2))["seq"] == 5


async def test_recovery__pruned_in_the_middle():
    job = await a_running_job()
    await run(JobEvent.objects.filter(seq=4).delete)()
    async with watching() as socket:
        await one_snapshot(socket, epoch=job.job.epoch, seq=2)


async def test_recovery__another_epoch():
    job = await a_running_job()
    async with watching() as socket:
        assert (await one_snapshot(socket, epoch="another", seq=2))["epoch"] == job.job.epoch


async def test_recovery__ahead_of_the_server():
    job = await a_running_job()
    async with watching() as socket:
        assert (await one_snapshot(socket, epoch=job.job.epoch, seq=6))["seq"] == 5
        assert (await one_snapshot(socket, epoch=job.job.epoch, seq=2**63 - 1))["seq"] == 5


async def test_recovery__further_behind_than_is_replayed(settings):
    settings.PROGRESS_REPLAY_EVENTS = 2
    job = await a_running_job()
    async with watching() as socket:
        await one_snapshot(socket, epoch=job.job.epoch, seq=2)


@pytest.mark.parametrize("query", ["epoch=e&seq=x", "epoch=e&seq=-1", "epoch=e&seq=1.5", "epoch=e&seq=" + "9" * 5000])
async def test_recovery__no_position_in_the_address(query):
    await a_job()
    async with watching(f"/progress/ws/job-1?{query}") as socket:
        assert (await socket.next())["code"] == "invalid_message"
        assert await socket.close_code() == CloseCode.INVALID_REQUEST


@pytest.mark.parametrize("query", ["", "epoch=e", "seq=1", "epoch=&seq=", "x=1&x=2"])
async def test_recovery__half_a_position_in_the_address_is_none(query):
    await a_job()
    async with watching(f"/progress/ws/job-1?{query}") as socket:
        assert (await socket.next())["recovered"] is False


# Deleted, and made anew


async def test_deleted__the_watcher_is_told():
    job = await a_running_job()
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        await run(job.job.delete)()
        assert (await socket.next())["code"] == "job_not_found"
        assert await socket.before_pong() == []
        assert hub.current().topics == {}


def replace(**fields: Any) -> ProcessingJobLifecycle:
    """Delete the job and make another with its id, at once for all who look."""
    with transaction.atomic():
        ProcessingJob.objects.filter(pk="job-1").delete()
        return ProcessingJobLifecycle.create("job-1", **fields)


async def test_made_anew__a_snapshot_unasked():
    before = await a_running_job()
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        after = await run(replace)(public=True)
        frame = await socket.next()
        assert (frame["type"], frame["recovered"], frame["seq"]) == ("snapshot", False, 1)
        assert frame["epoch"] == after.job.epoch != before.job.epoch
        await after.amark_started()
        frame = await socket.next()
        assert (frame["type"], frame["seq"]) == ("progress", 2)


async def test_made_anew__for_others_only():
    """The new job is another one: who may see it is asked anew."""
    await a_running_job()
    ann = await a_user()
    token = await a_token(ann)
    async with watching("/progress/ws/job-1") as stranger, watching("/progress/ws/job-1", bearer(token)) as own:
        await stranger.next()
        await own.next()
        after = await run(replace)(owner=ann, public=False)
        assert (await own.next())["epoch"] == after.job.epoch
        assert (await stranger.next())["code"] == "job_not_found"
        await after.amark_started()
        assert (await own.next())["seq"] == 2
        assert await stranger.before_pong() == []


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
            told = {entry["job_id"] for entry in frame["jobs"]}
            mine |= told if frame["subject"] == "mine" else set()
            if frame["subject"] == "all" and "public" in told:
                break
    assert mine == OWN[name]


async def changes(socket: Socket, last: str) -> set[str]:
    """Return the jobs that a feed tells of, until it tells of one."""
    told: set[str] = set()
    while last not in told:
        told |= {entry["job_id"] for entry in (await socket.until("feed"))["jobs"]}
    return told


async def test_feed__mine_without_a_user():
    async with watching() as socket:
        frame = await socket.ask(type="subscribe", feed="mine")
        assert (frame["code"], frame["subject"], frame["temporary"]) == ("not_authenticated", "mine", False)
        assert await socket.before_pong() == []


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
        assert not hub.current().feed.is_watched


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
    token = await a_token(await a_user(), seconds=-1)
    async with watching() as socket:
        assert (await socket.ask(type="auth", token=token))["code"] == "not_authenticated"
        assert await socket.close_code() == CloseCode.NOT_AUTHENTICATED


async def test_bearer__bad_token():
    async with watching("/progress/ws", bearer("forged")) as socket:
        assert (await socket.next())["code"] == "not_authenticated"
        assert await socket.close_code() == CloseCode.NOT_AUTHENTICATED


@pytest.mark.parametrize("by_message", [False, True])
async def test_token__the_socket_ends_with_it(monkeypatch, by_message):
    token = await a_token(await a_user())
    soon = timezone.now() + timedelta(seconds=0.02)
    admit = consumers.admitted

    def admit_shortly(given: str) -> Any:
        admission = admit(given)
        return type(admission)(admission.user, soon)

    monkeypatch.setattr("progress.auth.admitted", admit_shortly)
    monkeypatch.setattr(consumers, "admitted", admit_shortly)
    async with watching("/progress/ws", *([] if by_message else [bearer(token)])) as socket:
        if by_message:
            await socket.ask(type="auth", token=token)
        assert await socket.close_code() == CloseCode.TOKEN_EXPIRED


# Limits


async def refused(socket: Socket, code: str, close: CloseCode) -> None:
    frame = await socket.until("error")
    assert (frame["code"], frame["temporary"]) == (code, close < 4500)
    assert await socket.close_code() == close
    await socket.send_json_to({"type": "ping"})  # it is closed: nothing is answered


async def test_limit__messages(settings):
    settings.PROGRESS_MAX_MESSAGES_BURST = 3
    settings.PROGRESS_MAX_MESSAGES_PER_SECOND = 0.001
    async with watching() as socket:
        for _ in range(4):
            await socket.send_json_to({"type": "ping"})
        assert [(await socket.next())["type"] for _ in range(3)] == ["pong"] * 3
        await refused(socket, "too_many_messages", CloseCode.TOO_MANY_MESSAGES)


async def test_limit__bad_messages_count_as_well(settings):
    settings.PROGRESS_MAX_MESSAGES_BURST = 2
    settings.PROGRESS_MAX_MESSAGES_PER_SECOND = 0.001
    async with watching() as socket:
        for _ in range(3):
            await socket.send_to("{")
        assert [(await socket.next())["code"] for _ in range(2)] == ["invalid_message"] * 2
        await refused(socket, "too_many_messages", CloseCode.TOO_MANY_MESSAGES)


async def test_limit__connections_of_one_address(settings):
    settings.PROGRESS_MAX_CONNECTIONS_PER_CLIENT = 1
    async with watching() as first:
        assert await first.before_pong() == []
        async with watching() as second:
            await refused(second, "too_many_connections", CloseCode.TOO_MANY_CONNECTIONS)
        async with watching(address="10.0.0.1") as elsewhere:
            assert await elsewhere.before_pong() == []
        assert await first.before_pong() == []
    async with watching() as third:
        assert await third.before_pong() == []


async def test_limit__connections_of_one_user(settings):
    settings.PROGRESS_MAX_CONNECTIONS_PER_CLIENT = 1
    token = await a_token(await a_user())
    async with watching("/progress/ws", bearer(token)) as first:
        assert await first.before_pong() == []
        async with watching("/progress/ws", bearer(token), address="10.0.0.1") as second:
            await refused(second, "too_many_connections", CloseCode.TOO_MANY_CONNECTIONS)


async def test_limit__watchers_of_one_job(settings):
    settings.PROGRESS_MAX_WATCHERS_PER_JOB = 1
    await a_job()
    async with watching("/progress/ws/job-1") as first:
        await first.next()
        async with watching("/progress/ws/job-1") as second:
            await refused(second, "too_many_connections", CloseCode.TOO_MANY_CONNECTIONS)
        assert (await first.ask(type="subscribe", job_id="job-1"))["type"] == "snapshot"


async def test_limit__subscriptions(settings):
    settings.PROGRESS_MAX_SUBSCRIPTIONS = 1
    await a_job()
    await a_job("job-2")
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        assert (await socket.ask(type="subscribe", job_id="job-1"))["type"] == "snapshot"
        await socket.send_json_to({"type": "subscribe", "job_id": "job-2"})
        await refused(socket, "too_many_subscriptions", CloseCode.TOO_MANY_SUBSCRIPTIONS)


async def test_limit__length_of_a_message(settings):
    settings.PROGRESS_MAX_MESSAGE_BYTES = 100
    async with watching() as socket:
        await socket.send_to('{"type": "ping"}'.ljust(100))
        assert (await socket.next())["type"] == "pong"
        await socket.send_to('{"type": "ping"}'.ljust(98) + "é" + " ")
        await refused(socket, "message_too_large", CloseCode.INVALID_REQUEST)


async def test_limit__length_of_a_binary_message(settings):
    settings.PROGRESS_MAX_MESSAGE_BYTES = 100
    async with watching() as socket:
        await socket.send_to(bytes_data=b"x" * 101)
        await refused(socket, "message_too_large", CloseCode.INVALID_REQUEST)


# Errors

BAD = [
    "{",
    "null",
    "[]",
    "[" * 30_000,
    '{"type": "ping", "n": NaN}',
    '{"type": "ping", "n": ' + "9" * 5000 + "}",
    '{"type": "no_such"}',
    '{"type": "websocket.disconnect"}',
    '{"type": "subscribe"}',
    '{"type": "subscribe", "job_id": 5}',
    r'{"type": "subscribe", "job_id": "\ud800"}',
    '{"type": "subscribe", "job_id": "job-1", "since": 5}',
    '{"type": "subscribe", "job_id": "job-1", "logs": "yes"}',
    '{"type": "unsubscribe", "feed": ["all"]}',
    '{"type": "auth", "token": null}',
    b"\x00\xff",
]


@pytest.mark.parametrize("message", BAD, ids=lambda message: repr(message[:40]))
async def test_error__a_bad_message_is_answered_and_logged_once(logged, message):
    job = await a_job()
    async with watching("/progress/ws/job-1") as socket, watching("/progress/ws/job-1") as other:
        await socket.next()
        await other.next()
        logged.records.clear()
        await (socket.send_to(bytes_data=message) if isinstance(message, bytes) else socket.send_to(message))
        frame = await socket.next()
        assert set(frame) == {"type", "error", "code", "temporary"}
        assert (frame["type"], frame["code"], frame["temporary"]) == ("error", "invalid_message", False)
        assert logged.names == ["progress.consumers"]
        await job.amark_started()
        assert (await socket.next())["seq"] == (await other.next())["seq"] == 2


def fail(*_: Any, **__: Any) -> Any:
    raise OperationalError("the database is away")


async def test_error__database_by_address(monkeypatch):
    await a_job()
    monkeypatch.setattr(selectors, "get_job", fail)
    async with watching("/progress/ws/job-1") as socket:
        frame = await socket.next()
        assert (frame["code"], frame["temporary"], frame["subject"]) == ("unavailable", True, "job-1")
        assert await socket.close_code() == CloseCode.RESYNC


async def test_error__database_by_message(monkeypatch):
    await a_job()
    async with watching() as socket:
        with monkeypatch.context() as broken:
            broken.setattr(selectors, "get_job", fail)
            broken.setattr(selectors, "recent_jobs", fail)
            assert (await socket.ask(type="subscribe", job_id="job-1"))["code"] == "unavailable"
            frame = await socket.ask(type="subscribe", feed="all")
            assert (frame["code"], frame["subject"]) == ("unavailable", "all")
        assert (await socket.ask(type="subscribe", job_id="job-1"))["type"] == "snapshot"
        assert (await socket.ask(type="subscribe", feed="all"))["type"] == "feed"


async def test_error__database_for_a_moment_during_recovery(monkeypatch):
    job = await a_running_job()
    since = {"epoch": job.job.epoch, "seq": 2}
    async with watching("/progress/ws/job-1") as other, watching() as socket:
        await other.next()
        with monkeypatch.context() as broken:
            broken.setattr(selectors, "events_between", fail)
            assert (await socket.ask(type="subscribe", job_id="job-1", since=since))["code"] == "unavailable"
        await socket.send_json_to({"type": "subscribe", "job_id": "job-1", "since": since})
        frames = await socket.before_pong()
        assert seqs(frames) == [3, 4, 5, 5]


async def test_error__database_while_identifying(monkeypatch):
    monkeypatch.setattr(consumers, "identify", fail)
    async with watching() as socket:
        frame = await socket.next()
        assert (frame["code"], frame["temporary"]) == ("unavailable", True)
        assert await socket.close_code() == CloseCode.RESYNC


async def test_error__database_while_a_token_is_checked(monkeypatch):
    monkeypatch.setattr(consumers, "admitted", fail)
    async with watching() as socket:
        assert (await socket.ask(type="auth", token="t"))["code"] == "unavailable"
        assert await socket.before_pong() == []


async def test_error__a_bug_in_one_socket_disturbs_no_other(monkeypatch):
    job = await a_job()
    broken = await Socket().open()
    async with watching("/progress/ws/job-1") as other:
        await other.next()
        with monkeypatch.context() as patched:
            patched.setattr(consumers.protocol, "pong", lambda: 1 / 0)
            await broken.send_json_to({"type": "ping"})
            with pytest.raises(ZeroDivisionError):
                await broken.wait()
        await job.amark_started()
        assert (await other.next())["seq"] == 2
    await is_without_trace()


# Clean-up


async def test_disconnect__leaves_no_trace():
    await a_running_job()
    ann = await a_user()
    async with watching("/progress/ws/job-1", bearer(await a_token(ann))) as socket:
        await socket.next()
        await socket.ask(type="subscribe", feed="all")
        await socket.ask(type="subscribe", feed="mine")
        assert hub.current().topics
        assert consumers.places._taken
    await is_without_trace()


async def test_disconnect__in_the_middle_of_a_subscription(monkeypatch):
    await a_job()
    passing, read = asyncio.Event(), hub.in_thread

    async def slow(function: Any, *args: Any) -> Any:
        await passing.wait()
        return await read(function, *args)

    monkeypatch.setattr(hub, "in_thread", slow)
    socket = await Socket("/progress/ws/job-1").open()
    await eventually(lambda: "job-1" in hub.current().topics)
    await socket.send_input({"type": "websocket.disconnect", "code": 1001})
    passing.set()
    await socket.wait()
    await is_without_trace()


async def test_cancelled__the_server_goes_away():
    await a_job()
    socket = await Socket("/progress/ws/job-1").open()
    await socket.next()
    socket.future.cancel()
    assert await socket.close_code() == CloseCode.GOING_AWAY
    await socket.wait()
    await is_without_trace()


async def test_disconnect__one_of_many_leaves_the_others():
    job = await a_job()
    async with watching("/progress/ws/job-1") as stays:
        await stays.next()
        async with watching("/progress/ws/job-1") as leaves:
            await leaves.next()
        await job.amark_started()
        assert (await stays.next())["seq"] == 2
        assert len(hub.current().topics["job-1"]) == 1
