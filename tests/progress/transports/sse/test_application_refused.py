"""What a request is answered where there is no stream: a status, and the frame that a socket would get."""

import pytest

from tests.progress.sockets import a_job, is_without_trace
from tests.progress.transports.sse.stream import refused, streaming
from tests.progress.transports.sse.test_application import ONE, SEVERAL, epoch_of
from tests.progress.watching import watching

pytestmark = pytest.mark.django_db(transaction=True)


async def test_refused__hidden_and_unknown_jobs_alike():
    await a_job("hidden", public=False)
    answers = []
    for job_id in ("hidden", "unknown", "-x", "a%20b", "%FF", "a" * 65, "%00"):
        async with streaming(f"/progress/events/{job_id}") as stream:
            error = await stream.error()
            subject = error.pop("subject")
            assert len(subject) <= 64
            headers = {name: value for name, value in stream.headers.items() if name != b"content-length"}
            answers.append((stream.status, headers, error))
    assert all(answer == answers[0] for answer in answers)
    status, headers, error = answers[0]
    assert status == 404
    assert error == {"type": "error", "error": "Job not found", "code": "job_not_found", "temporary": False}
    assert headers[b"cache-control"] == b"no-store, no-transform"
    await is_without_trace()


async def test_refused__several_of_which_none_is_found():
    status, error = await refused(SEVERAL)
    assert (status, error["code"]) == (404, "job_not_found")
    await is_without_trace()


@pytest.mark.parametrize(
    "path",
    [
        "/progress/events",
        "/progress/events/",
        "/progress/events?job=",
        "/progress/events?job=a&job=a",
        f"{ONE}?logs=1",
        f"{ONE}?output=yes",
        f"{ONE}?since=nonsense",
        f"{ONE}?since=e:1,e:2",
        f"{ONE}?{'&'.join(['x=1'] * 2_000)}",
        f"/progress/events?{'&'.join(f'job=j{number}' for number in range(129))}",
    ],
    ids=lambda path: path[:40],
)
async def test_refused__what_is_malformed(path):
    await a_job()
    status, error = await refused(path)
    assert status == 400
    assert error["code"] in ("invalid_message", "too_many_subscriptions")
    assert error["error"].endswith(".") or "128" in error["error"]
    await is_without_trace()


@pytest.mark.parametrize("header", [b"nonsense", b"\xff\xfe:1", b"e:1," * 10_000, b"e:" + b"9" * 60_000, b",", b"\x00"])
async def test_refused__a_hostile_last_event_id(header):
    await a_job()
    status, error = await refused(ONE, (b"last-event-id", header))
    assert (status, error["code"]) == (400, "invalid_message")


async def test_refused__two_headers_of_positions():
    await a_job()
    header = (b"last-event-id", f"{await epoch_of()}:1".encode())
    status, error = await refused(ONE, header, header)
    assert (status, error["code"]) == (400, "invalid_message")


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "DELETE"])
async def test_refused__another_method(method):
    async with streaming(ONE, method=method) as stream:
        assert (stream.status, stream.headers[b"allow"]) == (405, b"GET")
        assert (await stream.error())["code"] == "method_not_allowed"


async def test_refused__too_many_connections_of_a_client(settings):
    settings.PROGRESS_MAX_CONNECTIONS_PER_CLIENT = 2
    await a_job()
    async with streaming(ONE) as first, watching("/progress/ws/job-1") as socket:
        await first.next()
        await socket.next()
        async with streaming(ONE) as third:
            assert third.status == 429
            assert int(third.headers[b"retry-after"]) > 0
            assert (await third.error())["code"] == "too_many_connections"
        async with streaming(ONE, address="192.0.2.7") as other:
            assert other.status == 200
    await is_without_trace()


async def test_refused__too_many_watchers_of_a_job(settings):
    settings.PROGRESS_MAX_WATCHERS_PER_JOB = 1
    await a_job()
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        status, error = await refused(ONE)
    assert (status, error["code"], error["subject"]) == (429, "too_many_connections", "job-1")


async def test_refused__who_asks_for_too_many_jobs_that_are_not_found(settings):
    settings.PROGRESS_MAX_MISSES_BURST = 2
    answers = [await refused("/progress/events/nope", address="192.0.2.8") for _ in range(3)]
    async with watching(address="192.0.2.8"):  # while one is there, the hub goes on, and counts
        answers += [await refused("/progress/events/nope", address="192.0.2.8") for _ in range(1)]
    assert [status for status, _ in answers] == [404, 404, 429, 429]
    assert answers[-1][1]["code"] == "too_many_messages"


async def test_refused__while_nobody_can_tell_who_may_see_it(monkeypatch):
    await a_job()
    monkeypatch.setattr("progress.delivery.admission._may_view", lambda *_: None)
    async with streaming(ONE) as stream:
        assert stream.status == 503
        assert int(stream.headers[b"retry-after"]) > 0
        assert (await stream.error())["temporary"] is True
