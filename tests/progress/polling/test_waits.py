"""Waits, within this process."""

import asyncio
from random import Random
from typing import Any

import pytest
from django.db import OperationalError

from jobs.models import JobEvent, ProcessingJob
from progress.delivery import hubs
from progress.polling import log, waits, windows
from tests.progress.polling.asking import Client, all_wait, ask, seqs, url, waiting
from tests.progress.sockets import a_job, a_running_job, a_token, a_user
from tests.progress.watching import eventually, watching

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is read from the log for polls."""
    asked: list[Any] = []
    read = log.read

    def noted(what: Any, rights: Any) -> Any:
        asked.append(what)
        return read(what, rights)

    monkeypatch.setattr(log, "read", noted)
    return asked


async def test_event__is_answered_as_it_comes(polls: Client) -> None:
    job = await a_running_job()
    stands = await ask(polls, url("job-1"))
    task = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))
    await job.amark_progress(50)
    answer = (await task).json()
    assert seqs(answer) == [stands["seq"] + 1]
    assert answer["events"][0]["progress"] == 50


async def test_events__are_a_sockets_byte_for_byte(polls: Client) -> None:
    job = await a_running_job()
    stands = await ask(polls, url("job-1"))
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        task = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))
        await job.amark_progress(50, message="ä \u2028")
        frame = (await socket.receive_from()).encode()
    (live, late) = (await task).content, (await polls.get(url("job-1", stands))).content
    assert live.endswith(b'"events":[' + frame + b"]}\n")
    assert late == live


async def test_many__share_one_tap_and_one_read(polls: Client, reads: list[Any]) -> None:
    job = await a_running_job()
    stands = await ask(polls, url("job-1"))
    where = url("job-1", stands, wave=stands["wave"] + 1)
    first = await waiting(polls, where)
    before = len(reads)
    tasks = [first, *(asyncio.ensure_future(polls.get(where)) for _ in range(50))]
    await all_wait(51)
    assert len(hubs.current().jobs["job-1"].subscriptions) == 1
    await job.amark_progress(50)
    assert {(await task).content for task in tasks} == {(await first).content}
    assert len(reads) == before


async def test_many__that_come_together_share_the_first_read(polls: Client, reads: list[Any]) -> None:
    await a_running_job()
    stands = await ask(polls, url("job-1"))
    reads.clear()
    tasks = [asyncio.ensure_future(polls.get(url("job-1", stands, wave=stands["wave"] + 1))) for _ in range(20)]
    await all_wait(20)
    assert len(reads) <= 2
    waits.current().drain()
    await asyncio.gather(*tasks)


async def test_window__at_its_end_the_answer_is_empty_and_names_the_next(
    polls: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_MS", 300)
    await a_running_job()
    stands = await ask(polls, url("job-1"))
    answer = await ask(polls, url("job-1", stands, wave=stands["wave"] + 1))
    assert (answer["seq"], answer["events"]) == (stands["seq"], [])
    assert answer["wave"] > stands["wave"] + 1
    past = await ask(polls, url("job-1", stands, wave=stands["wave"] + 1))
    assert past["wave"] >= answer["wave"]


async def test_window__of_a_year_is_refused(polls: Client) -> None:
    await a_running_job()
    stands = await ask(polls, url("job-1"))
    response = await polls.get(url("job-1", stands, wave=stands["wave"] + 1_576_800))
    assert (response.status_code, response.json()["code"]) == (400, "invalid_window")


async def test_log_line__wakes_only_who_wants_it(polls: Client) -> None:
    job = await a_running_job()
    stands = await ask(polls, url("job-1"))
    plain = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))
    logs = await waiting(polls, url("job-1", stands, wave=stands["wave"], logs=1))
    await job.alog("half of it")
    assert [event["type"] for event in (await logs).json()["events"]] == ["log"]
    assert not plain.done()
    await job.amark_progress(50)
    answer = (await plain).json()
    assert (seqs(answer), answer["seq"]) == ([stands["seq"] + 2], stands["seq"] + 2)


async def test_page__ends_what_is_waited_for(polls: Client) -> None:
    job = await a_running_job()
    for number in range(250):
        await job.alog(f"line {number}")
    stands = await ask(polls, url("job-1"))
    assert stands["seq"] == 255
    task = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))
    await job.amark_progress(60)
    await job.amark_progress(70)
    response = await task
    assert (response.json()["seq"], response.json()["wave"]) == (256, None)
    assert response.headers["Cache-Control"].endswith("immutable")


async def test_end__is_said_of_a_job_that_ends_while_somebody_waits(polls: Client) -> None:
    job = await a_running_job()
    stands = await ask(polls, url("job-1"))
    task = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))
    await job.amark_completed()
    assert (await task).json()["end"] is True


@pytest.mark.parametrize("how", ["hidden", "deleted"])
async def test_job_that_is_withdrawn__is_answered_as_unknown(polls: Client, how: str) -> None:
    await a_running_job()
    stands = await ask(polls, url("job-1"))
    task = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))
    job = await ProcessingJob.objects.aget(pk="job-1")
    if how == "hidden":
        job.public = False
        await job.asave()
    else:
        await job.adelete()
    response = await task
    unknown = await polls.get(url("nobody", stands, wave=stands["wave"] + 1))
    assert (response.status_code, response.content, str(response.headers)) == (
        404,
        unknown.content,
        str(unknown.headers),
    )


async def test_event_after_withdrawal__reaches_nobody_who_waits(polls: Client) -> None:
    job = await a_running_job()
    stands = await ask(polls, url("job-1"))
    task = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))
    await job.aedit(public=False)
    await job.amark_progress(50, message="secret")
    assert (await task).status_code == 404


async def test_stream_that_begins_anew__is_gone_for_who_waits(polls: Client) -> None:
    await a_running_job()
    stands = await ask(polls, url("job-1"))
    task = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))
    await ProcessingJob.objects.filter(pk="job-1").aupdate(epoch="0123456789abcdef")
    hubs.current().reader.sweep()
    assert (await task).status_code == 410


async def test_drain__answers_every_wait_at_once(polls: Client) -> None:
    ann = await a_user()
    await a_running_job()
    await a_job("secret", public=False, owner=ann)
    token = f"Bearer {await a_token(ann)}"
    stands, secret = (
        await ask(polls, url("job-1")),
        await ask(polls, url("secret", form="private"), authorization=token),
    )
    open_to_all = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))
    own = await waiting(polls, url("secret", secret, "private", wave=secret["wave"] + 1), authorization=token)
    waits.current().drain()
    for task, asked in ((open_to_all, stands), (own, secret)):
        answer = (await task).json()
        assert (answer["events"], answer["seq"]) == ([], asked["seq"])
        assert answer["wave"] >= asked["wave"] + 1
    assert (await ask(polls, url("job-1", stands, wave=stands["wave"] + 1)))["events"] == []


async def test_client_that_leaves__leaves_nothing(polls: Client) -> None:
    await a_running_job()
    stands = await ask(polls, url("job-1"))
    task = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not waits.current()._waiting


async def test_tap__stays_for_those_who_come_back_and_then_goes(polls: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "LINGER_SECONDS", 0.05)
    job = await a_running_job()
    answer = await ask(polls, url("job-1"))
    taps = set()
    for number in range(3):
        task = await waiting(polls, url("job-1", answer, wave=answer["wave"] + 1))
        taps.add(waits.current()._public["job-1"])
        await job.amark_progress(50 + number)
        answer = (await task).json()
    assert len(taps) == 1
    await eventually(lambda: not hubs.current().connections)
    assert not waits.current()._public


# Limits


@pytest.mark.parametrize("name", ["PROGRESS_MAX_WAITS", "PROGRESS_MAX_WAITS_PER_JOB"])
async def test_waits__one_too_many_is_told_when_to_come_back(polls: Client, settings: Any, name: str) -> None:
    setattr(settings, name, 1)
    job = await a_running_job()
    stands = await ask(polls, url("job-1"))
    task = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))
    response = await polls.get(url("job-1", stands, wave=stands["wave"] + 1))
    assert (response.status_code, response.json()["code"]) == (429, "too_many_waits")
    assert (response.headers["Cache-Control"], response.headers["Retry-After"]) == ("no-store", "2")
    assert (await ask(polls, url("job-1", stands)))["events"] == []
    await job.amark_progress(50)
    assert (await task).status_code == 200


async def test_watchers_of_a_job__bound_the_waits_as_well(polls: Client, settings: Any) -> None:
    settings.PROGRESS_MAX_WATCHERS_PER_JOB = 0
    await a_running_job()
    stands = await ask(polls, url("job-1"))
    response = await polls.get(url("job-1", stands, wave=stands["wave"] + 1))
    assert response.status_code == 429


async def test_database_that_fails_while_somebody_waits__is_unavailable(
    polls: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_running_job()
    stands = await ask(polls, url("job-1"))
    task = await waiting(polls, url("job-1", stands, wave=stands["wave"] + 1))

    def fail(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(log, "read", fail)
    job = hubs.current().jobs["job-1"]
    job.fail(ValueError("as of a row that can't be shown"))
    assert (await task).status_code == 503


@pytest.mark.parametrize("chance", range(3))
@pytest.mark.slow
async def test_every_event__comes_once_and_in_order_however_a_client_asks(polls: Client, chance: int) -> None:
    """Through waits and pages, while a worker writes in bursts."""
    random = Random(chance)
    job = await a_running_job()

    async def work() -> None:
        for number in range(400):
            await (job.alog(f"line {number}") if random.random() < 0.3 else job.amark_progress(number / 5))
            if random.random() < 0.1:
                await asyncio.sleep(random.random() * 0.02)
        await job.amark_completed()

    async def follow(wants: dict[str, int]) -> list[int]:
        answer = await ask(polls, url("job-1"))
        answer, seen, wave = {**answer, "seq": 0, "end": False}, [], None
        while not answer["end"]:
            query = wants if wave is None or random.random() < 0.2 else {**wants, "wave": wave}
            answer = await ask(polls, url("job-1", answer, **query))
            wave = answer["wave"]
            seen += seqs(answer)
        return seen

    working = asyncio.ensure_future(work())
    followers = await asyncio.gather(*(follow(wants) for wants in ({}, {}, {"logs": 1})))
    await working
    stored = [each async for each in JobEvent.objects.order_by("seq").values_list("seq", "kind")]
    plain = [seq for seq, kind in stored if kind != "log"]
    assert followers == [plain, plain, [seq for seq, _ in stored]]
