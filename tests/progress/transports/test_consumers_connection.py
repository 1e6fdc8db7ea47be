"""The consumer, through the site's ASGI application: its life from connecting to what it leaves behind."""

import asyncio
from typing import Any

import pytest
from django.db import transaction

from progress.delivery import hubs, reads
from progress.delivery.log_reader import LogReader
from progress.protocol.codes import CloseCode
from progress.protocol.frames import timestamp
from tests.progress.sockets import a_job, a_running_job, a_token, a_user, is_without_trace, seqs
from tests.progress.watching import Socket, bearer, eventually, run, watching

pytestmark = pytest.mark.django_db(transaction=True)


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
        "timestamp": timestamp(job.job.updated_at),
        "metadata": {"k": [1, None], "attempt": 1},
        "seq": 1,
        "name": "Import of March",
        "epoch": job.job.epoch,
        "recovered": False,
    }


@pytest.mark.parametrize("path", ["/progress/ws", "/progress/ws/"])
async def test_connect__no_job(path):
    async with watching(path) as socket:
        assert await socket.so_far() == []


async def test_connect__trailing_slash():
    await a_job()
    async with watching("/progress/ws/job-1/") as socket:
        assert (await socket.next())["job_id"] == "job-1"


@pytest.mark.parametrize("path", ["/", "/progress/ws/a/b", "/progress", "/progress/ws2", "/ws/job-1"])
async def test_connect__another_url_is_refused(path):
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
            answers.append((await socket.receive_from(), await socket.so_far()))
    assert answers[0][0].replace("hidden", "absent") == answers[2][0]
    assert answers[1][0].replace("hidden", "absent") == answers[3][0]
    assert answers[0][1] == answers[2][1]
    assert answers[1][1] == answers[3][1] == []


async def test_connect__unknown_in_the_url_closes_that_socket_alone(monkeypatch):
    """Those who ask at the same time share the read, but not the answer."""
    both = asyncio.Event()
    refresh = LogReader.refresh

    async def slow(*args: Any) -> None:
        await both.wait()
        await refresh(*args)

    monkeypatch.setattr(LogReader, "refresh", slow)
    async with watching("/progress/ws/absent") as by_url, watching() as asking:
        await eventually(lambda: "absent" in hubs.current().jobs)
        await asking.send_json_to({"type": "subscribe", "job_id": "absent"})
        await eventually(lambda: hubs.current().jobs["absent"]._pending == 2)
        both.set()
        assert (await by_url.next())["code"] == (await asking.next())["code"] == "job_not_found"
        assert await by_url.close_code() == CloseCode.JOB_NOT_FOUND
        assert await asking.so_far() == []


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


async def test_progress__of_another_job_is_not_sent():
    await a_job()
    other = await a_job("job-2")
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        await other.amark_started()
        assert await socket.so_far() == []


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
        assert (await socket.until("snapshot"))["message"] == WORDS
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


# Clean-up


async def test_disconnect__leaves_no_trace():
    await a_running_job()
    ann = await a_user()
    async with watching("/progress/ws/job-1", bearer(await a_token(ann))) as socket:
        await socket.next()
        await socket.ask(type="subscribe", feed="all")
        await socket.ask(type="subscribe", feed="mine")
        assert hubs.current().jobs
        assert hubs.current().places._taken
    await is_without_trace()


async def test_disconnect__in_the_middle_of_a_subscription(monkeypatch):
    await a_job()
    passing, read = asyncio.Event(), reads.in_thread

    async def slow(function: Any, *args: Any) -> Any:
        await passing.wait()
        return await read(function, *args)

    monkeypatch.setattr(reads, "in_thread", slow)
    socket = await Socket("/progress/ws/job-1").open()
    await eventually(lambda: "job-1" in hubs.current().jobs)
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


async def test_cancelled__while_it_is_asked_who_it_is(monkeypatch):
    asking = asyncio.Event()

    async def never(*_: Any) -> Any:
        asking.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(reads, "in_thread", never)
    socket = await Socket("/progress/ws", bearer("a-token")).open()
    await asking.wait()
    socket.future.cancel()
    assert await socket.close_code() == CloseCode.GOING_AWAY
    await socket.wait()


async def test_disconnect__one_of_many_leaves_the_others():
    job = await a_job()
    async with watching("/progress/ws/job-1") as stays:
        await stays.next()
        async with watching("/progress/ws/job-1") as leaves:
            await leaves.next()
        await job.amark_started()
        assert (await stays.next())["seq"] == 2
        assert len(hubs.current().jobs["job-1"].subscriptions) == 1
