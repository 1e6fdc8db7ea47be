"""The load client notices whatever is not exactly what was sent: a figure is worth no more than its checks."""

import itertools
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import payload, websocket
from benchmarks.load import Load
from benchmarks.watcher import Watcher

EVENTS = 6
FIRST = payload.BASE + 1
PLAN = {"watchers": 2, "events": EVENTS, "size": payload.SIZE}


def frame(text: str, opcode: int = websocket.TEXT) -> bytes:
    """Return a message as a server frames it."""
    data = text.encode()
    length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + data


def event(seq: int) -> bytes:
    """Return the frame of an event."""
    return frame(payload.text(payload.fields(seq)))


ALL = [event(FIRST + number) for number in range(EVENTS)]


class Wired:
    """A load of watchers, each with the other end of its socket."""

    def __init__(self, **plan: object) -> None:
        self.load = Load({**PLAN, **plan})
        self.ends: list[socket.socket] = []
        for number in range(2):
            near, far = socket.socketpair()
            near.setblocking(False)
            self.ends.append(far)
            self.load.watchers.append(Watcher(self.load, number, near))

    def feed(self, number: int, *pieces: bytes) -> None:
        """Let a watcher read these, a read each."""
        for piece in pieces:
            self.ends[number].sendall(piece)
            self.load.watchers[number].read()

    def report(self) -> dict[str, object]:
        """Return what the harness would get."""
        return self.load.report({}, 0.0)

    def close(self) -> None:
        """Close all sockets."""
        self.load.close()
        for end in self.ends:
            end.close()


@pytest.fixture
def wired() -> Iterator[Wired]:
    made = Wired()
    yield made
    made.close()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return data in pieces."""
    edges = [0, *sorted({place % len(data) for place in places} - {0}), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


@given(st.lists(st.integers(0, 10_000), max_size=12), st.lists(st.integers(0, 10_000), max_size=12))
def test_all_is_counted_however_it_is_cut(first: list[int], second: list[int]) -> None:
    wired = Wired()
    try:
        data = frame('{"type":"heartbeat"}') + b"".join(ALL[:3]) + frame("", websocket.PING) + b"".join(ALL[3:])
        wired.feed(0, *cut(data, first))
        wired.feed(1, *cut(data, second))
        report = wired.report()
        assert (report["got"], report["lost"], report["problems"]) == (2 * EVENTS, 0, {})
        assert wired.load.all_finished.is_set()
    finally:
        wired.close()


def test_a_whole_burst_is_one_comparison(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL))
    taken: list[bytes] = []
    wired.load.watchers[1].take = taken.append  # type: ignore[method-assign]
    wired.feed(1, b"".join(ALL))
    assert taken == []
    assert wired.load.watchers[1].got == EVENTS
    assert wired.load.all_finished.is_set()


def test_an_event_that_is_missing(wired: Wired) -> None:
    for number in range(2):
        wired.feed(number, b"".join(ALL[:2] + ALL[3:]))
    report = wired.report()
    assert (report["got"], report["lost"]) == (2 * (EVENTS - 1), 2)


def test_an_event_that_is_missing_for_one(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL))
    wired.feed(1, b"".join(ALL[:2] + ALL[3:]))
    report = wired.report()
    assert (report["got"], report["lost"]) == (2 * EVENTS - 1, 1)


def test_the_end_that_does_not_come(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL))
    wired.feed(1, b"".join(ALL[:-1]))
    assert wired.report()["lost"] == 1
    assert not wired.load.all_finished.is_set()


def test_half_an_event(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL))
    wired.feed(1, b"".join(ALL)[:-1])
    assert wired.report()["lost"] == 1
    assert not wired.load.all_finished.is_set()


@pytest.mark.parametrize(
    "order", [[0, 0, 1, 2, 3, 4, 5], [0, 1, 2, 1, 3, 4, 5], [1, 0, 2, 3, 4, 5], [0, 1, 2, 3, 5, 4]]
)
def test_an_event_twice_or_out_of_order(wired: Wired, order: list[int]) -> None:
    wired.feed(0, b"".join(ALL))
    wired.feed(1, b"".join(ALL[number] for number in order))
    assert wired.report()["problems"] == {"events out of order": 1}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("old", "new"), [(b'"progress":0.5', b'"progress":0.7'), (b"....", b"..x."), (b'"s3"', b'"s4"')]
)
def test_an_event_with_other_content(wired: Wired, number: int, old: bytes, new: bytes) -> None:
    spoiled = b"".join(ALL).replace(old, new, 1)
    assert spoiled != b"".join(ALL)
    wired.feed(1 - number, b"".join(ALL))
    wired.feed(number, spoiled)
    assert sum(wired.report()["problems"].values()) == 1  # type: ignore[attr-defined]


def test_a_first_watcher_with_other_content(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL).replace(b"....", b"..x.", 1))
    assert wired.report()["problems"] == {"an event with wrong content": 1}


def test_a_socket_that_the_server_closes(wired: Wired) -> None:
    wired.load.listen(wired.load.watchers[0])
    wired.feed(0, b"".join(ALL), bytes([0x88, 2]) + (4008).to_bytes(2, "big"))
    wired.ends[0].close()
    wired.load.watchers[0].read()
    assert wired.report()["problems"] == {"closed by the server (4008)": 1}


def test_an_error_frame(wired: Wired) -> None:
    wired.feed(0, frame('{"type":"error","code":"job_not_found","message":"Job not found"}'))
    assert wired.report()["problems"] == {"error frame: job_not_found": 1}


def test_a_snapshot_says_where_to_begin(wired: Wired) -> None:
    snapshot = frame('{"type":"snapshot","seq":41,"recovered":false}')
    data = [snapshot, *(event(42 + number) for number in range(EVENTS))]
    for number in range(2):
        wired.feed(number, *data)
    report = wired.report()
    assert (report["got"], report["lost"], report["problems"]) == (2 * EVENTS, 0, {})
    assert wired.load.all_ready.is_set()


@pytest.mark.parametrize(("seq", "recovered", "is_whole"), [(8, "true", True), (8, "false", False), (9, "true", False)])
def test_a_recovery_must_be_whole(seq: int, recovered: str, is_whole: bool) -> None:
    wired = Wired(resumes=True)
    try:
        wired.feed(0, b"".join(ALL), frame(f'{{"type":"snapshot","seq":{seq},"recovered":{recovered}}}'))
        assert (wired.report()["problems"] == {}) is is_whole
    finally:
        wired.close()


def test_the_moment_of_each_event_is_noted(wired: Wired) -> None:
    wired.load.stamping = True
    wired.feed(0, *ALL)
    wired.feed(1, b"".join(ALL)[:-1], b"".join(ALL)[-1:])
    assert [seq for seq, _ in wired.load.stamps] == 2 * [FIRST + number for number in range(EVENTS)]
