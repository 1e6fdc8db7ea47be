"""The consumer, through the site's ASGI application: limits and errors."""

from typing import Any

import pytest
from django.db import OperationalError

from jobs import selectors
from progress.protocol.codes import CloseCode
from progress.transports import session
from tests.progress.sockets import a_job, a_running_job, a_token, a_user, is_without_trace, seqs
from tests.progress.watching import Socket, bearer, watching

pytestmark = pytest.mark.django_db(transaction=True)


# Limits


@pytest.fixture
def noted(monkeypatch) -> list[str]:
    """The kinds of what sessions have refused."""
    kinds: list[str] = []
    monkeypatch.setattr(session.refusals, "note", lambda kind, line: kinds.append(kind))
    return kinds


async def refused(socket: Socket, code: str, close: CloseCode) -> None:
    frame = await socket.until("error")
    assert (frame["code"], frame["temporary"]) == (code, close < 4500)
    assert await socket.close_code() == close
    await socket.send_json_to({"type": "ping"})
    await socket.leave()
    assert socket.output_queue.empty(), "it is closed: nothing is answered"


async def test_limit__messages(settings):
    settings.PROGRESS_MAX_MESSAGES_BURST = 3
    settings.PROGRESS_MAX_MESSAGES_PER_SECOND = 0.001
    async with watching() as socket:
        for _ in range(4):
            await socket.send_json_to({"type": "ping"})
        assert [(await socket.next())["type"] for _ in range(3)] == ["pong"] * 3
        await refused(socket, "too_many_messages", CloseCode.TOO_MANY_MESSAGES)


async def test_limit__what_was_under_way_when_it_closed_is_not_looked_at(settings, noted):
    settings.PROGRESS_MAX_MESSAGES_BURST = 1
    settings.PROGRESS_MAX_MESSAGES_PER_SECOND = 0.001
    async with watching() as socket:
        for _ in range(10):
            await socket.send_to("{")
        assert (await socket.next())["code"] == "invalid_message"
        await refused(socket, "too_many_messages", CloseCode.TOO_MANY_MESSAGES)
    assert noted == ["invalid_message", "too_many_messages"]


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
        assert await first.so_far() == []
        async with watching() as second:
            await refused(second, "too_many_connections", CloseCode.TOO_MANY_CONNECTIONS)
        async with watching(address="10.0.0.1") as elsewhere:
            assert await elsewhere.so_far() == []
        assert await first.so_far() == []
    async with watching() as third:
        assert await third.so_far() == []


async def test_limit__connections_of_one_network_of_ipv6(settings):
    """Whoever has one of its addresses has all of them."""
    settings.PROGRESS_MAX_CONNECTIONS_PER_CLIENT = 1
    async with watching(address="2001:db8::1") as first:
        assert await first.so_far() == []
        async with watching(address="2001:db8::2") as second:
            await refused(second, "too_many_connections", CloseCode.TOO_MANY_CONNECTIONS)
        async with watching(address="2001:db8:0:1::1") as elsewhere:
            assert await elsewhere.so_far() == []


async def test_limit__connections_of_one_user(settings):
    settings.PROGRESS_MAX_CONNECTIONS_PER_CLIENT = 1
    token = await a_token(await a_user())
    async with watching("/progress/ws", bearer(token)) as first:
        assert await first.so_far() == []
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


@pytest.mark.parametrize("name", ["nope", "hidden", "a b"])
async def test_limit__jobs_that_are_not_found(settings, name):
    """Whether there is no such job, or it is not for this client: they count the same."""
    settings.PROGRESS_MAX_MISSES_BURST = 2
    settings.PROGRESS_MAX_MISSES_PER_SECOND = 0.1
    await a_job()
    await a_job("hidden", public=False)
    async with watching() as first, watching() as second, watching(address="10.0.0.1") as elsewhere:
        for socket in (first, second):
            assert (await socket.ask(type="subscribe", job_id=name))["code"] == "job_not_found"
        assert (await second.ask(type="subscribe", job_id="job-1"))["type"] == "snapshot"
        await first.send_json_to({"type": "subscribe", "jobs": [{"job_id": name}, {"job_id": "job-1"}]})
        await refused(first, "too_many_messages", CloseCode.TOO_MANY_MESSAGES)
        assert (await elsewhere.ask(type="subscribe", job_id=name))["code"] == "job_not_found"
    async with watching(f"/progress/ws/{name.replace(' ', '%20')}") as third:
        await refused(third, "too_many_messages", CloseCode.TOO_MANY_MESSAGES)


async def test_limit__subscriptions(settings):
    settings.PROGRESS_MAX_SUBSCRIPTIONS = 1
    await a_job()
    await a_job("job-2")
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        assert (await socket.ask(type="subscribe", job_id="job-1"))["type"] == "snapshot"
        await socket.send_json_to({"type": "subscribe", "job_id": "job-2"})
        await refused(socket, "too_many_subscriptions", CloseCode.TOO_MANY_SUBSCRIPTIONS)


async def test_limit__subscriptions_of_one_message(settings, noted):
    """What there is room for is answered first; ids that lead nowhere take no room."""
    settings.PROGRESS_MAX_SUBSCRIPTIONS = 3
    for number in range(5):
        await a_job(f"job-{number}")
    names = ["job-0", "nope", "job-1", "job-2", "job-3", "job-4"]
    async with watching("/progress/ws/job-0") as socket:
        await socket.next()
        await socket.send_json_to({"type": "subscribe", "jobs": [{"job_id": name} for name in names]})
        answers = [await socket.next() for _ in range(4)]
        assert {each.get("job_id") or each["subject"] for each in answers} == set(names[:4])
        error = await socket.next()
        assert (error["code"], error["subject"]) == ("too_many_subscriptions", "job-3")
        assert await socket.close_code() == CloseCode.TOO_MANY_SUBSCRIPTIONS
    assert sorted(noted) == ["job_not_found", "too_many_subscriptions"]  # nothing is tried behind the close
    await is_without_trace()


async def test_limit__a_message_for_many_is_one_message(settings):
    settings.PROGRESS_MAX_MESSAGES_BURST = 2
    settings.PROGRESS_MAX_MESSAGES_PER_SECOND = 0.001
    names = [f"job-{number}" for number in range(5)]
    for name in names:
        await a_job(name)
    async with watching() as socket:
        await socket.send_json_to({"type": "subscribe", "jobs": [{"job_id": name} for name in names]})
        assert {(await socket.next())["job_id"] for _ in names} == set(names)
        await socket.send_json_to({"type": "unsubscribe", "job_ids": names})
        assert [(await socket.next())["subject"] for _ in names] == names


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
    '{"type": "subscribe", "jobs": []}',
    '{"type": "unsubscribe", "job_ids": ["job-1", 5]}',
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
        assert logged.names == ["progress.transports.session"]
        await job.amark_started()
        assert (await socket.next())["seq"] == (await other.next())["seq"] == 2


def fail(*_: Any, **__: Any) -> Any:
    raise OperationalError("the database is away")


async def test_error__database_by_url(monkeypatch):
    await a_job()
    monkeypatch.setattr(selectors, "get_jobs", fail)
    async with watching("/progress/ws/job-1") as socket:
        frame = await socket.next()
        assert (frame["code"], frame["temporary"], frame["subject"]) == ("unavailable", True, "job-1")
        assert await socket.close_code() == CloseCode.RESYNC


async def test_error__database_by_message(monkeypatch):
    await a_job()
    async with watching() as socket:
        with monkeypatch.context() as broken:
            broken.setattr(selectors, "get_jobs", fail)
            broken.setattr(selectors, "recent_jobs", fail)
            assert (await socket.ask(type="subscribe", job_id="job-1"))["code"] == "unavailable"
            frame = await socket.ask(type="subscribe", feed="all")
            assert (frame["code"], frame["subject"]) == ("unavailable", "all")
        assert (await socket.ask(type="subscribe", job_id="job-1"))["type"] == "snapshot"
        assert (await socket.ask(type="subscribe", feed="all"))["type"] == "feed"


async def test_error__database_by_a_message_for_many(monkeypatch):
    await a_job()
    await a_job("job-2")
    async with watching("/progress/ws/job-1") as socket:
        await socket.next()
        monkeypatch.setattr(selectors, "get_jobs", fail)
        await socket.send_json_to({"type": "subscribe", "jobs": [{"job_id": "job-2"}, {"job_id": "job-1"}]})
        errors = sorted((each["code"], each["subject"]) for each in await socket.so_far())
        assert errors == [("unavailable", "job-1"), ("unavailable", "job-2")]


async def test_error__database_for_a_moment_during_recovery(monkeypatch):
    job = await a_running_job()
    since = {"epoch": job.job.epoch, "seq": 2}
    async with watching("/progress/ws/job-1") as other, watching() as socket:
        await other.next()
        with monkeypatch.context() as broken:
            broken.setattr(selectors, "events_between", fail)
            assert (await socket.ask(type="subscribe", job_id="job-1", since=since))["code"] == "unavailable"
        await socket.send_json_to({"type": "subscribe", "job_id": "job-1", "since": since})
        frames = await socket.so_far()
        assert seqs(frames) == [3, 4, 5, 5]


async def test_error__database_while_identifying(monkeypatch):
    monkeypatch.setattr(session, "has_credentials", lambda request: True)
    monkeypatch.setattr(session, "identify", fail)
    async with watching() as socket:
        frame = await socket.next()
        assert (frame["code"], frame["temporary"]) == ("unavailable", True)
        assert await socket.close_code() == CloseCode.RESYNC


async def test_error__database_while_a_token_is_checked(monkeypatch):
    monkeypatch.setattr(session, "verify_token", fail)
    async with watching() as socket:
        assert (await socket.ask(type="auth", token="t"))["code"] == "unavailable"
        assert await socket.so_far() == []


async def test_error__a_bug_in_one_socket_disturbs_no_other(monkeypatch):
    job = await a_job()
    broken = await Socket().open()
    async with watching("/progress/ws/job-1") as other:
        await other.next()
        with monkeypatch.context() as patched:
            patched.setattr(session.frames, "pong", lambda: 1 / 0)
            await broken.send_json_to({"type": "ping"})
            with pytest.raises(ZeroDivisionError):
                await broken.wait()
        await job.amark_started()
        assert (await other.next())["seq"] == 2
    await is_without_trace()
