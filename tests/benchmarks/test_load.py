"""The load client notices whatever is not exactly what was sent: a figure is worth no more than its checks."""

import itertools
import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import expected, payload, websocket
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


def event(seq: int, **changes: object) -> bytes:
    """Return the frame of an event."""
    return frame(payload.text({**payload.fields(seq), **changes}))


def snapshot(seq: int, **changes: object) -> bytes:
    """Return the frame of a snapshot."""
    more = {"type": "snapshot", "name": "", "epoch": "9f1c2a7be03d5512", "recovered": False}
    return event(seq, **{**more, **changes})


ALL = [event(FIRST + number) for number in range(EVENTS)]


class Wired:
    """A load of watchers, each with the other end of its socket."""

    def __init__(self, jobs: tuple[str, str] = (payload.JOB, payload.JOB), **plan: object) -> None:
        self.load = Load({**PLAN, **plan})
        self.ends: list[socket.socket] = []
        for number in range(2):
            near, far = socket.socketpair()
            near.setblocking(False)
            self.ends.append(far)
            self.load.watchers.append(Watcher(self.load, number, near, jobs[number]))

    def feed(self, number: int, *pieces: bytes) -> None:
        """Let a watcher read these, a read each."""
        for piece in pieces:
            self.ends[number].sendall(piece)
            self.load.watchers[number].read()

    def report(self) -> dict[str, object]:
        """Return what the harness would get."""
        return self.load.report({}, 0.0)

    @property
    def problems(self) -> object:
        return self.report()["problems"]

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
    wired.load.watchers[1].take = taken.append  # type: ignore[method-assign,assignment]
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


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("read_together", [True, False])
def test_an_event_after_the_last(wired: Wired, number: int, read_together: bool) -> None:
    wired.feed(1 - number, b"".join(ALL))
    more = event(FIRST + EVENTS)
    wired.feed(number, *([b"".join(ALL) + more] if read_together else [b"".join(ALL), more]))
    report = wired.report()
    assert (report["got"], report["lost"]) == (2 * EVENTS, 0)
    assert report["problems"] == {"an event after the last": 1}


def test_an_event_after_the_last__for_all(wired: Wired) -> None:
    for number in range(2):
        wired.feed(number, b"".join(ALL) + event(FIRST + EVENTS) + event(FIRST + EVENTS + 1))
    report = wired.report()
    assert (report["got"], report["problems"]) == (2 * EVENTS, {"an event after the last": 4})


def test_the_last_event_twice(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL), ALL[-1])
    report = wired.report()
    assert (report["got"], report["problems"]) == (EVENTS, {"events out of order": 1})


@pytest.mark.parametrize("number", [0, 1])
def test_bytes_after_the_end(wired: Wired, number: int) -> None:
    wired.feed(1 - number, b"".join(ALL))
    wired.feed(number, b"".join(ALL), ALL[0][:1])
    assert wired.problems == {"bytes behind the last event": 1}


def test_a_heartbeat_after_the_end(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL), frame('{"type":"heartbeat","timestamp":"2026-01-01T00:00:00.000000Z"}'))
    wired.feed(1, b"".join(ALL), frame("", websocket.PING))
    assert wired.problems == {}


def test_pings_heartbeats_and_closes_are_no_news() -> None:
    wired = Wired()
    try:
        for watcher in wired.load.watchers:
            wired.load.listen(watcher)
        wired.ends[0].sendall(ALL[0])
        wired.load.read()
        assert wired.load.reads == 1
        wired.ends[0].sendall(frame("", websocket.PING))
        wired.ends[1].sendall(frame('{"type":"heartbeat"}'))
        wired.load.read()
        assert wired.load.reads == 1
        wired.ends[1].sendall(b"\x88\x00")
        wired.load.read()
        assert wired.load.reads == 1
    finally:
        wired.close()


BARE = ALL[0][4:]  # without its header
MALFORMED = {
    "without FIN": bytes([0x01]) + ALL[0][1:],
    "with reserved bits": bytes([0xC1]) + ALL[0][1:],
    "with a mask": ALL[0][:1] + bytes([ALL[0][1] | 0x80]) + ALL[0][2:4] + bytes(4) + BARE,
    "with a length in too many bytes": b"\x81\x7f" + len(BARE).to_bytes(8, "big") + BARE,
    "of opcode 0": bytes([0x80]) + ALL[0][1:],
    "of opcode 2": bytes([0x82]) + ALL[0][1:],
    "of opcode 3": bytes([0x83]) + ALL[0][1:],
    "of opcode 10": frame("", websocket.PONG),
    "of control that is too long": b"\x89\x7e" + len(BARE).to_bytes(2, "big") + BARE,
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_frame(wired: Wired, fault: str) -> None:
    wired.feed(0, MALFORMED[fault], *ALL)
    wired.feed(1, *ALL[:3], MALFORMED[fault], *ALL[3:])
    report = wired.report()
    assert (report["got"], report["problems"]) == (2 * EVENTS, {f"a frame {fault}": 2})


def test_a_short_text_in_a_long_frame(wired: Wired) -> None:
    wired.feed(0, b"\x81\x7e\x00\x14" + b'{"type":"heartbeat"}')
    assert wired.problems == {"a frame with a length in too many bytes": 1}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"type":"log","subject":"bench","seq":3}', "log"),
        ('{"type":"progress"}', "progress"),
        ('{"type":"snapshot","seq":"3"}', "snapshot"),
        ("[]", None),
        ("3", None),
        ("{", None),
        ("", None),
    ],
)
def test_an_unknown_message(wired: Wired, text: str, kind: str | None) -> None:
    wired.feed(0, frame(text), *ALL)
    report = wired.report()
    assert (report["got"], report["problems"]) == (EVENTS, {f"an unknown message: {kind}": 1})


def test_a_text_that_is_not_utf_8(wired: Wired) -> None:
    wired.feed(0, b"\x81\x04\xff\xfe\x00\x00")
    assert wired.problems == {"an unknown message: None": 1}


@pytest.fixture
def promised() -> Iterator[Wired]:
    """Watchers who are to get a snapshot."""
    made = Wired(snapshots=True)
    yield made
    made.close()


def test_a_snapshot_says_where_to_begin(promised: Wired) -> None:
    for number in range(2):
        promised.feed(number, snapshot(41), *(event(42 + number) for number in range(EVENTS)))
    report = promised.report()
    assert (report["got"], report["lost"], report["problems"]) == (2 * EVENTS, 0, {})
    assert promised.load.all_ready.is_set()


def test_a_snapshot__of_a_peer_that_has_none(wired: Wired) -> None:
    wired.feed(0, snapshot(41), *ALL)
    report = wired.report()
    assert (report["got"], report["problems"]) == (EVENTS, {"a snapshot of a peer that has none": 1})


def test_a_second_snapshot(promised: Wired) -> None:
    promised.feed(0, snapshot(FIRST - 1), *ALL[:3], snapshot(FIRST + 2), *ALL[3:])
    report = promised.report()
    assert (report["got"], report["problems"]) == (EVENTS, {"a second snapshot": 1})


def test_an_event_before_the_snapshot(promised: Wired) -> None:
    promised.feed(0, ALL[0], snapshot(FIRST), *ALL[1:])
    assert promised.problems == {"an event before the snapshot": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "other"},
        {"status": "completed"},
        {"epoch": ""},
        {"recovered": True},
        {"more": 1},
    ],
)
def test_a_snapshot_with_other_content(promised: Wired, changes: dict[str, object]) -> None:
    promised.feed(0, snapshot(FIRST - 1, **changes), *ALL)
    assert promised.problems == {"a snapshot with wrong content": 1}


@pytest.mark.parametrize("name", ["job_id", "status", "epoch", "recovered", "progress"])
def test_a_snapshot_without_a_field(promised: Wired, name: str) -> None:
    fields = json.loads(snapshot(FIRST - 1)[4:])
    del fields[name]
    promised.feed(0, frame(payload.text(fields)), *ALL)
    assert promised.problems == {"a snapshot with wrong content": 1}


def test_a_snapshot_that_another_got_otherwise(promised: Wired) -> None:
    promised.feed(0, snapshot(FIRST - 1))
    promised.feed(1, snapshot(FIRST - 1, message="else"))
    assert promised.problems == {"a snapshot in other bytes than another watcher got": 1}


@pytest.fixture
def resuming() -> Iterator[Wired]:
    """Watchers who resume."""
    made = Wired(snapshots=True, resumes=True)
    yield made
    made.close()


@pytest.mark.parametrize("end", [FIRST + EVENTS - 2, FIRST + EVENTS - 1, FIRST + EVENTS])
def test_a_recovery_must_be_whole(resuming: Wired, end: int) -> None:
    for number in range(2):
        resuming.feed(number, b"".join(ALL), snapshot(end, recovered=True))
    is_whole = end == FIRST + EVENTS - 1
    assert resuming.problems == ({} if is_whole else {"a recovery that is not whole": 2})
    assert resuming.load.all_finished.is_set()


def test_a_recovery_must_be_whole__an_event_is_missing(resuming: Wired) -> None:
    resuming.feed(0, *ALL[:2], *ALL[3:], snapshot(FIRST + EVENTS - 1, recovered=True))
    report = resuming.report()
    assert (report["lost"], report["problems"]) == (1 + EVENTS, {"a recovery that is not whole": 1})


def test_a_recovery__not_recovered(resuming: Wired) -> None:
    resuming.feed(0, *ALL, snapshot(FIRST + EVENTS - 1))
    assert resuming.problems == {"a snapshot with wrong content": 1}


@pytest.mark.parametrize(
    "changes",
    [{"progress": 0.1}, {"message": "Item"}, {"metadata": {}}, {"timestamp": "2026-01-01T00:00:01.000000Z"}],
)
def test_a_recovery_shows_the_last_event(resuming: Wired, changes: dict[str, object]) -> None:
    resuming.feed(0, *ALL, snapshot(FIRST + EVENTS - 1, recovered=True, **changes))
    assert resuming.problems == {"a recovery that is not whole": 1}


def test_a_recovery__then_an_event(resuming: Wired) -> None:
    resuming.feed(0, *ALL, snapshot(FIRST + EVENTS - 1, recovered=True), event(FIRST + EVENTS))
    assert resuming.problems == {"an event after the last": 1}


# Real writes: their own numbering, time and metadata


def written(seq: int, number: int, **changes: object) -> bytes:
    """Return the frame of an event that a worker wrote as its so-manieth."""
    own = {"seq": seq, "metadata": {"stage": "s3", "attempt": 1}, "timestamp": "2026-10-10T10:10:10.123456Z"}
    return frame(payload.text({**payload.fields(number), **own, **changes}))


@pytest.fixture
def loose() -> Iterator[Wired]:
    made = Wired(loose=True)
    yield made
    made.close()


def test_real_writes(loose: Wired) -> None:
    data = [written(FIRST + number, 997 + number) for number in range(EVENTS)]  # its progress begins anew meanwhile
    loose.feed(0, *data)
    loose.feed(1, b"".join(data))
    report = loose.report()
    assert (report["got"], report["lost"], report["problems"]) == (2 * EVENTS, 0, {})


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "other"},
        {"status": "completed"},
        {"message": "Other"},
        {"message": "Item x"},
        {"metadata": {"attempt": 1}},
        {"metadata": {"stage": "s4"}},
        {"metadata": None},
        {"timestamp": "yesterday"},
        {"timestamp": "2026-01-01T00:00:00"},
        {"timestamp": None},
        {"progress": 0.3},
        {"progress": None},
        {"more": 1},
    ],
)
def test_real_writes__other_content(loose: Wired, changes: dict[str, object]) -> None:
    loose.feed(0, written(FIRST, 1), written(FIRST + 1, 2, **changes))
    assert loose.problems == {"an event with wrong content": 1}


def test_real_writes__each_job_has_its_own_numbering() -> None:
    wired = Wired(("job-0", "job-1"), loose=True)
    try:
        for number in range(2):
            wired.feed(number, written(FIRST, 5 * number + 1, job_id=f"job-{number}"))
        assert wired.problems == {}
        wired.feed(0, written(FIRST + 1, 7, job_id="job-0"))
        assert wired.problems == {"an event with wrong content": 1}
    finally:
        wired.close()


def test_shift__is_the_same_for_all_events_of_a_run() -> None:
    shifts = {expected.shift({**payload.fields(number), "seq": number + 41}) for number in range(1, 3_000)}
    assert shifts == {1000 - 41}


# Slow watchers


OWN = "slow-0"
OF_ITS_OWN = [event(FIRST + number, job_id=OWN, message=payload.fields(1, job=OWN)["message"]) for number in range(6)]


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


def test_the_moment_of_each_event_is_noted(wired: Wired) -> None:
    wired.load.stamping = True
    wired.feed(0, *ALL)
    wired.feed(1, b"".join(ALL)[:-1], b"".join(ALL)[-1:])
    assert [seq for seq, _ in wired.load.stamps] == 2 * [FIRST + number for number in range(EVENTS)]
