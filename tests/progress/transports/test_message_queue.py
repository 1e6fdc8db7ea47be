"""What a client has asked for, on a connection that the test holds the other end of."""

import asyncio
from typing import Any

import pytest

from progress.delivery.connection import Connection
from progress.protocol.codes import CloseCode
from progress.transports.message_queue import MAX_QUEUED_MESSAGES, MessageQueue, Work
from tests.progress.senders import FakeSender


class Gate:
    """Work that waits until it is opened; ``done``: in which order."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.done: list[int] = []
        self.passed = asyncio.Event()

    def work(self, number: int) -> Work:
        async def pass_through() -> None:
            await self.opened.wait()
            self.done.append(number)

        return pass_through

    async def tell(self) -> None:
        self.passed.set()


@pytest.fixture
async def connection() -> Connection:
    return Connection(FakeSender())


@pytest.fixture
async def queue(connection: Connection) -> MessageQueue:
    return MessageQueue(connection)


async def test_queue__does_one_after_another_and_has_room_again(queue: MessageQueue) -> None:
    gate = Gate()
    for number in range(MAX_QUEUED_MESSAGES + 1):
        queue.put(gate.work(number), 10)
    await asyncio.sleep(0)  # the first is under way, and waits no more
    waiting = asyncio.ensure_future(queue.wait_for_room())
    await asyncio.sleep(0)
    assert queue.is_full
    assert not waiting.done()
    gate.opened.set()
    await waiting
    queue.put(gate.tell)
    await gate.passed.wait()
    assert gate.done == list(range(MAX_QUEUED_MESSAGES + 1))
    assert not queue.is_full


async def test_queue__of_a_connection_that_closes_lets_nobody_wait(queue: MessageQueue, connection: Connection) -> None:
    gate = Gate()
    for number in range(MAX_QUEUED_MESSAGES + 1):
        queue.put(gate.work(number))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(queue.wait_for_room())
    await asyncio.sleep(0)
    connection.close(CloseCode.INVALID_REQUEST)
    gate.opened.set()
    await waiting
    assert gate.done == [0]


async def test_queue__that_is_cancelled_does_no_more(queue: MessageQueue) -> None:
    gate = Gate()
    queue.put(gate.work(0))
    await asyncio.sleep(0)
    queue.cancel()
    gate.opened.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert gate.done == []


@pytest.mark.parametrize(("sizes", "is_full"), [([999_999], False), ([500, 500], False), ([500, 501], True)])
async def test_is_full__by_bytes_unless_one_message_waits_alone(
    settings: Any, queue: MessageQueue, sizes: list[int], is_full: bool
) -> None:
    settings.PROGRESS_MAX_MESSAGE_BYTES = 1_000
    for size in sizes:
        queue.put(Gate().work(0), size)
    assert queue.is_full is is_full
    queue.cancel()
