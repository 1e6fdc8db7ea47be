"""What a tap shows of what its process has in memory."""

from collections.abc import AsyncIterator

import pytest

from jobs.models import ProcessingJob
from progress.delivery import hubs
from progress.identity.identity import ANYBODY
from progress.polling.asked import Asked
from progress.polling.pieces import Piece
from progress.polling.tap import Tap
from progress.protocol.codes import CloseCode
from progress.protocol.position import Position
from tests.progress.sockets import a_running_job, is_without_trace
from tests.progress.watching import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def tap() -> AsyncIterator[Tap]:
    """A tap on a public job that goes on, with one event after the position that is asked for."""
    job = await a_running_job()
    stored = await ProcessingJob.objects.aget()
    tap = Tap(hubs.current(), "job-1", ANYBODY)
    tap.begin(Position(stored.epoch, stored.seq))
    await eventually(lambda: tap.has_begun)
    await job.amark_progress(50)
    await eventually(lambda: piece_of(tap))
    yield tap
    tap.end()
    await is_without_trace()


def piece_of(tap: Tap) -> Piece | None:
    """Return what follows the event before the last."""
    position = tap._hub.jobs["job-1"].position
    assert position is not None
    return tap.piece(Asked("job-1", Position(position.epoch, position.seq - 1), None, frozenset()))


async def test_piece__is_what_was_sent(tap: Tap) -> None:
    piece = piece_of(tap)
    assert piece is not None
    assert len(piece.frames) == 1
    assert not tap.is_over


async def test_piece__is_nothing_while_access_is_in_doubt(tap: Tap) -> None:
    """The process goes on to follow the job, whose events those who wait may no longer see."""
    job = tap._hub.jobs["job-1"]
    job._stop(job.subscriptions.values())
    assert piece_of(tap) is None
    assert not tap.is_over


async def test_piece__is_nothing_once_it_is_closed(tap: Tap) -> None:
    tap.connection.close(CloseCode.TOKEN_EXPIRED)
    assert piece_of(tap) is None
    assert tap.is_over


async def test_news__come_with_each_event(tap: Tap) -> None:
    news = tap.news
    tap.wake()
    assert news.done()
    assert not tap.news.done()
