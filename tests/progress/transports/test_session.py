"""A session, on a connection that the test holds the other end of."""

import json
from collections.abc import Awaitable, Callable

import pytest

from progress.delivery.connection import Connection
from progress.transports.session import Session
from tests.progress.senders import FakeSender


@pytest.fixture
async def session(monkeypatch):
    session = Session(Connection(FakeSender()), "192.0.2.1")
    waiting: list[tuple[Callable[[], Awaitable[None]], int]] = session._queue
    monkeypatch.setattr(Session, "_enqueue", lambda self, work, size=0: waiting.append((work, size)))  # nothing is done
    return session


@pytest.mark.parametrize(("letter", "fits"), [("x", True), ("é", False)])
async def test_wait_for_room__what_is_queued_is_measured_in_bytes(settings, session, letter, fits):
    settings.PROGRESS_MAX_MESSAGE_BYTES = 1_000
    for _ in range(2):
        session.receive(json.dumps({"type": "unsubscribe", "job_id": letter * 300}, ensure_ascii=False), None)
    assert len(session._queue) == 2
    assert session._is_queue_full() is not fits
