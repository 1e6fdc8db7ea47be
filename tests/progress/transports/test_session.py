"""A session, on a connection that the test holds the other end of."""

import gc
import json
import weakref

import pytest

from progress.delivery.connection import Connection
from progress.transports.message_queue import MessageQueue
from progress.transports.session import Session
from tests.progress.senders import FakeSender


@pytest.fixture
async def session(monkeypatch):
    monkeypatch.setattr(MessageQueue, "put", lambda self, work, size=0: self._waiting.append((work, size)))
    return Session(Connection(FakeSender()), "192.0.2.1")  # in which nothing is done


@pytest.mark.parametrize(("letter", "fits"), [("x", True), ("é", False)])
async def test_wait_for_room__what_is_queued_is_measured_in_bytes(settings, session, letter, fits):
    settings.PROGRESS_MAX_MESSAGE_BYTES = 1_000
    for _ in range(2):
        session.receive(json.dumps({"type": "unsubscribe", "job_id": letter * 300}, ensure_ascii=False), None)
    assert len(session._queue._waiting) == 2
    assert session._queue.is_full is not fits


async def test_session__that_has_ended_is_forgotten_at_once():
    gc.disable()
    try:
        ended = Session(Connection(FakeSender()), "192.0.2.1")
        connection = weakref.ref(ended.connection)
        ended.end()
        del ended
        assert connection() is None
    finally:
        gc.enable()
