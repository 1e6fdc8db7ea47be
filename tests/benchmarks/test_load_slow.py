"""The load client's watchers that stop reading."""

from collections.abc import Iterator

import pytest

from benchmarks import payload
from tests.benchmarks.wired import ALL, EVENTS, OF_ITS_OWN, OWN, Wired


@pytest.fixture
def slow() -> Iterator[Wired]:
    """One who stops reading, with a job of its own, and one who does not."""
    made = Wired((OWN, payload.JOB), stalled=1, own_jobs=1)
    for watcher in made.load.watchers:
        made.load.listen(watcher)
    made.load.stall()
    made.feed(1, *ALL)
    yield made
    made.close()


def woken(slow: Wired, *pieces: bytes) -> None:
    """Let the slow one go on, and read these."""
    slow.load.watchers[0].wake()
    slow.load.listen(slow.load.watchers[0])
    slow.feed(0, *pieces)


NOT_SERVED = "a slow watcher without the final state or a close code"


def test_a_slow_watcher__catches_up(slow: Wired) -> None:
    assert slow.load.all_finished.is_set()
    finished_at = slow.load.last_at
    woken(slow, *OF_ITS_OWN)
    report = slow.report()
    assert (report["slow"], report["problems"], report["got"]) == ({"caught up": 1}, {}, EVENTS)
    assert slow.load.last_at == finished_at


def test_a_slow_watcher__catches_up_but_lost_events(slow: Wired) -> None:
    woken(slow, *OF_ITS_OWN[:2], *OF_ITS_OWN[3:])
    assert slow.problems == {"a slow watcher that lost events": 1}


def test_a_slow_watcher__is_closed(slow: Wired) -> None:
    woken(slow, OF_ITS_OWN[0], bytes([0x88, 2]) + (4008).to_bytes(2, "big"))
    report = slow.report()
    assert (report["slow"], report["problems"]) == ({"closed 4008": 1}, {})


def test_a_slow_watcher__gets_nothing_more(slow: Wired) -> None:
    woken(slow, *OF_ITS_OWN[:3])
    assert slow.problems == {NOT_SERVED: 1}


def test_a_slow_watcher__sees_the_end_of_its_connection(slow: Wired) -> None:
    woken(slow)
    slow.ends[0].close()
    slow.load.watchers[0].read()
    report = slow.report()
    assert (report["slow"], report["problems"]) == ({"cut off": 1}, {})


@pytest.mark.parametrize(("events", "problems"), [(0, {NOT_SERVED: 1}), (1, {})])
def test_a_slow_watcher__is_cut_off(slow: Wired, events: int, problems: dict[str, int]) -> None:
    woken(slow, *OF_ITS_OWN[:events])
    slow.load.watchers[0].recv = refuse  # type: ignore[assignment]
    slow.load.watchers[0].read()
    assert slow.problems == problems


def refuse(_: int) -> bytes:
    """Fail as the socket of a connection that was reset does."""
    raise ConnectionResetError
