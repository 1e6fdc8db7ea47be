"""The consumer, through the site's ASGI application: subscriptions, to one job and to many."""

from typing import Any

import pytest

from jobs import selectors
from jobs.models import JobEvent
from progress.delivery import hubs
from progress.protocol.frames import timestamp
from tests.progress.sockets import a_job, a_running_job, seqs
from tests.progress.watching import run, watching

pytestmark = pytest.mark.django_db(transaction=True)


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
        assert await socket.so_far() == []
        assert hubs.current().jobs == {}


async def test_subscribe__again_replaces():
    job = await a_job()
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        assert (await socket.ask(type="subscribe", job_id="job-1", logs=True))["type"] == "backscroll"
        assert (await socket.next())["type"] == "snapshot"
        await job.alog("one")
        assert (await socket.next())["text"] == "one"
        assert (await socket.ask(type="subscribe", job_id="job-1"))["type"] == "snapshot"
        await job.alog("two")
        await job.amark_started()
        frame = await socket.next()
        assert (frame["type"], frame["seq"]) == ("progress", 4)
        assert await socket.so_far() == []


async def test_unsubscribe__nothing_follows():
    job = await a_job()
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        assert await socket.ask(type="unsubscribe", job_id="job-1") == {"type": "unsubscribed", "subject": "job-1"}
        await job.amark_started()
        assert await socket.so_far() == []
        assert hubs.current().jobs == {}


@pytest.mark.parametrize(
    ("fields", "subject"),
    [({"job_id": "nope"}, "nope"), ({"feed": "all"}, "all"), ({"job_id": "x" * 64 + "y"}, "x" * 64)],
    ids=["job", "feed", "long"],
)
async def test_unsubscribe__what_was_not_watched(fields, subject):
    async with watching() as socket:
        assert await socket.ask(type="unsubscribe", **fields) == {"type": "unsubscribed", "subject": subject}


async def test_subscribe_many__each_is_answered_as_if_it_had_come_alone():
    job = await a_running_job()
    other = await a_job("job-2")
    await a_job("hidden", public=False)
    since = {"epoch": job.job.epoch, "seq": 3}
    wanted = [{"job_id": "job-1", "since": since}, {"job_id": "hidden"}, {"job_id": "a b"}, {"job_id": "job-2"}]
    async with watching() as socket:
        await socket.send_json_to({"type": "subscribe", "jobs": wanted})
        frames = await socket.so_far()
        of = {each["job_id"]: each for each in frames if each["type"] == "snapshot"}
        assert {job_id: each["recovered"] for job_id, each in of.items()} == {"job-1": True, "job-2": False}
        assert seqs([each for each in frames if each.get("job_id") == "job-1"]) == [4, 5, 5]
        errors = {each["subject"]: each["code"] for each in frames if each["type"] == "error"}
        assert errors == {"hidden": "job_not_found", "a b": "job_not_found"}
        assert set(hubs.current().jobs) == {"job-1", "job-2"}
        await other.amark_started()
        assert (await socket.next())["job_id"] == "job-2"


async def test_subscribe_many__are_read_at_the_same_time(monkeypatch):
    for number in range(3):
        await a_job(f"job-{number}")
    get_jobs, asked = selectors.get_jobs, []

    def noted(job_ids: Any) -> Any:
        asked.append(list(job_ids))
        return get_jobs(job_ids)

    monkeypatch.setattr(selectors, "get_jobs", noted)
    async with watching() as socket:
        await socket.send_json_to({"type": "subscribe", "jobs": [{"job_id": f"job-{number}"} for number in range(3)]})
        frames = await socket.so_far()
    assert {each["job_id"] for each in frames} == {"job-0", "job-1", "job-2"}
    assert asked == [["job-0", "job-1", "job-2"]]


async def test_output__only_where_asked_for():
    job = await a_job()
    await job.aoutput("so far")
    async with watching("/progress/ws/job-1") as plain, watching() as full:
        await plain.next()
        await full.send_json_to({"type": "subscribe", "jobs": [{"job_id": "job-1"}], "output": True})
        assert [(each["type"], each.get("text")) for each in await full.so_far()][:2] == [
            ("backscroll", None),
            ("output", "so far"),
        ]
        await job.aoutput("and on", name="answer")
        await job.alog("not this")
        await job.amark_started()
        frame = await full.next()
        assert (await plain.next())["seq"] == (await full.next())["seq"] == 5
    assert (frame["type"], frame["seq"], frame["name"], frame["text"]) == ("output", 3, "answer", "and on")


@pytest.mark.parametrize("logs", [False, True])
async def test_subscribe_many__logs_are_for_all_or_none(logs):
    jobs = [await a_job(), await a_job("job-2")]
    async with watching() as socket:
        wanted = [{"job_id": "job-1"}, {"job_id": "job-2"}]
        await socket.send_json_to({"type": "subscribe", "jobs": wanted, "logs": logs})
        assert len(await socket.so_far()) == (4 if logs else 2)
        for each in jobs:
            await each.alog("a line")
            await each.amark_started()
        frames = [await socket.next() for _ in range(4 if logs else 2)]
        assert await socket.so_far() == []
    assert [each["type"] for each in frames] == (["log", "progress"] * 2 if logs else ["progress"] * 2)


async def test_unsubscribe_many__nothing_follows():
    jobs = [await a_job(f"job-{number}") for number in range(3)]
    async with watching() as socket:
        await socket.send_json_to({"type": "subscribe", "jobs": [{"job_id": each.job.pk} for each in jobs]})
        await socket.so_far()
        await socket.send_json_to({"type": "unsubscribe", "job_ids": ["job-2", "nope", "job-0"]})
        answers = await socket.so_far()
        assert answers == [{"type": "unsubscribed", "subject": job_id} for job_id in ("job-2", "nope", "job-0")]
        assert set(hubs.current().jobs) == {"job-1"}
        for each in jobs:
            await each.amark_started()
        assert (await socket.next())["job_id"] == "job-1"
        assert await socket.so_far() == []


@pytest.mark.parametrize(
    "message",
    [
        {"type": "subscribe", "jobs": [{"job_id": "job-2"}, {"job_id": 5}]},
        {"type": "unsubscribe", "job_ids": ["job-1", 5]},
    ],
)
async def test_many__a_malformed_list_does_nothing(message):
    job = await a_job()
    await a_job("job-2")
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        assert (await socket.ask(**message))["code"] == "invalid_message"
        assert set(hubs.current().jobs) == {"job-1"}
        await job.amark_started()
        assert (await socket.next())["seq"] == 2
        assert await socket.so_far() == []


async def test_logs__only_where_asked_for():
    job = await a_job()
    async with watching("/progress/ws/job-1") as plain, watching() as full:
        await plain.next()
        await full.ask(type="subscribe", job_id="job-1", logs=True)
        await full.until("snapshot")
        await job.alog("3 rows skipped", level="warning")
        await job.amark_started()
        line = await full.next()
        assert (await plain.next())["seq"] == (await full.next())["seq"] == 3
    assert line == {
        "type": "log",
        "subject": "job-1",
        "seq": 2,
        "level": "warning",
        "text": "3 rows skipped",
        "timestamp": timestamp((await run(JobEvent.objects.get)(seq=2)).timestamp),
    }
