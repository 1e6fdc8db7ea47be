"""What a request is answered, and how that ends, with a ``send`` that the test holds."""

import asyncio
from typing import Any

import pytest

from progress.delivery.connection import Connection
from progress.protocol import frames
from progress.protocol.codes import CloseCode, ErrorCode
from progress.protocol.exceptions import Refused, job_not_found
from progress.transports.sse import asgi
from progress.transports.sse.answer import LAST_ON_CONNECTION, Answer
from progress.transports.sse.asgi import AsgiBody
from progress.transports.sse.encoding import OneJob
from tests.progress.senders import a_frame
from tests.progress.watching import eventually

ERROR = frames.error(job_not_found("job-1"))


class Request:
    """Takes messages at once, or while ``open`` is set."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.ended = asyncio.Event()
        self.connection = Connection(Answer(AsgiBody(self.send, OneJob(), self.ended.set), [LAST_ON_CONNECTION]))

    async def send(self, message: dict[str, Any]) -> None:
        await self.open.wait()
        self.taken.append(message)

    @property
    def status(self) -> int:
        assert self.taken[0]["type"] == "http.response.start"
        status: int = self.taken[0]["status"]
        return status

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.taken[1:])


@pytest.fixture
async def request_():
    request = Request()
    yield request
    request.connection.lost()


async def test_answer__an_error_alone_is_a_status(request_):
    request_.connection.send(ERROR)
    request_.connection.close(CloseCode.JOB_NOT_FOUND)
    await request_.ended.wait()
    assert (request_.status, request_.body) == (404, ERROR.payload + b"\n")
    assert [message.get("more_body") for message in request_.taken] == [None, True, False]
    assert LAST_ON_CONNECTION not in request_.taken[0]["headers"]


async def test_answer__errors_before_the_first_event_are_events(request_):
    request_.connection.send(ERROR)
    request_.connection.send(a_frame("one"))
    await eventually(lambda: b"one" in request_.body)
    assert request_.status == 200
    assert request_.body.index(ERROR.payload) < request_.body.index(b"one")
    assert LAST_ON_CONNECTION in request_.taken[0]["headers"]


async def test_answer__an_error_after_an_event_is_one(request_):
    request_.connection.send(a_frame("one"))
    request_.connection.send(ERROR)
    request_.connection.close(CloseCode.JOB_NOT_FOUND)
    await request_.ended.wait()
    assert request_.status == 200
    assert request_.body.endswith(b"data: " + ERROR.payload + b"\n\n")


@pytest.mark.parametrize("code", CloseCode)
async def test_answer__closed_before_anything_was_sent(request_, code):
    request_.connection.close(code)
    await request_.ended.wait()
    is_token = code in (CloseCode.TOKEN_EXPIRED, CloseCode.NOT_AUTHENTICATED)
    assert request_.status == (401 if is_token else 503)


@pytest.mark.parametrize("code", ErrorCode)
async def test_answer__every_error_has_a_status_that_says_whether_to_come_back(request_, code):
    refused = Refused(code, "No.")
    request_.connection.send(frames.error(refused))
    request_.connection.close(CloseCode.RESYNC)
    await request_.ended.wait()
    headers = dict(request_.taken[0]["headers"])
    assert 400 <= request_.status < 600
    if code is not ErrorCode.IDLE:  # of which no stream is told: it ends with what it watches
        assert (b"retry-after" in headers) == refused.temporary


async def test_end__of_a_client_that_does_not_read_is_not_waited_for(monkeypatch, request_):
    monkeypatch.setattr(asgi, "LAST_SECONDS", 0.01)
    request_.connection.send(a_frame("one"))
    await eventually(lambda: request_.taken)
    request_.open.clear()
    request_.connection.send(a_frame("stuck"))
    await asyncio.sleep(0)
    request_.connection.close(CloseCode.TOO_SLOW)
    await asyncio.wait_for(request_.ended.wait(), 10)
    assert b"stuck" not in request_.body


async def test_end__stuck_for_too_long(settings, monkeypatch, request_):
    settings.PROGRESS_SEND_SECONDS = 0.01
    monkeypatch.setattr(asgi, "LAST_SECONDS", 0.01)
    request_.open.clear()
    request_.connection.send(a_frame("stuck"))
    await asyncio.sleep(0)
    request_.connection.send(a_frame("waits"))
    await asyncio.wait_for(request_.ended.wait(), 10)
    assert not request_.connection.is_accepting
